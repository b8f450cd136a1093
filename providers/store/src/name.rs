use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use provider::{Error, ErrorKind};
use serde::{Deserialize, Serialize};

/// The longest name, in bytes. Kubernetes has the same limit.
const MAX_NAME: usize = 253;
/// The most components of an item's name.
const MAX_DEPTH: usize = 8;
const RULE: &str = "a name is 1 to 253 letters, digits, dots, dashes and underscores";

/// The name of a namespace, a service account or a key: one word.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Name(String);

/// An item's name inside its namespace: words separated by `/`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct ItemName(String);

/// An item: a namespace and a name in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Item {
    /// The namespace of the item. A pod reads only items of its own namespace.
    pub namespace: Name,
    /// Its name in the namespace.
    pub name: ItemName,
}

/// A service account in an item's namespace: any account with this name, or only the one that also has this uid.
///
/// A name alone means whoever has it now. If an account or its namespace is deleted and created again, the new account
/// can read what was put for the old one. A uid is never reused.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Account {
    pub(crate) name: Name,
    pub(crate) uid: Option<Name>,
}

/// The pods of an item's namespace that may read it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceAccounts {
    /// Pods of any service account.
    Any,
    /// Pods of these service accounts.
    Only(BTreeSet<Account>),
}

impl Name {
    /// The word itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ItemName {
    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ServiceAccounts {
    /// Whether a pod of `account` may read. `None` is a reader without a service account.
    pub fn admit(&self, account: Option<&Account>) -> bool {
        match self {
            Self::Any => true,
            Self::Only(accounts) => {
                account.is_some_and(|account| accounts.iter().any(|wanted| wanted.is(account)))
            }
        }
    }

    /// Whether an account with this name is in the list, with any uid or without one.
    pub(crate) fn name(&self, name: &Name) -> bool {
        matches!(self, Self::Only(accounts) if accounts.iter().any(|account| account.name == *name))
    }
}

impl Account {
    /// The account that reads. `uid` comes from kubelet's token. The caller vouches for it.
    pub(crate) fn reading(name: Name, uid: Option<&str>) -> Self {
        Self { name, uid: uid.and_then(|uid| uid.parse().ok()) }
    }

    /// Whether `reader` is this account.
    fn is(&self, reader: &Self) -> bool {
        self.name == reader.name && (self.uid.is_none() || self.uid == reader.uid)
    }
}

impl FromStr for Account {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text.split_once('=') {
            Some((name, uid)) => Ok(Self { name: name.parse()?, uid: Some(uid.parse()?) }),
            None => Ok(Self { name: text.parse()?, uid: None }),
        }
    }
}

impl TryFrom<String> for Account {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Account> for String {
    fn from(account: Account) -> Self {
        account.to_string()
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)?;
        self.uid.as_ref().map_or(Ok(()), |uid| write!(f, "={uid}"))
    }
}

impl FromStr for Name {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if is_plain(text) { Ok(Self(text.to_owned())) } else { Err(refused(RULE)) }
    }
}

impl FromStr for ItemName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let plain = text.len() <= MAX_NAME && text.split('/').all(is_plain);
        if plain && text.split('/').count() <= MAX_DEPTH {
            return Ok(Self(text.to_owned()));
        }
        Err(refused("an item is called by up to 8 plain names separated by `/`, such as shop/api"))
    }
}

fn is_plain(word: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    (1..=MAX_NAME).contains(&word.len()) && word.bytes().all(allowed) && word != "." && word != ".."
}

/// The message does not repeat the text, because on a command line it may be a misplaced secret.
fn refused(rule: &str) -> Error {
    Error::new(ErrorKind::Invalid, "that is not a name").remedy(rule)
}

impl TryFrom<String> for Name {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl TryFrom<String> for ItemName {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ItemName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "item {} of namespace {}", self.name, self.namespace)
    }
}

impl fmt::Display for ServiceAccounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Only(accounts) = self else { return f.write_str("any") };
        for (index, account) in accounts.iter().enumerate() {
            write!(f, "{}{account}", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_words() {
        for good in ["shop", "Shop_1.api-key", &"n".repeat(253)] {
            assert!(good.parse::<Name>().is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a b", "a/b", "a#b", "a@1", "ключ", "a\0", &"n".repeat(254)] {
            assert!(bad.parse::<Name>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn item_names_are_paths_of_plain_words() {
        for good in ["api", "shop/api", "a/b/c/d/e/f/g/h"] {
            assert!(good.parse::<ItemName>().is_ok(), "{good}");
        }
        for bad in ["", "/api", "api/", "a//b", "a/../b", "a/b/c/d/e/f/g/h/i", &"a/".repeat(127)] {
            assert!(bad.parse::<ItemName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_reader_without_a_service_account_gets_only_what_is_for_any() {
        let web: Account = "web".parse().unwrap();
        let only = ServiceAccounts::Only(BTreeSet::from([web.clone()]));

        assert!(ServiceAccounts::Any.admit(None));
        assert!(only.admit(Some(&web)));
        assert!(!only.admit(Some(&"job".parse().unwrap())));
        assert!(!only.admit(None));
        assert!(!ServiceAccounts::Only(BTreeSet::new()).admit(Some(&web)));
    }

    #[test]
    fn a_uid_that_is_named_admits_that_account_and_no_other_of_the_name() {
        let account = |text: &str| text.parse::<Account>().unwrap();
        let by_uid = ServiceAccounts::Only(BTreeSet::from([account("web=4711-ab")]));
        let by_name = ServiceAccounts::Only(BTreeSet::from([account("web")]));

        assert!(by_uid.admit(Some(&account("web=4711-ab"))));
        for other in ["web", "web=4712-ab", "job=4711-ab"] {
            assert!(!by_uid.admit(Some(&account(other))), "{other}");
        }
        assert!(by_name.admit(Some(&account("web"))) && by_name.admit(Some(&account("web=4711-ab"))));
        let text = serde_json::to_string(&by_uid).unwrap();
        assert_eq!(text, r#"{"only":["web=4711-ab"]}"#);
        assert_eq!(serde_json::from_str::<ServiceAccounts>(&text).unwrap(), by_uid);
        for bad in ["web=", "=uid", "web=a b", "web=a=b"] {
            assert!(bad.parse::<Account>().is_err(), "{bad}");
        }
    }
}
