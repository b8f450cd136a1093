use std::collections::BTreeMap;

use provider::SecretBytes;
use serde::{Deserialize, Deserializer};

/// A service account token as kubelet hands it over.
#[derive(Deserialize)]
struct BoundToken {
    #[serde(deserialize_with = "secret")]
    token: SecretBytes,
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretBytes, D::Error> {
    String::deserialize(deserializer).map(SecretBytes::from)
}

/// The tokens by audience in kubelet's JSON.
///
/// What cannot be read is no token: whoever needs one says so, and a volume that
/// is served already is not refused for it.
pub(crate) fn parse(json: Option<String>) -> BTreeMap<String, SecretBytes> {
    let json = json.map(SecretBytes::from);
    let parsed =
        json.as_ref().map(|json| serde_json::from_slice::<BTreeMap<String, BoundToken>>(json.expose()));
    match parsed {
        Some(Ok(tokens)) => tokens.into_iter().map(|(audience, bound)| (audience, bound.token)).collect(),
        // The parser's own words quote what it read.
        Some(Err(_)) => {
            tracing::warn!("the service account tokens that came with the call cannot be read");
            BTreeMap::new()
        }
        None => BTreeMap::new(),
    }
}
