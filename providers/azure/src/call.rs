use std::fmt;

use manifest::Tags;
use provider::Request;
use serde::{Deserialize, Serialize};

/// What is read of a vault, in its canonical form: what means the same is equal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Call {
    /// URL of the vault, without a slash at its end.
    pub(crate) vault: String,
    pub(crate) kind: Kind,
    pub(crate) name: String,
    /// The newest where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
    /// Which of several versions, where there is a history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) age: Option<usize>,
    /// Where all secrets are asked for that a listing names; then there is no name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sought: Option<Sought>,
}

/// Which secrets of a vault are asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Sought {
    /// The tags that they must have.
    pub(crate) tags: Tags,
    /// Most files.
    pub(crate) most: usize,
    /// Whether those that have expired count as revoked.
    #[serde(default)]
    pub(crate) drops_expired: bool,
}

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Secret,
    Key,
    Cert,
}

impl Kind {
    /// As a class writes it, exactly.
    pub(crate) fn of(raw: &str) -> Option<Self> {
        [Self::Secret, Self::Key, Self::Cert].into_iter().find(|kind| kind.name() == raw)
    }

    /// What people call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Key => "key",
            Self::Cert => "cert",
        }
    }

    /// Its collection in the API.
    pub(crate) fn collection(self) -> &'static str {
        match self {
            Self::Secret => "secrets",
            Self::Key => "keys",
            Self::Cert => "certificates",
        }
    }
}

impl Call {
    /// What a session is asked to read.
    pub fn request(&self) -> Request {
        Request::shared(serde_json::to_string(self).unwrap_or_default())
    }

    /// The call that [`request`](Self::request) told of.
    pub fn of_request(request: &Request) -> Option<Self> {
        serde_json::from_str(&request.text).ok()
    }

    /// The same for whichever version: calls that are equal then share the list of versions.
    pub(crate) fn history(&self) -> Self {
        Self { age: self.age.map(|_| 0), ..self.clone() }
    }
}

/// What is read and where, for messages.
impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { vault, kind, name, version, .. } = self;
        if let Some(sought) = &self.sought {
            return write!(f, "secrets with tags {} of {vault}", sought.tags);
        }
        write!(f, "{} {name}", kind.name())?;
        if let Some(version) = version {
            write!(f, " version {version}")?;
        }
        write!(f, " of {vault}")
    }
}

/// Whether it can be the name of an object.
pub(crate) fn is_name(raw: &str) -> bool {
    is_plain(raw) && raw.len() <= 127
}

/// Whether it can be a version of one.
pub(crate) fn is_version(raw: &str) -> bool {
    is_plain(raw) && raw.len() <= 64
}

fn is_plain(raw: &str) -> bool {
    !raw.is_empty() && raw.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_survives_its_text_and_versions_of_one_history_belong_together() {
        let call = |age| Call {
            vault: "https://kv".to_owned(),
            kind: Kind::Secret,
            name: "a".to_owned(),
            version: None,
            age,
            sought: None,
        };

        assert_eq!(Call::of_request(&call(Some(2)).request()), Some(call(Some(2))));
        assert_eq!(call(Some(2)).history(), call(Some(1)).history());
        assert_ne!(call(Some(2)).history(), call(None).history());
        assert_eq!(call(None).to_string(), "secret a of https://kv");
    }

    #[test]
    fn a_name_and_a_version_stay_one_component_of_a_path() {
        for raw in ["", ".", "..", "a/b", "a?b", "a#b", "a%2fb", "a b", "é"] {
            assert!(!is_name(raw) && !is_version(raw), "{raw:?}");
        }
        assert!(is_name("db-password") && is_version("4387e9f3d6e14c459867679a90fd0f79"));
    }
}
