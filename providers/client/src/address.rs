use std::net::{IpAddr, Ipv6Addr};

use provider::{Error, ErrorKind, Exposure, Result};
use url::{Host, Url};

/// An address as a class or the administrator writes it, in canonical form: without a slash at its end.
///
/// # Errors
///
/// Why the text is not an address, in one clause.
pub fn plain_address(raw: &str) -> std::result::Result<String, &'static str> {
    let url = Url::parse(raw.trim()).map_err(|_| "it is no URL")?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("its scheme is neither http nor https");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it holds a user or password");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("it has a query or fragment");
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// Refuses an insecure way to a store that the administrator does not allow, before any token is sent on it. `store` is
/// the address for the message. It is `None` if the parameter in `exposure` names the address.
///
/// # Errors
///
/// `Invalid`. The store itself was not asked.
pub fn refuse_exposure(exposure: Option<&Exposure>, store: Option<&str>) -> Result<()> {
    let Some(Exposure { asked, .. }) = exposure.filter(|exposure| !exposure.is_allowed) else {
        return Ok(());
    };
    let whose = store.map(|store| format!("{store}: ")).unwrap_or_default();
    let error = Error::new(ErrorKind::Invalid, format!("{whose}{}: {}", asked.key, asked.reason));
    Err(error.remedy(format!(
        "{}; or have the administrator start secretfs with --allow-insecure-stores (allowInsecureStores in the chart)",
        asked.remedy
    )))
}

/// Whether no other machine can be on the way to `host`: loopback, and the link-local addresses at which clouds serve
/// their machines.
pub fn is_near(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost",
        Host::Ipv4(address) => is_near_address((*address).into()),
        Host::Ipv6(address) => is_near_address(address.to_canonical()),
    }
}

fn is_near_address(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback() || address.is_link_local(),
        IpAddr::V6(address) => {
            address.is_loopback() || address.is_unicast_link_local() || is_of_a_cloud(address)
        }
    }
}

/// fd00:ec2::/32, the range in which AWS serves its machines over IPv6.
fn is_of_a_cloud(address: Ipv6Addr) -> bool {
    matches!(address.segments(), [0xfd00, 0x0ec2, ..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_plain_http_url() {
        assert_eq!(plain_address("https://vault.vault:8200/").unwrap(), "https://vault.vault:8200");
        assert_eq!(plain_address("http://h:1/prefix/").unwrap(), "http://h:1/prefix");
        for raw in
            ["", "vault:8200", "ftp://h", "unix:///run/x", "https://u:p@h", "https://h?x=1", "https://h#x"]
        {
            assert!(plain_address(raw).is_err(), "{raw:?}");
        }
    }
}
