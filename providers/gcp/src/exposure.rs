//! Whether others on the way to Google could read what is sent, or answer in its place.

use provider::{Exposure, Invalid};
use provider_client::is_near;
use url::Url;

use crate::config::GcpConfig;
use crate::endpoints::{Api, Endpoints};

/// What the class's author, and not the administrator, asks for that leaves the way open. The administrator's own
/// address needs no leave, nor do those that no other machine can be on the way to.
pub(crate) fn of(endpoints: &Endpoints, config: &GcpConfig) -> Option<Exposure> {
    let url = Url::parse(&endpoints.address(&Api::SecurityTokens)).ok()?;
    let is_own = Endpoints::template(&config.endpoint).is_ok_and(|own| own == endpoints.template);
    let is_open = url.scheme() == "http" && !is_own && !url.host().is_some_and(|host| is_near(&host));
    is_open.then(|| Exposure { asked: plain(), is_allowed: config.network.allow_insecure })
}

fn plain() -> Invalid {
    Invalid::new(
        "endpoint",
        "it is http: whoever is on the way reads the pod's token and the secrets",
        "write https://, and the server's authority in caCertPath",
    )
}

#[cfg(test)]
mod tests {
    use provider::Network;
    use provider_client::Tls;

    use super::*;

    fn exposure(template: &str, config: &GcpConfig) -> Option<bool> {
        let template = Endpoints::template(template).unwrap();
        of(&Endpoints { template, tls: Tls::default() }, config).map(|exposure| exposure.is_allowed)
    }

    #[test]
    fn http_is_open_but_to_this_machine_and_to_the_administrators_own_address() {
        let config = GcpConfig { endpoint: "http://front.internal/".to_owned(), ..GcpConfig::default() };

        assert_eq!(exposure("http://{service}.example.com", &config), Some(false));
        assert_eq!(exposure("http://front.internal", &config), None);
        assert_eq!(exposure("http://127.0.0.1:9", &config), None);
        assert_eq!(exposure("https://{service}.example.com", &config), None);
        let network = Network { allow_insecure: true, ..Network::default() };
        let allowed = GcpConfig { network, ..config };
        assert_eq!(exposure("http://example.com", &allowed), Some(true));
    }
}
