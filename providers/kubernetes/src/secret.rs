//! A Secret as the API server returns it, and the one key of it that a file shows.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use provider::{Error, ErrorKind, Object, Reading, Result, SecretBytes};
use serde::Deserialize;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use crate::objects::Part;

/// The parts of a Secret that are needed. Its annotations may repeat its values, so they are dropped.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    metadata: Metadata<'a>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    #[serde(borrow)]
    resource_version: Cow<'a, str>,
}

/// The part of the answer `json` that is kept: its `data`, unchanged. `None` if it is not a Secret.
pub(crate) fn reading(json: &SecretBytes) -> Option<Reading> {
    let answer: Answer<'_> = serde_json::from_slice(json.expose()).ok()?;
    let data = answer.data.map_or("null", RawValue::get);
    (answer.kind == "Secret").then(|| Reading {
        body: data.to_owned().into(),
        version: Some(answer.metadata.resource_version.into_owned()),
        validity: None,
    })
}

/// The file that `part` makes from a [`reading`] of the Secret called `secret`.
///
/// # Errors
///
/// `NotFound` if the Secret lacks the key, `Unavailable` if it is no data of a Secret.
pub(crate) fn take(secret: &str, part: &Part, reading: &Reading) -> Result<Object> {
    let key = part.key.as_str();
    let odd = || Error::new(ErrorKind::Unavailable, format!("the data of Secret {secret} make no sense"));
    let data: Option<BTreeMap<&str, &str>> =
        serde_json::from_slice(reading.body.expose()).map_err(|_| odd())?;
    let data = data.unwrap_or_default();
    let coded = data.get(key).ok_or_else(|| {
        let text = format!("Secret {secret} has no key {key}");
        Error::new(ErrorKind::NotFound, text).remedy("add it to the Secret, or correct `key`")
    })?;
    let contents = decode(coded).ok_or_else(odd)?;
    Ok(Object { contents, significant: None, version: reading.version.clone() })
}

fn decode(coded: &str) -> Option<SecretBytes> {
    let mut bytes = Zeroizing::new(vec![0; base64::decoded_len_estimate(coded.len())]);
    let length = STANDARD.decode_slice(coded, &mut bytes).ok()?;
    bytes.truncate(length);
    Some(SecretBytes::new(std::mem::take(&mut *bytes)))
}

#[cfg(test)]
mod tests {
    use provider::Parameters;

    use super::*;

    const SECRET: &str = r#"{"kind":"Secret","apiVersion":"v1","metadata":{"name":"web","resourceVersion":"41",
        "annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{\"stringData\":{\"k\":\"hunter2\"}}"}},
        "data":{"k":"aHVudGVyMg==","empty":"","bytes":"AP8=","twice":"YUdrPQ=="},"type":"Opaque"}"#;

    fn take_key(object: &str, answer: &str) -> Result<Object> {
        let objects = format!("- {{objectName: f, secret: web, {object}}}");
        let (objects, parts) =
            crate::objects::read(&Parameters::from([("objects".to_owned(), objects)])).unwrap();
        objects[0].decoded(take("web", &parts[0], &reading(&answer.to_owned().into()).unwrap())?)
    }

    #[test]
    fn a_key_is_read_to_the_byte() {
        for (object, contents) in [
            ("key: k", &b"hunter2"[..]),
            ("key: empty", b""),
            ("key: bytes", &[0, 255]),
            ("key: twice, encoding: base64", b"hi"),
        ] {
            let taken = take_key(object, SECRET).unwrap();
            assert_eq!((taken.contents.expose(), taken.version.as_deref()), (contents, Some("41")));
        }
    }

    #[test]
    fn a_key_that_is_missing_and_a_wrong_encoding_are_told_without_a_value() {
        for (object, kind) in
            [("key: other", ErrorKind::NotFound), ("key: k, encoding: hex", ErrorKind::Invalid)]
        {
            let error = take_key(object, SECRET).unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
        let empty = r#"{"kind":"Secret","metadata":{"resourceVersion":"1"}}"#;
        assert_eq!(take_key("key: k", empty).unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn nothing_but_the_data_is_kept() {
        let kept = reading(&SECRET.to_owned().into()).unwrap();
        assert!(!kept.body.expose_str().unwrap().contains("hunter2"));
    }

    #[test]
    fn what_is_no_secret_is_none() {
        for body in [
            "",
            "[]",
            "<html>",
            r#"{"kind":"ConfigMap","metadata":{"resourceVersion":"1"}}"#,
            r#"{"kind":"Secret"}"#,
        ] {
            assert!(reading(&body.to_owned().into()).is_none(), "{body}");
        }
    }
}
