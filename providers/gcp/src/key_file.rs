//! A service account key, as `gcloud iam service-accounts keys create` writes it.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use provider::SecretBytes;
use serde::{Deserialize, Serialize};
use url::Url;
use zeroize::Zeroizing;

/// Largest key file, in bytes: one is about 2.3 KiB.
const MAX_FILE: usize = 64 * 1024;
/// Longest text of a field that is not the key itself.
const MAX_FIELD: usize = 512;
/// What Google's own keys have as their token server
/// (<https://docs.cloud.google.com/iam/docs/keys-create-delete>, and what older keys have).
const TOKEN_SERVERS: [&str; 3] = [
    "https://oauth2.googleapis.com/token",
    "https://accounts.google.com/o/oauth2/token",
    "https://www.googleapis.com/oauth2/v4/token",
];
/// How long a signature is good for, in seconds; Google takes no longer ones.
const SECONDS: i64 = 3600;
/// The rights that a token has: what its identity is granted, and no less.
pub(crate) const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Deserialize)]
struct Written<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    client_email: Option<Text<'a>>,
    #[serde(borrow)]
    private_key: Option<Text<'a>>,
    #[serde(borrow)]
    private_key_id: Option<Text<'a>>,
    #[serde(borrow)]
    token_uri: Option<Text<'a>>,
}

/// A service account key, understood.
pub struct KeyFile {
    email: String,
    id: Option<String>,
    /// For whom a signature is.
    audience: String,
    /// PKCS#8.
    #[cfg_attr(not(feature = "client"), expect(dead_code, reason = "only the client signs"))]
    pub(crate) private_key: SecretBytes,
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyFile({})", self.email)
    }
}

#[derive(Serialize)]
struct Header<'a> {
    alg: &'a str,
    typ: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<&'a str>,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    scope: &'a str,
    aud: &'a str,
    iat: i64,
    exp: i64,
}

impl KeyFile {
    /// The key in `file`. `endpoint` is where secretfs has signatures taken for tokens.
    ///
    /// # Errors
    ///
    /// Why it is none that is used, in one clause that repeats nothing of it but the host of its token server.
    pub fn read(file: &SecretBytes, endpoint: &str) -> Result<Self, String> {
        if file.len() > MAX_FILE {
            return Err(format!("it is longer than {MAX_FILE} bytes"));
        }
        let written: Written<'_> =
            serde_json::from_slice(file.expose()).map_err(|_| "it is no JSON of a key".to_owned())?;
        if written.kind.is_none_or(|kind| kind.0 != "service_account") {
            return Err("its type is not service_account, and no other is used".to_owned());
        }
        let audience = field("token_uri", written.token_uri)?;
        refuse_strangers(&audience, endpoint)?;
        let pem = written.private_key.ok_or("it has no private_key")?.0;
        let pem = Zeroizing::new(pem.into_owned());
        Ok(Self {
            email: field("client_email", written.client_email)?,
            id: written.private_key_id.map(|id| field("private_key_id", Some(id))).transpose()?,
            audience,
            private_key: pkcs8(&pem).ok_or("its private_key is no PEM of a PKCS#8 key")?,
        })
    }

    /// Whose key it is.
    pub fn email(&self) -> &str {
        &self.email
    }

    /// What is to be signed by RS256 (<https://developers.google.com/identity/protocols/oauth2/service-account>).
    /// `now` is in seconds.
    pub fn claims(&self, now: i64) -> String {
        let header = Header { alg: "RS256", typ: "JWT", kid: self.id.as_deref() };
        let exp = now.saturating_add(SECONDS);
        let claims = Claims { iss: &self.email, scope: SCOPE, aud: &self.audience, iat: now, exp };
        let encoded = |json: serde_json::Result<Vec<u8>>| URL_SAFE_NO_PAD.encode(json.unwrap_or_default());
        format!("{}.{}", encoded(serde_json::to_vec(&header)), encoded(serde_json::to_vec(&claims)))
    }
}

/// A key of somebody else's making could send what is signed anywhere.
fn refuse_strangers(token_uri: &str, endpoint: &str) -> Result<(), String> {
    let url = Url::parse(token_uri).map_err(|_| "its token_uri is no URL".to_owned())?;
    let is_own = Url::parse(endpoint).is_ok_and(|own| own.origin() == url.origin());
    if is_own || TOKEN_SERVERS.contains(&token_uri) {
        return Ok(());
    }
    Err(format!(
        "its token_uri is at {}, which is neither Google's nor endpoint",
        url.origin().ascii_serialization()
    ))
}

fn field(name: &str, text: Option<Text<'_>>) -> Result<String, String> {
    let text = text.ok_or_else(|| format!("it has no {name}"))?.0;
    let fits = (1..=MAX_FIELD).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { Ok(text.into_owned()) } else { Err(format!("its {name} has an odd form")) }
}

fn pkcs8(text: &str) -> Option<SecretBytes> {
    let parsed = pem::parse(text).ok()?;
    (parsed.tag() == "PRIVATE KEY").then(|| SecretBytes::new(parsed.into_contents()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const OAUTH: &str = "https://oauth2.googleapis.com";

    fn written() -> Value {
        let pem = "-----BEGIN PRIVATE KEY-----\nAAEC\n-----END PRIVATE KEY-----\n";
        json!({
            "type": "service_account", "client_email": "shop@p.iam.gserviceaccount.com",
            "private_key_id": "1", "private_key": pem, "token_uri": "https://oauth2.googleapis.com/token",
        })
    }

    fn read(written: &Value, endpoint: &str) -> Result<KeyFile, String> {
        KeyFile::read(&written.to_string().into(), endpoint)
    }

    fn with(field: &str, value: Value) -> Value {
        let mut written = written();
        written[field] = value;
        written
    }

    #[test]
    fn a_signature_is_for_the_token_server_and_an_hour() {
        let key = read(&written(), OAUTH).unwrap();
        assert_eq!(key.private_key.expose(), [0, 1, 2]);
        let claims = key.claims(100);
        let (header, claims) = claims.split_once('.').unwrap();
        let decoded =
            |part: &str| -> Value { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap() };
        assert_eq!(decoded(header), json!({"alg": "RS256", "typ": "JWT", "kid": "1"}));
        let expected = json!({
            "iss": "shop@p.iam.gserviceaccount.com", "scope": SCOPE,
            "aud": "https://oauth2.googleapis.com/token", "iat": 100, "exp": 3700,
        });
        assert_eq!(decoded(claims), expected);
    }

    #[test]
    fn a_token_server_is_googles_or_the_endpoint_and_no_strangers() {
        for (server, endpoint) in [
            ("https://accounts.google.com/o/oauth2/token", OAUTH),
            ("https://front.example.com/token", "https://front.example.com"),
            ("http://127.0.0.1:9/token", "http://127.0.0.1:9"),
        ] {
            read(&with("token_uri", json!(server)), endpoint).unwrap();
        }
        for server in [
            "https://evil.example.com/token",
            "http://oauth2.googleapis.com/token",
            "https://oauth2.googleapis.com.evil.example/token",
            "https://oauth2.googleapis.com@evil.example/token",
            "https://google.com/token",
        ] {
            let told = read(&with("token_uri", json!(server)), "https://front.example.com").unwrap_err();
            assert!(told.contains("neither Google's nor endpoint"), "{server}: {told}");
        }
    }

    #[test]
    fn what_is_no_service_account_key_is_refused_and_not_repeated() {
        for written in [
            json!({}),
            json!([]),
            with("type", json!("external_account")),
            with("type", json!("authorized_user")),
            with("client_email", json!("a b")),
            with("client_email", Value::Null),
            with("private_key", json!("hunter2")),
            with(
                "private_key",
                json!("-----BEGIN RSA PRIVATE KEY-----\nAAEC\n-----END RSA PRIVATE KEY-----\n"),
            ),
            with("private_key", Value::Null),
            with("token_uri", Value::Null),
            with("token_uri", json!("hunter2")),
        ] {
            let told = read(&written, OAUTH).unwrap_err();
            assert!(!told.contains("hunter2"), "{told}");
        }
        assert!(KeyFile::read(&"x".repeat(MAX_FILE + 1).into(), OAUTH).is_err());
    }
}
