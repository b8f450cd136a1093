//! Why a call got no answer, in words that name the remedy.

use std::error::Error as StdError;
use std::io;

use provider::{Error, ErrorKind};
use rustls::{AlertDescription, CertificateError};

/// What a failed call of reqwest means. Always `Unavailable`: nobody was heard.
///
/// The error's own text is not used: it holds the URL.
pub(crate) fn unavailable(what: &str, server: &str, error: &reqwest::Error) -> Error {
    let (reason, remedy) = explain(error);
    let told = Error::new(ErrorKind::Unavailable, format!("{what}: {server} {reason}"));
    if remedy.is_empty() { told } else { told.remedy(remedy) }
}

fn explain(error: &reqwest::Error) -> (String, &'static str) {
    let chain = || {
        let first: &(dyn StdError + 'static) = error;
        std::iter::successors(Some(first), |error| (*error).source())
    };
    if let Some(tls) = chain().find_map(tls) {
        return explain_tls(tls);
    }
    if chain().any(|error| error.is::<super::connection::NameNotFound>()) {
        return ("cannot be found by name".to_owned(), "check vaultAddress and the resolver");
    }
    if error.is_timeout() {
        return (
            "did not accept a connection in time".to_owned(),
            "is it up, and does the network let us there?",
        );
    }
    match chain().find_map(|error| error.downcast_ref::<io::Error>()).map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionRefused) => {
            ("refuses connections".to_owned(), "is it up, and is the port of vaultAddress right?")
        }
        Some(io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => {
            ("cut the connection".to_owned(), "")
        }
        Some(io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable) => {
            ("cannot be reached".to_owned(), "does the network let us there?")
        }
        Some(io::ErrorKind::NotFound) => {
            ("has no socket there".to_owned(), "is the agent up, and is the socket mounted?")
        }
        _ if error.is_body() || error.is_decode() => ("broke off in the middle of its answer".to_owned(), ""),
        _ => ("broke off before it answered".to_owned(), ""),
    }
}

/// An I/O error hides what it wraps from `source`.
fn tls<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    let wrapped = || error.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref();
    error.downcast_ref().or_else(wrapped)
}

fn explain_tls(error: &rustls::Error) -> (String, &'static str) {
    use CertificateError as Bad;
    match error {
        rustls::Error::InvalidCertificate(bad) => match bad {
            Bad::Expired => {
                ("shows a certificate that has expired".to_owned(), "renew the server's certificate")
            }
            Bad::ExpiredContext { not_after, .. } => {
                let date = i64::try_from(not_after.as_secs())
                    .ok()
                    .and_then(|at| jiff::Timestamp::from_second(at).ok());
                let date = date.map_or_else(String::new, |date| format!(" on {date}"));
                (format!("shows a certificate that expired{date}"), "renew the server's certificate")
            }
            Bad::NotValidYet | Bad::NotValidYetContext { .. } => {
                ("shows a certificate that is not valid yet".to_owned(), "check the clocks of both hosts")
            }
            Bad::UnknownIssuer => (
                "shows a certificate of an authority that is not trusted".to_owned(),
                "name the authority's certificate in vaultCACertPath",
            ),
            Bad::NotValidForName | Bad::NotValidForNameContext { .. } => (
                "shows a certificate for another name".to_owned(),
                "correct vaultAddress, or give the name in vaultTLSServerName",
            ),
            other => (format!("shows a bad certificate ({other})"), "renew the server's certificate"),
        },
        rustls::Error::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateUnknown
            | AlertDescription::HandshakeFailure,
        ) => (
            "does not accept our client certificate, or misses one".to_owned(),
            "set vaultTLSClientCertPath and vaultTLSClientKeyPath",
        ),
        rustls::Error::InvalidMessage(_) => {
            ("does not speak TLS".to_owned(), "is it meant to be http:// in vaultAddress?")
        }
        other => (format!("fails at TLS ({other})"), ""),
    }
}
