//! What CCP says of an account.

use std::collections::BTreeMap;

use provider::{Error, ErrorKind, Object, Reading, Result, SecretBytes};
use provider_client::SecretText;
use serde_json::value::RawValue;

use crate::objects::CONTENT;
use crate::query::Search;

/// The properties of an account. Values stay where they are in the answer until one is taken out.
#[derive(Debug)]
pub(crate) struct Account<'a>(BTreeMap<String, &'a RawValue>);

impl<'a> Account<'a> {
    /// `None` if the answer is about no account.
    pub(crate) fn of(body: &'a SecretBytes) -> Option<Self> {
        let properties: BTreeMap<String, &RawValue> = serde_json::from_slice(body.expose()).ok()?;
        properties.contains_key(CONTENT).then_some(Self(properties))
    }

    /// Whether the password is being changed. The server writes it as a text or as a boolean.
    pub(crate) fn is_changing(&self) -> bool {
        let said = self.0.get("PasswordChangeInProcess").map(|raw| raw.get().trim_matches('"'));
        said.is_some_and(|said| said.eq_ignore_ascii_case("true"))
    }

    /// Whether it is the account that was asked for, as far as the answer tells. CyberArk's names have no case.
    pub(crate) fn fits(&self, search: &Search) -> bool {
        let is = |property: &str, wanted: Option<&str>| match (self.text(property), wanted) {
            (Some(told), Some(wanted)) => told.eq_ignore_ascii_case(wanted),
            _ => true,
        };
        is("Name", search.get("Object")) && is("Safe", search.get("Safe"))
    }

    fn text(&self, property: &str) -> Option<String> {
        serde_json::from_str(self.0.get(property)?.get()).ok()
    }

    fn value(&self, property: &str) -> Option<SecretBytes> {
        let raw = self.0.get(property)?.get();
        match serde_json::from_str(raw) {
            Ok(SecretText(text)) => Some(text),
            // Anything but text is shown as its JSON.
            Err(_) => Some(SecretBytes::new(raw.as_bytes().to_vec())),
        }
    }
}

/// What a file shows of a reading: one property.
///
/// # Errors
///
/// `NotFound` if the account has no such property.
pub(crate) fn extract(reading: &Reading, property: &str) -> Result<Object> {
    let unread = || Error::new(ErrorKind::Unavailable, "the reading is none of CCP's");
    let account = Account::of(&reading.body).ok_or_else(unread)?;
    let contents = account.value(property).ok_or_else(|| {
        Error::new(ErrorKind::NotFound, format!("the account has no property {property}"))
            .remedy("correct property, or fill it in the vault")
    })?;
    Ok(Object { contents, significant: None, version: None })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn body(json: &str) -> SecretBytes {
        json.to_owned().into()
    }

    #[test]
    fn a_property_is_shown_as_text_or_as_its_json() {
        let reading = Reading::new(body(r#"{"Content":"a\u0001\"b","UserName":"u","Port":5432,"Empty":""}"#));
        let shown =
            |property: &str| extract(&reading, property).map(|object| object.contents.expose().to_vec());
        assert_eq!(shown("Content").unwrap(), b"a\x01\"b");
        assert_eq!(shown("Port").unwrap(), b"5432");
        assert_eq!(shown("Empty").unwrap(), b"");
        assert_eq!(shown("Address").unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn an_answer_tells_whether_it_is_the_account_and_whether_its_password_is_being_changed() {
        let search =
            Search(vec![("Safe".to_owned(), "Shop".to_owned()), ("Object".to_owned(), "db".to_owned())]);
        for (json, fits, changing) in [
            (r#"{"Content":"a"}"#, true, false),
            (r#"{"Content":"a","Name":"DB","Safe":"shop","PasswordChangeInProcess":"True"}"#, true, true),
            (r#"{"Content":"a","Name":"other","PasswordChangeInProcess":true}"#, false, true),
            (r#"{"Content":"a","Safe":"other","PasswordChangeInProcess":"False"}"#, false, false),
        ] {
            let body = body(json);
            let account = Account::of(&body).unwrap();
            assert_eq!((account.fits(&search), account.is_changing()), (fits, changing), "{json}");
        }
        assert!(Account::of(&body("{}")).is_none() && Account::of(&body("<html>")).is_none());
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(text: String) {
            let body = body(&text);
            if let Some(account) = Account::of(&body) {
                let _ = (account.is_changing(), account.fits(&Search::default()));
            }
            let _ = extract(&Reading::new(body), CONTENT);
        }
    }
}
