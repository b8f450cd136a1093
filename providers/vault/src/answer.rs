use std::collections::BTreeMap;
use std::mem;
use std::time::Duration;

use jiff::Timestamp;
use provider::{Error, ErrorKind, LeaseId, Object, Ownership, Reading, Result, SecretBytes, Span, Validity};
use serde_json::value::RawValue;

use crate::call::Call;
use crate::certificate;
use crate::golang::{self, Fields, Output};
use crate::objects::Part;
use crate::parameters::Plan;

/// The fields of a whole answer in the order in which Go's client writes them, each with the text that it writes for a
/// missing field.
const ENVELOPE: [(&str, &str); 6] = [
    ("request_id", "\"\""),
    ("lease_id", "\"\""),
    ("lease_duration", "0"),
    ("renewable", "false"),
    ("data", "null"),
    ("warnings", "null"),
];
/// Fields that come after those if they are set. Each has fields of its own.
const EXTENSIONS: [(&str, &[(&str, &str)]); 2] = [
    (
        "auth",
        &[
            ("client_token", "\"\""),
            ("accessor", "\"\""),
            ("policies", "null"),
            ("token_policies", "null"),
            ("identity_policies", "null"),
            ("metadata", "null"),
            ("orphan", "false"),
            ("entity_id", "\"\""),
            ("lease_duration", "0"),
            ("renewable", "false"),
            ("mfa_requirement", "null"),
        ],
    ),
    (
        "wrap_info",
        &[
            ("token", "\"\""),
            ("accessor", "\"\""),
            ("ttl", "0"),
            ("creation_time", "\"0001-01-01T00:00:00Z\""),
            ("creation_path", "\"\""),
            ("wrapped_accessor", "\"\""),
        ],
    ),
];

/// Reads an answer with a 2xx status.
///
/// # Errors
///
/// `Unavailable` if it is not JSON or not an answer of this API. `NotFound` if it has no data.
pub fn reading(call: &Call, body: SecretBytes, now: Timestamp) -> Result<Reading> {
    let refuse = |kind, what: &str| Err(Error::new(kind, format!("{call}: {what}")));
    let Ok(fields) = serde_json::from_slice::<Fields<'_>>(body.expose()) else {
        return refuse(
            ErrorKind::Unavailable,
            &format!("the answer ({} bytes) is no JSON object: is this a proxy's page?", body.len()),
        );
    };
    let extended = EXTENSIONS.iter().any(|(name, _)| golang::is_set(fields.get(*name)));
    if !fields.contains_key("data") && !extended {
        return refuse(ErrorKind::Unavailable, "the answer is JSON, but none of Vault's: it has no data");
    }
    if !golang::is_set(fields.get("data")) && !extended {
        return refuse(ErrorKind::NotFound, "the answer holds no data");
    }
    let (version, validity) = (version(&fields), validity(call, &fields, now));
    Ok(Reading { body, version, validity })
}

/// The number that the KV engine gives this version.
fn version(fields: &Fields<'_>) -> Option<String> {
    let data = golang::fields(fields.get("data")?)?;
    golang::fields(data.get("data")?)?;
    let metadata = golang::fields(data.get("metadata")?)?;
    let version: u64 = serde_json::from_str(metadata.get("version")?.get()).ok()?;
    Some(version.to_string())
}

/// How long the answer is valid. A KV engine of version 1 states a duration without a lease. That is advice, so it is
/// ignored.
fn validity(call: &Call, fields: &Fields<'_>, now: Timestamp) -> Option<Validity> {
    if let Some(lease) = fields.get("lease_id").and_then(|raw| golang::text(raw)).filter(|id| !id.is_empty())
    {
        let seconds = number(fields.get("lease_duration")).unwrap_or(0);
        return Some(Validity {
            duration: Span::from_secs(seconds),
            renewable: fields.get("renewable").is_some_and(|raw| raw.get() == "true"),
            lease: Some(LeaseId(lease.into_owned())),
        });
    }
    // A field called "certificate" in a stored value may hold anything.
    if call.ownership() == Ownership::Shared {
        return None;
    }
    let duration = wrapped_for(fields).or_else(|| left_until(ends(fields)?, now))?;
    Some(Validity { duration, renewable: false, lease: None })
}

fn ends(fields: &Fields<'_>) -> Option<Timestamp> {
    let data = golang::fields(fields.get("data")?)?;
    let stated =
        number(data.get("expiration")).and_then(|at| Timestamp::from_second(i64::try_from(at).ok()?).ok());
    stated.or_else(|| certificate::not_after(&golang::text(data.get("certificate")?)?))
}

fn wrapped_for(fields: &Fields<'_>) -> Option<Span> {
    let wrap = golang::fields(fields.get("wrap_info")?)?;
    number(wrap.get("ttl")).map(Span::from_secs)
}

fn left_until(end: Timestamp, now: Timestamp) -> Option<Span> {
    Duration::try_from(end.duration_since(now)).ok().map(Span::capped).or(Some(Span::ZERO))
}

fn number(raw: Option<&&RawValue>) -> Option<u64> {
    serde_json::from_str(raw?.get()).ok()
}

/// The file that the object at `index` in `plan` makes from a reading.
///
/// # Errors
///
/// `NotFound` if the answer lacks the key.
pub fn extract(plan: &Plan, index: usize, reading: &Reading) -> Result<Object> {
    let (Some(object), Some(part)) = (plan.objects.get(index), plan.parts.get(index)) else {
        return Err(Error::new(ErrorKind::Invalid, format!("the class has no object {index}")));
    };
    let path = Call::of_request(&object.request).map_or_else(String::new, |call| call.path);
    take(part, &path, reading)
}

fn take(part: &Part, path: &str, reading: &Reading) -> Result<Object> {
    let fields: Fields<'_> = serde_json::from_slice(reading.body.expose())
        .map_err(|_| Error::new(ErrorKind::Unavailable, format!("{path}: the answer is no JSON object")))?;
    let deep =
        || Error::new(ErrorKind::Invalid, format!("{path}: the answer is nested too deep or no valid text"));
    let (contents, significant) = match &part.key {
        None => (whole(&fields).ok_or_else(deep)?, Some(significant(fields).ok_or_else(deep)?)),
        Some(key) => {
            let mut value = find(&fields, key).ok_or_else(|| missing(key, path))?;
            (SecretBytes::new(mem::take(&mut *value)), None)
        }
    };
    Ok(Object { contents, significant, version: reading.version.clone() })
}

fn missing(key: &str, path: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("key {key:?} does not exist at the secret path {path:?}"))
        .remedy("correct secretKey, or write the key; a versioned KV engine needs `data/` in secretPath")
}

/// Looks where the upstream provider looks: inside `data.data` if that is a map, otherwise inside `data`.
fn find(fields: &Fields<'_>, key: &str) -> Option<Output> {
    let holder =
        fields.get("data").filter(|data| data.get() != "null").or_else(|| fields.get("wrap_info"))?;
    let holder = golang::fields(holder)?;
    let nested = holder.get("data").and_then(|data| golang::fields(data));
    let raw = nested.as_ref().unwrap_or(&holder).get(key)?;
    let mut out = Output::default();
    match golang::text(raw) {
        Some(text) => out.extend_from_slice(text.as_bytes()),
        None => golang::render(raw, &mut out)?,
    }
    Some(out)
}

/// The whole answer as Go's client writes it.
fn whole(fields: &Fields<'_>) -> Option<SecretBytes> {
    let mut out = Output::default();
    out.push(b'{');
    members(&ENVELOPE, fields, &mut out)?;
    for (name, of) in EXTENSIONS {
        let Some(inner) = fields.get(name).and_then(|raw| golang::fields(raw)) else { continue };
        out.extend_from_slice(format!(",\"{name}\":{{").as_bytes());
        members(of, &inner, &mut out)?;
        out.push(b'}');
    }
    out.push(b'}');
    Some(SecretBytes::new(mem::take(&mut *out)))
}

fn members(of: &[(&str, &str)], fields: &Fields<'_>, out: &mut Output) -> Option<()> {
    for (index, (name, default)) in of.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(format!("\"{name}\":").as_bytes());
        match fields.get(*name).filter(|raw| raw.get() != "null") {
            Some(raw) => golang::render(raw, out)?,
            None => out.extend_from_slice(default.as_bytes()),
        }
    }
    Some(())
}

/// The bytes that decide whether two answers differ: everything except the id of the request. The remaining lifetime of
/// a password that the store rotates by itself is left out too, because it is different at every read.
fn significant(mut fields: Fields<'_>) -> Option<SecretBytes> {
    fields.remove("request_id");
    let mut data = fields.remove("data").and_then(golang::fields).unwrap_or_default();
    if data.contains_key("last_vault_rotation") {
        data.remove("ttl");
    }
    let mut out = Output::default();
    golang::render_fields(&fields, &mut out)?;
    golang::render_fields(&data, &mut out)?;
    Some(SecretBytes::new(mem::take(&mut *out)))
}

/// Whether a body of status 404 describes a version that existed and was deleted or destroyed.
pub(crate) fn is_taken_back(body: &[u8]) -> bool {
    let taken_back = || {
        let fields: BTreeMap<String, &RawValue> = serde_json::from_slice(body).ok()?;
        let metadata = golang::fields(golang::fields(fields.get("data")?)?.get("metadata")?)?;
        let destroyed = metadata.get("destroyed").is_some_and(|raw| raw.get() == "true");
        let deleted = metadata.get("deletion_time").and_then(|raw| golang::text(raw));
        Some(destroyed || deleted.is_some_and(|time| !time.is_empty()))
    };
    taken_back().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn get() -> Call {
        Call::new("", "secret/data/app").unwrap()
    }

    fn read(call: &Call, body: &Value) -> Reading {
        reading(call, SecretBytes::from(body.to_string()), NOW).unwrap()
    }

    fn part(key: &str) -> Part {
        Part { key: (!key.is_empty()).then(|| key.to_owned()) }
    }

    fn file(key: &str, body: &Value) -> Result<String> {
        let object = take(&part(key), "secret/data/app", &read(&get(), body))?;
        Ok(String::from_utf8(object.contents.expose().to_vec()).unwrap())
    }

    #[test]
    fn text_is_taken_raw_and_anything_else_as_compact_json() {
        let body = json!({"data": {"data": {"t": "a\"b\n", "n": 12, "b": true, "z": null, "o": {"y": "<", "x": [1]}}}});
        for (key, contents) in
            [("t", "a\"b\n"), ("n", "12"), ("b", "true"), ("z", "null"), ("o", r#"{"x":[1],"y":"\u003c"}"#)]
        {
            assert_eq!(file(key, &body).unwrap(), contents, "{key}");
        }
    }

    #[test]
    fn a_map_called_data_is_looked_into_even_where_it_is_a_value() {
        let first = json!({"data": {"data": {"inner": "1"}, "outer": "2"}});
        assert_eq!(file("inner", &first).unwrap(), "1");
        assert_eq!(file("outer", &first).unwrap_err().kind(), ErrorKind::NotFound);

        let text = json!({"data": {"data": "plain", "outer": "2"}});
        assert_eq!(file("outer", &text).unwrap(), "2");
        assert_eq!(file("data", &text).unwrap(), "plain");
    }

    #[test]
    fn a_missing_key_is_named_with_its_path_and_without_a_value() {
        let error = file("pasword", &json!({"data": {"password": "hunter2"}})).unwrap_err();
        let told = error.to_string();
        assert!(told.contains("\"pasword\"") && told.contains("secret/data/app"), "{told}");
        assert!(!told.contains("hunter2"), "{told}");
    }

    #[test]
    fn a_whole_answer_is_written_in_the_order_of_gos_client() {
        let body = json!({
            "auth": null, "data": {"b": 1, "a": "&"}, "lease_id": "", "request_id": "r-1", "renewable": false,
            "lease_duration": 2_764_800, "wrap_info": null, "warnings": null, "mount_type": "kv",
        });
        assert_eq!(
            file("", &body).unwrap(),
            "{\"request_id\":\"r-1\",\"lease_id\":\"\",\"lease_duration\":2764800,\"renewable\":false,\
             \"data\":{\"a\":\"\\u0026\",\"b\":1},\"warnings\":null}"
        );
    }

    #[test]
    fn a_wrapped_answer_shows_its_wrapping() {
        let body = json!({"data": null, "wrap_info": {"token": "w", "ttl": 60, "creation_time": "t", "accessor": ""}});
        assert!(file("", &body).unwrap().ends_with(
            r#""data":null,"warnings":null,"wrap_info":{"token":"w","accessor":"","ttl":60,"creation_time":"t","creation_path":"","wrapped_accessor":""}}"#
        ));
        assert_eq!(file("token", &body).unwrap(), "w");
    }

    #[test]
    fn a_version_does_not_change_with_the_id_of_the_request() {
        let significant = |body: &Value| {
            let object = take(&part(""), "p", &read(&get(), body)).unwrap();
            object.significant.unwrap().expose().to_vec()
        };
        let body = |id: &str, value: &str| json!({"request_id": id, "data": {"k": value}});
        assert_eq!(significant(&body("1", "a")), significant(&body("2", "a")));
        assert_ne!(significant(&body("1", "a")), significant(&body("1", "b")));

        let rotated =
            |at: &str, left: u64| json!({"data": {"last_vault_rotation": at, "ttl": left, "password": "p"}});
        assert_eq!(significant(&rotated("t1", 60)), significant(&rotated("t1", 30)));
        assert_ne!(significant(&rotated("t1", 60)), significant(&rotated("t2", 60)));
    }

    #[test]
    fn the_engines_version_is_told_where_there_is_one() {
        let versioned = json!({"data": {"data": {"k": "v"}, "metadata": {"version": 7}}});
        assert_eq!(read(&get(), &versioned).version.as_deref(), Some("7"));
        assert_eq!(read(&get(), &json!({"data": {"k": "v"}})).version, None);
    }

    #[test]
    fn a_duration_is_an_end_only_with_a_lease() {
        assert_eq!(
            read(&get(), &json!({"lease_id": "", "lease_duration": 2_764_800, "data": {}})).validity,
            None
        );
        let leased = json!({"lease_id": "db/1", "lease_duration": 30, "renewable": true, "data": {}});
        assert_eq!(
            read(&get(), &leased).validity,
            Some(Validity {
                duration: Span::from_secs(30),
                renewable: true,
                lease: Some(LeaseId("db/1".to_owned()))
            })
        );
    }

    #[test]
    fn an_issued_certificate_ends_when_it_says_and_a_read_one_is_just_read() {
        let issue = Call::new("PUT", "pki/issue/app").unwrap();
        let body = json!({"data": {"expiration": 3_600, "certificate": "x"}});
        assert_eq!(read(&issue, &body).validity.unwrap().duration, Span::from_secs(3_600));
        assert_eq!(read(&get(), &body).validity, None);
    }

    #[test]
    fn what_is_not_vaults_answer_does_not_make_sense() {
        for (body, kind) in [
            ("", ErrorKind::Unavailable),
            ("<html>log in</html>", ErrorKind::Unavailable),
            ("{\"data\": {\"k\"", ErrorKind::Unavailable),
            ("[]", ErrorKind::Unavailable),
            ("null", ErrorKind::Unavailable),
            ("{\"status\": \"ok\"}", ErrorKind::Unavailable),
            ("{\"data\": null}", ErrorKind::NotFound),
        ] {
            let error = reading(&get(), SecretBytes::from(body.to_owned()), NOW).unwrap_err();
            assert_eq!(error.kind(), kind, "{body}");
        }
    }

    #[test]
    fn a_deleted_and_a_destroyed_version_are_told_from_one_that_never_was() {
        let body = |metadata: Value| json!({"data": {"data": null, "metadata": metadata}}).to_string();
        assert!(is_taken_back(
            body(json!({"deletion_time": "2026-01-01T00:00:00Z", "destroyed": false})).as_bytes()
        ));
        assert!(is_taken_back(body(json!({"deletion_time": "", "destroyed": true})).as_bytes()));
        assert!(!is_taken_back(body(json!({"deletion_time": "", "destroyed": false})).as_bytes()));
        assert!(!is_taken_back(br#"{"errors":[]}"#));
        assert!(!is_taken_back(b"not json"));
    }
}
