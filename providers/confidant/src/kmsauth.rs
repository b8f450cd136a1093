//! Tokens of kmsauth, version 2 (<https://github.com/lyft/python-kmsauth>).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use provider::{SecretBytes, Span};
use serde_json::json;

use crate::parameters::Account;

/// How long a token is good for. A server takes at most an hour, unless it is told otherwise (AUTH_TOKEN_MAX_LIFETIME).
const LIFETIME: SignedDuration = SignedDuration::from_mins(10);
/// How far the clock of the server may be behind, as kmsauth itself has it.
const EARLIER: SignedDuration = SignedDuration::from_mins(3);
const FORMAT: &str = "%Y%m%dT%H%M%SZ";
const KIND: &str = "service";

/// How long a token is used: the clock of the server may be ahead.
pub(crate) fn used_for() -> Span {
    Span::from_secs(8 * 60)
}

/// What KMS encrypts: the times between which the token counts. Nothing in it is secret.
pub(crate) fn encrypt(account: &Account, now: Timestamp) -> Option<serde_json::Value> {
    let not_before = now.checked_sub(EARLIER).ok()?.strftime(FORMAT).to_string();
    let not_after = now.checked_add(LIFETIME).ok()?.strftime(FORMAT).to_string();
    let text = json!({"not_before": not_before, "not_after": not_after}).to_string();
    let context = json!({"from": account.service, "to": account.context, "user_type": KIND});
    Some(json!({"KeyId": account.key, "Plaintext": STANDARD.encode(text), "EncryptionContext": context}))
}

/// How a token is shown: the name of who shows it and the token, in base64, as the header of a login has them.
pub(crate) fn shown(account: &Account, token: &SecretBytes) -> SecretBytes {
    let name = format!("2/{KIND}/{}:", account.service);
    let pair = SecretBytes::new([name.as_bytes(), token.expose()].concat());
    SecretBytes::from(STANDARD.encode(pair.expose()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_the_service_and_the_server_and_counts_for_ten_minutes() {
        let account = Account {
            service: "shop".to_owned(),
            key: "alias/authnz".to_owned(),
            context: "confidant".to_owned(),
            region: "us-east-1".to_owned(),
            role: None,
        };
        let now = "2026-11-28T12:00:00Z".parse().unwrap();

        let asked = encrypt(&account, now).unwrap();

        assert_eq!(
            asked["EncryptionContext"],
            json!({"from": "shop", "to": "confidant", "user_type": "service"})
        );
        let text = STANDARD.decode(asked["Plaintext"].as_str().unwrap()).unwrap();
        let times: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(times, json!({"not_before": "20261128T115700Z", "not_after": "20261128T121000Z"}));
        let shown = shown(&account, &"VE9LRU4=".to_owned().into());
        assert_eq!(STANDARD.decode(shown.expose()).unwrap(), b"2/service/shop:VE9LRU4=");
    }
}
