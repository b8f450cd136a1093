//! Finds out whether others on the way to a server could read what is sent, or answer in its place.

use provider::{Exposure, Invalid};
use provider_client::{is_near, plain_address};
use url::Url;

use crate::config::VaultConfig;
use crate::server::Server;

/// The parameter by which the author of a class, and not the administrator, makes the way to `server` insecure.
///
/// For the administrator's own address no permission is needed: the author of a class could just as well send the same
/// tokens to a server of their own with a valid certificate. The exposure is reported all the same.
///
/// Addresses that no other machine can be on the way to are not exposed: loopback, and the link-local addresses at
/// which clouds serve their machines.
pub(crate) fn of(server: &Server, config: &VaultConfig) -> Option<Exposure> {
    let url = Url::parse(&server.address).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    // With another name for the server, a proxy would connect to another machine.
    let is_here = server.tls.server_name.is_none() && url.host().is_some_and(|host| is_near(&host));
    let is_own = is_the_administrators(&server.address, config);
    let asked = match url.scheme() {
        _ if is_here => None,
        "http" if is_own => None,
        "http" => Some(plain()),
        _ if config.skip_verify => None,
        _ => server.tls.skip_verify.then(unverified),
    };
    asked.map(|asked| Exposure { asked, is_allowed: config.network.allow_insecure || is_own })
}

fn is_the_administrators(address: &str, config: &VaultConfig) -> bool {
    let own = config.address.as_deref().and_then(|own| plain_address(own).ok());
    own.is_some_and(|own| own == address)
}

fn plain() -> Invalid {
    Invalid {
        key: "vaultAddress".to_owned(),
        line: None,
        reason: "it is http: whoever is on the way reads the pod's token and the secrets".to_owned(),
        remedy: "write https://, and the server's authority in vaultCACertPath".to_owned(),
    }
}

fn unverified() -> Invalid {
    Invalid {
        key: "vaultSkipTLSVerify".to_owned(),
        line: None,
        reason: "the server is not verified: whoever is on the way can answer in its place and has the pod's token"
            .to_owned(),
        remedy: "remove it, and name the server's authority in vaultCACertPath".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use provider_client::Tls;

    use super::*;

    fn exposure(address: &str, skip_verify: bool, config: &VaultConfig) -> Option<Exposure> {
        let tls = Tls { skip_verify, ..Tls::default() };
        let server = Server { address: plain_address(address).unwrap(), namespace: None, tls };
        of(&server, config)
    }

    fn asked(address: &str, skip_verify: bool, config: &VaultConfig) -> Option<String> {
        exposure(address, skip_verify, config).map(|exposure| exposure.asked.key)
    }

    fn is_allowed(address: &str, skip_verify: bool, config: &VaultConfig) -> Option<bool> {
        exposure(address, skip_verify, config).map(|exposure| exposure.is_allowed)
    }

    #[test]
    fn a_way_that_is_open_by_the_class_authors_word_is_told_by_the_parameter_that_opens_it() {
        let config = VaultConfig::default();
        for address in
            ["http://vault:8200", "http://10.0.0.1", "http://localhost.example.com", "http://[fd00::1]"]
        {
            assert_eq!(asked(address, false, &config).as_deref(), Some("vaultAddress"), "{address}");
        }
        for address in ["https://vault:8200", "https://10.0.0.1"] {
            assert_eq!(asked(address, true, &config).as_deref(), Some("vaultSkipTLSVerify"), "{address}");
            assert_eq!(asked(address, false, &config), None, "{address}");
        }
    }

    #[test]
    fn loopback_and_the_link_local_addresses_of_clouds_are_exempt_however_they_are_written() {
        let config = VaultConfig::default();
        for host in [
            "127.0.0.1:8200",
            "127.9.9.9",
            "localhost:8200",
            "LOCALHOST",
            "2130706433",
            "[::1]:8200",
            "[::ffff:127.0.0.1]",
            "169.254.169.254",
            "169.254.170.23",
            "[fd00:ec2::254]",
            "[fd00:ec2::23]",
            "[fe80::1]",
        ] {
            assert_eq!(asked(&format!("http://{host}"), false, &config), None, "{host}");
            assert_eq!(asked(&format!("https://{host}"), true, &config), None, "{host}");
        }
    }

    #[test]
    fn what_a_proxy_would_find_under_another_name_is_not_exempt() {
        let tls = Tls { server_name: Some("vault.example.com".to_owned()), ..Tls::default() };
        let server = Server { address: "http://127.0.0.1:8200".to_owned(), namespace: None, tls };

        assert!(of(&server, &VaultConfig::default()).is_some());
    }

    #[test]
    fn the_administrators_own_address_needs_no_leave_and_a_class_that_does_not_verify_it_is_told_of() {
        let own = |address: &str| VaultConfig { address: Some(address.to_owned()), ..VaultConfig::default() };

        assert_eq!(asked("http://vault:8200", false, &own("http://vault:8200/")), None);
        assert_eq!(is_allowed("http://vault:8201", false, &own("http://vault:8200")), Some(false));
        assert_eq!(is_allowed("http://vault:8200", false, &own("https://vault:8200")), Some(false));
        assert_eq!(is_allowed("https://vault:8200", true, &own("https://vault:8200/")), Some(true));
        assert_eq!(is_allowed("https://vault:8201", true, &own("https://vault:8200")), Some(false));
        let unverified = VaultConfig { skip_verify: true, ..own("https://vault:8200") };
        assert_eq!(asked("https://vault:8200", true, &unverified), None);
    }
}
