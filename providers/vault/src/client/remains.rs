use std::fmt;

use provider::SecretBytes;
use provider_client::ClientPair;
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::server::Server;

/// What another process needs to end a login, as JSON.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Remains {
    pub(crate) server: Server,
    token: Hidden,
    certificate: Option<Hidden>,
    key: Option<Hidden>,
}

/// A secret that may be serialised, because the whole blob that contains it is secret.
#[derive(Debug)]
struct Hidden(SecretBytes);

impl Remains {
    pub(crate) fn new(server: &Server, token: &SecretBytes, client: Option<&ClientPair>) -> Self {
        Self {
            server: server.clone(),
            token: Hidden(token.clone()),
            certificate: client.map(|pair| Hidden(pair.certificate.clone())),
            key: client.map(|pair| Hidden(pair.key.clone())),
        }
    }

    pub(crate) fn write(&self) -> Option<SecretBytes> {
        serde_json::to_vec(self).ok().map(SecretBytes::new)
    }

    pub(crate) fn read(blob: &SecretBytes) -> Option<Self> {
        serde_json::from_slice(blob.expose()).ok()
    }

    pub(crate) fn token(&self) -> &SecretBytes {
        &self.token.0
    }

    pub(crate) fn client(&self) -> Option<ClientPair> {
        let (certificate, key) = (self.certificate.as_ref()?, self.key.as_ref()?);
        Some(ClientPair { certificate: certificate.0.clone(), key: key.0.clone() })
    }
}

impl Serialize for Hidden {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = self.0.expose_str().ok_or_else(|| serde::ser::Error::custom("a secret is no text"))?;
        serializer.serialize_str(text)
    }
}

impl<'de> Deserialize<'de> for Hidden {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text)
    }
}

struct Text;

impl Visitor<'_> for Text {
    type Value = Hidden;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Hidden, E> {
        Ok(Hidden(SecretBytes::new(text.as_bytes().to_vec())))
    }
}
