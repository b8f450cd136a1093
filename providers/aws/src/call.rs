use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroUsize;

use manifest::Tags;
use provider::Request;
use serde::{Deserialize, Serialize};

use crate::region::Service;

/// What one object asks for, in its canonical form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    pub(crate) service: Service,
    pub(crate) first: Wanted,
    /// The same thing in the failover region, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) failover: Option<Wanted>,
    /// Whether it is asked for a new version before its value is read.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) probe: bool,
    /// Where everything is asked for that a listing names: then `first` names the path, or the beginning of the names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sought: Option<Sought>,
    /// Where KMS decrypts something: then `first` names the key, if one is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) opened: Option<Opened>,
}

/// What of a listing is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sought {
    /// The tags that a secret must have, with their values where those count.
    #[serde(default, skip_serializing_if = "Tags::is_empty")]
    pub(crate) tags: Tags,
    /// Most files.
    pub(crate) most: usize,
}

/// A ciphertext of KMS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Opened {
    pub(crate) ciphertext: Blob,
    /// The encryption context that it is bound to.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) context: BTreeMap<String, String>,
}

/// Where a ciphertext stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Blob {
    /// In the class, in base64.
    Written(String),
    /// In what a service shows as this: its bytes, or their base64.
    In(Service, Wanted),
}

/// A secret or a parameter of one region.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Wanted {
    /// Name or ARN.
    pub(crate) id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
    /// A version stage of Secrets Manager, a label of the Parameter Store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) label: Option<String>,
}

/// The stage of the version that is in use.
pub(crate) const CURRENT: &str = "AWSCURRENT";

impl Wanted {
    /// Whether it is what a secret shows to who asks for nothing else: what a batch call brings.
    pub(crate) fn is_current(&self) -> bool {
        self.version.is_none() && self.label.is_none()
    }

    /// As the Parameter Store takes it: `name`, `name:version` or `name:label`.
    pub(crate) fn selector(&self) -> String {
        match self.version.as_ref().or(self.label.as_ref()) {
            Some(which) => format!("{}:{which}", self.id),
            None => self.id.clone(),
        }
    }
}

/// Secrets in one batch call.
/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_BatchGetSecretValue.html>
pub(crate) const SECRETS_OF_A_CALL: usize = 20;
/// Parameters in one call.
/// <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameters.html>
pub(crate) const PARAMETERS_OF_A_CALL: usize = 10;

impl Call {
    /// How many like this one go into one request to AWS, where the identity may make batch calls.
    pub(crate) fn most_together(&self) -> NonZeroUsize {
        let most = match self.service {
            Service::Ssm => PARAMETERS_OF_A_CALL,
            Service::SecretsManager if self.first.is_current() && !self.probe => SECRETS_OF_A_CALL,
            Service::SecretsManager | Service::Sts | Service::Kms => 1,
        };
        NonZeroUsize::new(most).unwrap_or(NonZeroUsize::MIN)
    }

    /// What a session is asked to read.
    pub fn request(&self) -> Request {
        Request::shared(serde_json::to_string(self).unwrap_or_default())
    }

    /// The call that [`request`](Self::request) told of.
    pub fn of_request(request: &Request) -> Option<Self> {
        serde_json::from_str(&request.text).ok()
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)?;
        if let Some(version) = &self.version {
            write!(f, " version {version}")?;
        }
        self.label.as_ref().map_or(Ok(()), |label| write!(f, " at {label}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_its_text_and_what_differs_has_another() {
        let wanted = |label: Option<&str>| Wanted {
            id: "shop/db".to_owned(),
            version: None,
            label: label.map(str::to_owned),
        };
        let call = |label, probe| Call {
            service: Service::SecretsManager,
            first: wanted(label),
            failover: None,
            probe,
            sought: None,
            opened: None,
        };

        assert_eq!(
            &*call(None, false).request().text,
            r#"{"service":"secretsmanager","first":{"id":"shop/db"}}"#
        );
        assert_ne!(call(None, false).request(), call(None, true).request());
        assert_ne!(call(None, false).request(), call(Some("AWSPREVIOUS"), false).request());
        let other = Call { failover: Some(wanted(Some("x"))), ..call(None, true) };
        assert_eq!(Call::of_request(&other.request()), Some(other));
    }
}
