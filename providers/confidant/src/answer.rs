//! What Confidant says of a service.

use std::collections::BTreeMap;

use provider::{Error, ErrorKind, Object, Reading, Result, SecretBytes};
use provider_client::SecretText;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::objects::Part;

/// A service with its credentials. Values stay where they are in the answer until one is taken out.
#[derive(Deserialize)]
struct Service<'a> {
    id: String,
    #[serde(default = "yes")]
    enabled: bool,
    #[serde(borrow)]
    credentials: Vec<Credential<'a>>,
}

#[derive(Deserialize)]
struct Credential<'a> {
    id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    revision: u64,
    #[serde(default = "yes")]
    enabled: bool,
    #[serde(borrow, default)]
    credential_pairs: BTreeMap<String, &'a RawValue>,
}

fn yes() -> bool {
    true
}

impl Credential<'_> {
    fn is_called(&self, name: &str) -> bool {
        self.id == name || self.name == name
    }
}

/// The answer about `service` as a reading. `what` was asked for, for messages.
///
/// # Errors
///
/// `Unavailable` if it is about no such service; `Revoked` if the service is disabled.
pub(crate) fn reading(body: SecretBytes, service: &str, what: &str) -> Result<Reading> {
    let (is_it, is_enabled) = match serde_json::from_slice::<Service<'_>>(body.expose()) {
        Ok(found) => (found.id == service, found.enabled),
        Err(_) => (false, false),
    };
    if !is_it {
        return Err(Error::new(
            ErrorKind::Unavailable,
            format!("{what}: the answer is about no such service"),
        )
        .remedy("is url right, and what is on the way there?"));
    }
    if !is_enabled {
        return Err(Error::new(ErrorKind::Revoked, format!("{what}: the service is disabled in Confidant"))
            .remedy("enable it there"));
    }
    Ok(Reading::new(body))
}

/// What `part` shows of a reading. Its version is the credential's revision.
///
/// # Errors
///
/// `NotFound` if there is no such credential or key; `Revoked` if the credential is disabled; `Invalid` if several
/// could be meant.
pub(crate) fn extract(reading: &Reading, part: &Part) -> Result<Object> {
    let unread = |_| Error::new(ErrorKind::Unavailable, "the reading is none of Confidant's");
    let service: Service<'_> = serde_json::from_slice(reading.body.expose()).map_err(unread)?;
    let credential = chosen(&service, part)?;
    if !credential.enabled {
        let text = format!("credential {} ({}) is disabled in Confidant", credential.name, credential.id);
        return Err(Error::new(ErrorKind::Revoked, text).remedy("enable it there"));
    }
    let value = credential.credential_pairs.get(&part.key).ok_or_else(|| {
        let text = format!("credential {} ({}) has no key {}", credential.name, credential.id, part.key);
        Error::new(ErrorKind::NotFound, text).remedy("correct key, or add it to the credential")
    })?;
    let contents = match serde_json::from_str(value.get()) {
        Ok(SecretText(text)) => text,
        // Anything but text is shown as its JSON.
        Err(_) => SecretBytes::new(value.get().as_bytes().to_vec()),
    };
    Ok(Object { contents, significant: None, version: Some(credential.revision.to_string()) })
}

fn chosen<'s, 'a>(service: &'s Service<'a>, part: &Part) -> Result<&'s Credential<'a>> {
    let fits = |credential: &&Credential<'_>| match &part.credential {
        Some(name) => credential.is_called(name),
        None => credential.credential_pairs.contains_key(&part.key),
    };
    let mut found = service.credentials.iter().filter(fits);
    match (found.next(), found.next()) {
        (Some(credential), None) => Ok(credential),
        (None, _) => Err(absent(service, part)),
        (Some(_), Some(_)) => {
            let what = part.credential.as_ref().map_or("with this key", |_| "of this name");
            let text = format!("service {} has several credentials {what}", service.id);
            Err(Error::new(ErrorKind::Invalid, text).remedy("write the id of one of them in credential"))
        }
    }
}

fn absent(service: &Service<'_>, part: &Part) -> Error {
    let text = match &part.credential {
        Some(name) => format!("service {} has no credential {name}", service.id),
        None => format!("service {} has no credential with the key {}", service.id, part.key),
    };
    Error::new(ErrorKind::NotFound, text)
        .remedy("give the credential to the service in Confidant, or correct it")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn part(credential: Option<&str>, key: &str) -> Part {
        Part { credential: credential.map(str::to_owned), key: key.to_owned() }
    }

    fn answer() -> Value {
        json!({"id": "shop", "enabled": true, "blind_credentials": [], "credentials": [
            {"id": "c1", "name": "db", "revision": 3, "enabled": true,
             "credential_pairs": {"user": "u", "password": "hunter2", "port": 5432}},
            {"id": "c2", "name": "old", "revision": 1, "enabled": false, "credential_pairs": {"token": "t"}},
            {"id": "c3", "name": "twin", "revision": 1, "enabled": true, "credential_pairs": {"user": "v"}},
            {"id": "c4", "name": "twin", "revision": 1, "enabled": true, "credential_pairs": {}},
        ]})
    }

    fn taken(part: &Part) -> Result<(String, String)> {
        let reading = reading(answer().to_string().into(), "shop", "service shop").unwrap();
        let object = extract(&reading, part)?;
        Ok((String::from_utf8(object.contents.expose().to_vec()).unwrap(), object.version.unwrap()))
    }

    #[test]
    fn a_pair_is_found_by_name_by_id_or_by_its_key_alone() {
        let shown = |text: &str, revision: &str| (text.to_owned(), revision.to_owned());
        assert_eq!(taken(&part(Some("db"), "password")).unwrap(), shown("hunter2", "3"));
        assert_eq!(taken(&part(Some("c1"), "user")).unwrap(), shown("u", "3"));
        assert_eq!(taken(&part(None, "password")).unwrap(), shown("hunter2", "3"));
        assert_eq!(taken(&part(Some("db"), "port")).unwrap(), shown("5432", "3"));
    }

    #[test]
    fn what_is_missing_disabled_or_not_the_only_one_are_three_things() {
        for (part, kind) in [
            (part(Some("db"), "none"), ErrorKind::NotFound),
            (part(Some("none"), "user"), ErrorKind::NotFound),
            (part(None, "none"), ErrorKind::NotFound),
            (part(Some("old"), "token"), ErrorKind::Revoked),
            (part(None, "token"), ErrorKind::Revoked),
            (part(Some("twin"), "user"), ErrorKind::Invalid),
            (part(None, "user"), ErrorKind::Invalid),
        ] {
            let error = taken(&part).unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(!error.to_string().contains("hunter2"));
        }
    }

    #[test]
    fn an_answer_is_about_the_service_that_was_asked_for_and_may_say_that_it_is_disabled() {
        let kind = |body: Value| reading(body.to_string().into(), "shop", "x").map_err(|error| error.kind());
        assert!(kind(answer()).is_ok());
        let mut disabled = answer();
        disabled["enabled"] = json!(false);
        assert_eq!(kind(disabled).unwrap_err(), ErrorKind::Revoked);
        for other in [json!({}), json!([]), json!({"id": "bank", "credentials": []}), json!({"id": "shop"})] {
            assert_eq!(kind(other).unwrap_err(), ErrorKind::Unavailable);
        }
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(body: String, key: String) {
            let _ = reading(body.clone().into(), "shop", "x");
            let _ = extract(&Reading::new(body.into()), &part(None, &key));
        }
    }
}
