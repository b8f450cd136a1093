//! Whether others on the way to an endpoint could read what is sent, or answer in its place.

use provider::{Exposure, Invalid};
use provider_client::is_near;
use url::Url;

use crate::config::AwsConfig;

/// What the class's author, and not the administrator, asks for that leaves the way to `endpoint` open.
pub(crate) fn of(endpoint: Option<&str>, config: &AwsConfig) -> Option<Exposure> {
    // Whatever stands for a service or a region is a name, and so is what it stands in.
    let url = Url::parse(&endpoint?.replace(['{', '}'], "")).ok().filter(|url| url.scheme() == "http")?;
    let is_own = endpoint == config.endpoint.as_deref();
    let is_here = url.host().is_some_and(|host| is_near(&host));
    let asked = Invalid {
        key: "endpoint".to_owned(),
        line: None,
        reason: "it is http: whoever is on the way reads the pod's token and the secrets".to_owned(),
        remedy: "write https://, and the endpoint's authority in caCertPath".to_owned(),
    };
    (!is_own && !is_here).then_some(Exposure { asked, is_allowed: config.network.allow_insecure })
}

#[cfg(test)]
mod tests {
    use provider::Network;

    use super::*;

    #[test]
    fn an_endpoint_over_http_is_told_unless_it_is_near_or_the_administrators_own() {
        let own = AwsConfig { endpoint: Some("http://aws.test".to_owned()), ..AwsConfig::default() };
        let told =
            |endpoint, config: &AwsConfig| of(Some(endpoint), config).map(|exposure| exposure.is_allowed);

        assert_eq!(told("http://{service}.aws.test", &AwsConfig::default()), Some(false));
        let network = Network { allow_insecure: true, ..Network::default() };
        let open = AwsConfig { network, ..AwsConfig::default() };
        assert_eq!(told("http://aws.test", &open), Some(true));
        assert_eq!(told("http://aws.test", &own), None);
        assert_eq!(told("http://127.0.0.1:5000", &AwsConfig::default()), None);
        assert_eq!(told("https://aws.test", &AwsConfig::default()), None);
        assert!(of(None, &AwsConfig::default()).is_none());
    }
}
