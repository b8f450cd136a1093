//! What an answer with a status of success says.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use crc::{CRC_32_ISCSI, Crc};
use provider::{Error, ErrorKind, Reading, Result, SecretBytes};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use crate::resource::{Kind, Resource};

/// Padded or not.
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
/// JSON of protocol buffers is written with either alphabet (<https://protobuf.dev/programming-guides/json>).
const ALPHABETS: [GeneralPurpose; 2] =
    [GeneralPurpose::new(&alphabet::STANDARD, LENIENT), GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT)];
/// CRC32C, as `dataCrc32c` has it.
const CRC32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// <https://docs.cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets.versions/access>
#[derive(Deserialize)]
struct Accessed<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    payload: Payload<'a>,
}

/// A field that holds nothing is left out.
#[derive(Deserialize)]
struct Payload<'a> {
    #[serde(borrow)]
    data: Option<Text<'a>>,
    /// A 64-bit number, which is written as text.
    #[serde(borrow, rename = "dataCrc32c")]
    checksum: Option<&'a RawValue>,
}

/// <https://docs.cloud.google.com/secret-manager/parameter-manager/docs/reference/rest/v1/projects.locations.parameters.versions/render>
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rendered<'a> {
    #[serde(borrow)]
    parameter_version: Text<'a>,
    #[serde(borrow)]
    payload: Option<Payload<'a>>,
    #[serde(borrow)]
    rendered_payload: Option<Text<'a>>,
}

/// One page of a list of secrets.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SecretPage {
    pub(crate) ids: Vec<String>,
    /// Empty if this is the last one.
    pub(crate) next: String,
}

/// <https://docs.cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets/list>
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListedSecrets {
    #[serde(default)]
    secrets: Vec<ListedSecret>,
    #[serde(default)]
    next_page_token: String,
    total_size: Option<IgnoredAny>,
    #[serde(flatten)]
    other: BTreeMap<String, IgnoredAny>,
}

#[derive(Deserialize)]
struct ListedSecret {
    name: String,
}

/// What a list of secrets says. `None` if it is none. A list of nothing is an empty map, and Google leaves out what is
/// empty: so what has other fields, and none of a list, is none.
#[cfg_attr(not(feature = "client"), expect(dead_code, reason = "only the client lists"))]
pub(crate) fn secrets(body: &SecretBytes) -> Option<SecretPage> {
    let listed: ListedSecrets = serde_json::from_slice(body.expose()).ok()?;
    let ListedSecrets { secrets, next_page_token, total_size, other } = listed;
    if secrets.is_empty() && next_page_token.is_empty() && total_size.is_none() && !other.is_empty() {
        return None;
    }
    let id = |secret: ListedSecret| secret.name.rsplit_once("/secrets/").map(|(_, id)| id.to_owned());
    Some(SecretPage { ids: secrets.into_iter().map(id).collect::<Option<_>>()?, next: next_page_token })
}

/// The value that `body` brings of `asked`. Its version is the name that Google resolved it to.
///
/// # Errors
///
/// `Unavailable` if it does not make sense: none of this API's, about something else, or with a wrong checksum.
pub fn reading(asked: &Resource, body: &SecretBytes) -> Result<Reading> {
    let (name, value) = match asked.kind() {
        Kind::Secret => accessed(body),
        Kind::Parameter => rendered(body),
    }
    .map_err(|what| nonsense(asked, what))?;
    let resolved = Resource::parse(&name).ok().filter(|resolved| resolved.answers(asked));
    let resolved = resolved.ok_or_else(|| nonsense(asked, "the answer is about something else"))?;
    Ok(Reading { body: value, version: Some(resolved.to_string()), validity: None })
}

/// What is to be said where `body` is none of the API's.
const FOREIGN: &str = "the answer is none of this API's";

/// <https://docs.cloud.google.com/kms/docs/reference/rest/v1/projects.locations.keyRings.cryptoKeys/decrypt>
#[derive(Deserialize)]
struct Decrypted<'a> {
    #[serde(borrow)]
    plaintext: Option<Text<'a>>,
    #[serde(borrow, rename = "plaintextCrc32c")]
    checksum: Option<&'a RawValue>,
}

/// <https://docs.cloud.google.com/kms/docs/reference/rest/v1/projects.locations.keyRings.cryptoKeys/encrypt>
#[derive(Debug, Deserialize)]
#[cfg_attr(not(feature = "client"), expect(dead_code, reason = "only the client encrypts"))]
pub(crate) struct EncryptedBy {
    /// The version of the key that did it.
    pub(crate) name: String,
    /// In base64.
    pub(crate) ciphertext: String,
}

/// What Cloud KMS decrypted. Google leaves out what is empty, and not the checksum: who sends neither is not Google.
///
/// # Errors
///
/// What does not make sense.
#[cfg_attr(not(feature = "client"), expect(dead_code, reason = "only the client decrypts"))]
pub(crate) fn decrypted(body: &SecretBytes) -> std::result::Result<SecretBytes, &'static str> {
    let Decrypted { plaintext, checksum } = serde_json::from_slice(body.expose()).map_err(|_| FOREIGN)?;
    if plaintext.is_none() && checksum.is_none() {
        return Err(FOREIGN);
    }
    Payload { data: plaintext, checksum }.value()
}

/// What Cloud KMS encrypted. None if it is no answer of it.
#[cfg_attr(not(feature = "client"), expect(dead_code, reason = "only the client encrypts"))]
pub(crate) fn encrypted(body: &SecretBytes) -> Option<EncryptedBy> {
    serde_json::from_slice(body.expose()).ok()
}

fn accessed(body: &SecretBytes) -> std::result::Result<(String, SecretBytes), &'static str> {
    let Accessed { name, payload } = serde_json::from_slice(body.expose()).map_err(|_| FOREIGN)?;
    Ok((name.0.into_owned(), payload.value()?))
}

fn rendered(body: &SecretBytes) -> std::result::Result<(String, SecretBytes), &'static str> {
    let Rendered { parameter_version, payload, rendered_payload } =
        serde_json::from_slice(body.expose()).map_err(|_| FOREIGN)?;
    let is_there = payload.and_then(|payload| payload.data).is_some_and(|data| !data.0.is_empty());
    if rendered_payload.is_none() && is_there {
        return Err("the answer has a payload, and none that is rendered");
    }
    Ok((parameter_version.0.into_owned(), decode(rendered_payload)?))
}

impl Payload<'_> {
    /// Google sends a checksum with each secret; others who speak this API may not.
    fn value(self) -> std::result::Result<SecretBytes, &'static str> {
        let value = decode(self.data)?;
        match self.checksum.map(number) {
            None => Ok(value),
            Some(Some(sum)) if sum == i64::from(CRC32C.checksum(value.expose())) => Ok(value),
            Some(_) => Err("the value does not match its checksum (dataCrc32c)"),
        }
    }
}

fn number(raw: &RawValue) -> Option<i64> {
    raw.get().trim_matches('"').parse().ok()
}

fn decode(text: Option<Text<'_>>) -> std::result::Result<SecretBytes, &'static str> {
    let text = text.map_or(Cow::Borrowed(""), |text| text.0);
    let mut bytes = Zeroizing::new(vec![0; base64::decoded_len_estimate(text.len())]);
    let decoded = |alphabet: &GeneralPurpose, bytes: &mut [u8]| alphabet.decode_slice(&*text, bytes).ok();
    let length = ALPHABETS.iter().find_map(|alphabet| decoded(alphabet, &mut bytes));
    bytes.truncate(length.ok_or("the value is not in base64")?);
    Ok(SecretBytes::new(std::mem::take(&mut *bytes)))
}

fn nonsense(asked: &Resource, what: &str) -> Error {
    let remedy = "it is asked again later; if it stays so: is endpoint right, and what is on the way there?";
    Error::new(ErrorKind::Unavailable, format!("{asked}: {what}")).remedy(remedy)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const SECRET: &str = "projects/p1/secrets/api/versions/latest";
    const PARAMETER: &str = "projects/p1/locations/global/parameters/app/versions/v1";

    fn read(asked: &str, answer: &Value) -> Result<Reading> {
        reading(&Resource::parse(asked).unwrap(), &answer.to_string().into())
    }

    fn secret(payload: &Value) -> Value {
        json!({"name": "projects/123/secrets/api/versions/7", "payload": payload})
    }

    #[test]
    fn a_secret_is_its_bytes_and_its_version_the_resolved_name() {
        let sum = CRC32C.checksum(&[0, 1, 2, 255]).to_string();
        let reading = read(SECRET, &secret(&json!({"data": "AAEC/w==", "dataCrc32c": sum}))).unwrap();
        assert_eq!(reading.body.expose(), [0, 1, 2, 255]);
        assert_eq!(reading.version.as_deref(), Some("projects/123/secrets/api/versions/7"));
    }

    #[test]
    fn a_plaintext_of_kms_has_a_checksum_and_an_empty_one_nothing_else() {
        let of = |answer: Value| decrypted(&answer.to_string().into()).map(|plain| plain.expose().to_vec());
        let sum = CRC32C.checksum(&[0, 255]).to_string();
        assert_eq!(of(json!({"plaintext": "AP8=", "plaintextCrc32c": sum})), Ok(vec![0, 255]));
        assert_eq!(of(json!({"plaintextCrc32c": "0", "usedPrimary": true})), Ok(Vec::new()));
        for wrong in [
            json!({}),
            json!({"plaintext": "AP8=", "plaintextCrc32c": "1"}),
            json!({"plaintext": "*"}),
            json!([]),
        ] {
            assert!(of(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_checksum_is_crc32c() {
        assert_eq!(CRC32C.checksum(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn a_checksum_is_a_number_or_its_text_and_may_be_absent() {
        for payload in [
            json!({"data": "MTIzNDU2Nzg5", "dataCrc32c": "3808858755"}),
            json!({"data": "MTIzNDU2Nzg5", "dataCrc32c": 3_808_858_755_u32}),
            json!({"data": "MTIzNDU2Nzg5"}),
        ] {
            assert_eq!(read(SECRET, &secret(&payload)).unwrap().body.expose(), b"123456789");
        }
        for sum in [json!("1"), json!(1), json!("x"), json!(""), json!("3808858755.0"), json!([])] {
            let answer = secret(&json!({"data": "MTIzNDU2Nzg5", "dataCrc32c": sum}));
            let error = read(SECRET, &answer).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable);
            assert!(error.to_string().contains("dataCrc32c"), "{error}");
        }
    }

    #[test]
    fn an_empty_value_has_no_data() {
        for payload in [json!({}), json!({"data": ""}), json!({"dataCrc32c": "0"})] {
            assert!(read(SECRET, &secret(&payload)).unwrap().body.is_empty());
        }
    }

    #[test]
    fn a_parameter_is_what_it_renders_to() {
        let answer = |rendered: Value| {
            let mut answer = json!({"parameterVersion": PARAMETER, "payload": {"data": "YQ=="}});
            answer["renderedPayload"] = rendered;
            answer
        };
        assert_eq!(read(PARAMETER, &answer(json!("aG9zdDogaAo="))).unwrap().body.expose(), b"host: h\n");
        assert!(read(PARAMETER, &answer(Value::Null)).is_err(), "it is not shown unrendered");
        let empty = json!({"parameterVersion": PARAMETER});
        assert!(read(PARAMETER, &empty).unwrap().body.is_empty());
    }

    #[test]
    fn either_alphabet_is_read() {
        for data in ["-_8=", "+/8=", "-_8", "+/8"] {
            assert_eq!(read(SECRET, &secret(&json!({"data": data}))).unwrap().body.expose(), [0xfb, 0xff]);
        }
    }

    #[test]
    fn what_makes_no_sense_is_no_value() {
        for answer in [
            json!({}),
            json!([]),
            json!({"name": "projects/123/secrets/api/versions/7"}),
            json!({"name": "projects/123/secrets/other/versions/7", "payload": {"data": "YQ=="}}),
            json!({"name": "x\n", "payload": {"data": "YQ=="}}),
            secret(&json!({"data": "é"})),
            secret(&json!({"data": 7})),
        ] {
            assert_eq!(read(SECRET, &answer).unwrap_err().kind(), ErrorKind::Unavailable, "{answer}");
        }
    }

    #[test]
    fn a_list_of_nothing_is_one_and_what_says_something_else_is_none() {
        let list = |body: &str| secrets(&body.to_owned().into()).map(|page| (page.ids, page.next));
        assert_eq!(list("{}"), Some((Vec::new(), String::new())));
        assert_eq!(list(r#"{"totalSize": 0}"#), Some((Vec::new(), String::new())));
        let one = r#"{"secrets": [{"name": "projects/1/secrets/db", "labels": {}}], "nextPageToken": "t", "new": 1}"#;
        assert_eq!(list(one), Some((vec!["db".to_owned()], "t".to_owned())));
        for body in ["", "[]", "<html>", r#"{"ok": true}"#, r#"{"secrets": [{"name": "db"}]}"#] {
            assert_eq!(list(body), None, "{body}");
        }
    }
}
