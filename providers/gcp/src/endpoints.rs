//! Where each of Google's APIs is.

use std::fmt;

use provider_client::{Tls, plain_address};

/// Where Google has them (<https://docs.cloud.google.com/secret-manager/docs/reference/rest>).
pub(crate) const GOOGLE: &str = "https://{service}.googleapis.com";
/// What stands for the name of an API.
const SERVICE: &str = "{service}";

/// Where Google's APIs are, and how to be sure that they are Google's.
///
/// It holds names of files, not what is in them, and nothing secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Endpoints {
    /// A URL without a slash at its end.
    pub(crate) template: String,
    pub(crate) tls: Tls,
}

/// One of Google's APIs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(not(feature = "client"), expect(dead_code, reason = "only the client connects"))]
pub(crate) enum Api {
    /// Of one region, or the global one.
    SecretManager { location: Option<String> },
    /// Of one region, or the global one.
    ParameterManager { location: Option<String> },
    /// Keys, of all regions.
    Kms,
    /// Exchanges tokens of others for Google's.
    SecurityTokens,
    /// Makes tokens of service accounts.
    AccountCredentials,
    /// Takes signatures by service account keys for tokens.
    OAuth,
}

impl Endpoints {
    /// The plain form of a URL as a class or the administrator writes it.
    ///
    /// # Errors
    ///
    /// Why it is none, in one clause.
    pub(crate) fn template(raw: &str) -> Result<String, &'static str> {
        let raw = raw.trim().trim_end_matches('/');
        let example = raw.replace(SERVICE, "service");
        if example.contains(['{', '}']) {
            return Err("it has braces around something else than service");
        }
        plain_address(&example).map(|_| raw.to_owned())
    }

    /// The URL of `api`, as a connection takes it.
    pub(crate) fn address(&self, api: &Api) -> String {
        self.template.replace(SERVICE, &api.to_string())
    }
}

/// The name of its host before `.googleapis.com`. Regional ones:
/// <https://docs.cloud.google.com/secret-manager/regional-secrets/access-regional-secret>.
impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, location) = match self {
            Self::SecretManager { location } => ("secretmanager", location.as_ref()),
            Self::ParameterManager { location } => ("parametermanager", location.as_ref()),
            Self::Kms => ("cloudkms", None),
            Self::SecurityTokens => ("sts", None),
            Self::AccountCredentials => ("iamcredentials", None),
            Self::OAuth => ("oauth2", None),
        };
        f.write_str(name)?;
        location.map_or(Ok(()), |location| write!(f, ".{location}.rep"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(template: &str) -> Endpoints {
        Endpoints { template: Endpoints::template(template).unwrap(), tls: Tls::default() }
    }

    #[test]
    fn each_api_is_at_its_own_host_of_google() {
        let google = endpoints(GOOGLE);
        let location = Some("europe-west3".to_owned());
        for (api, address) in [
            (Api::SecretManager { location: None }, "https://secretmanager.googleapis.com"),
            (
                Api::SecretManager { location: location.clone() },
                "https://secretmanager.europe-west3.rep.googleapis.com",
            ),
            (Api::ParameterManager { location: None }, "https://parametermanager.googleapis.com"),
            (Api::ParameterManager { location }, "https://parametermanager.europe-west3.rep.googleapis.com"),
            (Api::Kms, "https://cloudkms.googleapis.com"),
            (Api::SecurityTokens, "https://sts.googleapis.com"),
            (Api::AccountCredentials, "https://iamcredentials.googleapis.com"),
            (Api::OAuth, "https://oauth2.googleapis.com"),
        ] {
            assert_eq!(google.address(&api), address);
        }
    }

    #[test]
    fn one_server_may_stand_for_all_of_them() {
        let one = endpoints(" http://127.0.0.1:9/ ");
        assert_eq!(one.address(&Api::OAuth), "http://127.0.0.1:9");
        assert_eq!(one.address(&Api::SecurityTokens), "http://127.0.0.1:9");
    }

    #[test]
    fn what_is_no_url_or_has_other_braces_is_refused() {
        for raw in
            ["", "googleapis.com", "https://{api}.googleapis.com", "https://u:p@{service}.x", "ftp://x"]
        {
            assert!(Endpoints::template(raw).is_err(), "{raw}");
        }
    }
}
