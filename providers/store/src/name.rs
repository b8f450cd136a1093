use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use provider::{Error, ErrorKind};
use serde::{Deserialize, Serialize};

/// Longest name, in bytes: what Kubernetes allows for names of its own.
const MAX_NAME: usize = 253;
/// Most components of an item's name.
const MAX_DEPTH: usize = 8;
const RULE: &str = "a name is 1 to 253 letters, digits, dots, dashes and underscores";

/// A namespace, a service account or a key: one plain word.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Name(String);

/// An item's name inside its namespace: plain words separated by `/`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct ItemName(String);

/// An item: where it belongs and what it is called there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Item {
    /// Whose it is. A pod reads items of its own namespace only.
    pub namespace: Name,
    /// What it is called there.
    pub name: ItemName,
}

/// Which pods of an item's namespace may read it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceAccounts {
    /// Those of any service account.
    Any,
    /// Those of these service accounts.
    Only(BTreeSet<Name>),
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
    /// Whether a pod of `account` may read; `None` is a reader without a service account.
    pub fn admit(&self, account: Option<&Name>) -> bool {
        match self {
            Self::Any => true,
            Self::Only(accounts) => account.is_some_and(|account| accounts.contains(account)),
        }
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

/// The text itself is not told: on a command line it may be a secret in the wrong place.
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
        let web: Name = "web".parse().unwrap();
        let only = ServiceAccounts::Only(BTreeSet::from([web.clone()]));

        assert!(ServiceAccounts::Any.admit(None));
        assert!(only.admit(Some(&web)));
        assert!(!only.admit(Some(&"job".parse().unwrap())));
        assert!(!only.admit(None));
        assert!(!ServiceAccounts::Only(BTreeSet::new()).admit(Some(&web)));
    }
}
