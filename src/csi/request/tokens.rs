use std::collections::BTreeMap;

use provider::{Identity, Pod, SecretBytes};
use serde::{Deserialize, Deserializer};

use super::claims;

/// A service account token in the form in which kubelet sends it.
#[derive(Deserialize)]
struct BoundToken {
    #[serde(deserialize_with = "secret")]
    token: SecretBytes,
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretBytes, D::Error> {
    String::deserialize(deserializer).map(SecretBytes::from)
}

type Tokens = BTreeMap<String, SecretBytes>;

/// Parses kubelet's JSON of tokens by audience. Returns the tokens that belong to `identity` and `pod`, and the
/// identity with the uid from the tokens.
///
/// If the CSIDriver object has no tokenRequests, kubelet sends no tokens, and the pod's author may write the same
/// attribute. So the claims of each token must match what kubelet vouches for. A token with other claims, or without
/// any, is ignored. A provider that needs a token reports its absence. A volume that is already served is not refused
/// for it.
pub(crate) fn own(json: Option<String>, mut identity: Identity, pod: &Pod) -> (Identity, Tokens) {
    let (mut tokens, mut refused) = (parse(json), None);
    let before = tokens.len();
    tokens.retain(|_, token| match fitting(token, &identity, pod) {
        Ok(uid) => {
            identity.uid = Some(uid);
            true
        }
        Err(why) => {
            refused.get_or_insert(why);
            false
        }
    });
    // One line for all tokens, without their audiences: whoever writes the attribute decides how many there are and how
    // long.
    if let Some(why) = refused {
        let not_taken = before.saturating_sub(tokens.len());
        tracing::warn!(%identity, pod = pod.name, not_taken, why, "service account tokens are not taken");
    }
    (identity, tokens)
}

fn fitting(token: &SecretBytes, identity: &Identity, pod: &Pod) -> Result<String, &'static str> {
    let uid = claims::account_uid(token, identity, pod)?;
    let differs = identity.uid.as_ref().is_some_and(|known| *known != uid);
    if differs { Err("it tells another uid than the tokens beside it") } else { Ok(uid) }
}

/// The tokens by audience in kubelet's JSON. If the JSON cannot be read, there are none.
fn parse(json: Option<String>) -> Tokens {
    let json = json.map(SecretBytes::from);
    let parsed =
        json.as_ref().map(|json| serde_json::from_slice::<BTreeMap<String, BoundToken>>(json.expose()));
    match parsed {
        Some(Ok(tokens)) => tokens.into_iter().map(|(audience, bound)| (audience, bound.token)).collect(),
        // The parser's message is not logged, because it quotes what it read.
        Some(Err(_)) => {
            tracing::warn!("the service account tokens that came with the call cannot be read");
            Tokens::new()
        }
        None => Tokens::new(),
    }
}
