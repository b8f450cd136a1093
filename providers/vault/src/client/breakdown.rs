//! Why a call got no answer, in words that name the remedy.

use std::error::Error as StdError;
use std::io;

use provider::{Error, ErrorKind};
use rustls::{AlertDescription, CertificateError};

/// What a server says that wants another certificate of us, or any.
const ABOUT_CLIENTS: [AlertDescription; 5] = [
    AlertDescription::CertificateRequired,
    AlertDescription::BadCertificate,
    AlertDescription::UnknownCA,
    AlertDescription::CertificateUnknown,
    AlertDescription::HandshakeFailure,
];

/// What a failed call of reqwest means. Always `Unavailable`: nobody was heard.
///
/// The error's own text is not used: it holds the URL.
pub(crate) fn unavailable(what: &str, server: &str, error: &reqwest::Error) -> Error {
    let (reason, remedy) = explain(error, server.starts_with("https:"));
    let told = Error::new(ErrorKind::Unavailable, format!("{what}: {server} {reason}"));
    if remedy.is_empty() { told } else { told.remedy(remedy) }
}

fn explain(error: &reqwest::Error, is_tls: bool) -> (String, &'static str) {
    let chain = || {
        let first: &(dyn StdError + 'static) = error;
        std::iter::successors(Some(first), |error| (*error).source())
    };
    if let Some(tls) = chain().find_map(tls) {
        return explain_tls(tls);
    }
    if chain().any(refuses_client) {
        return no_client_certificate();
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
            ("cut the connection".to_owned(), if_cut(is_tls))
        }
        Some(io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable) => {
            ("cannot be reached".to_owned(), "does the network let us there?")
        }
        Some(io::ErrorKind::NotFound) => {
            ("has no socket there".to_owned(), "is the agent up, and is the socket mounted?")
        }
        _ if error.is_body() || error.is_decode() => ("broke off in the middle of its answer".to_owned(), ""),
        _ => ("broke off before it answered".to_owned(), if_cut(is_tls)),
    }
}

/// Who speaks to a server in the wrong way may see no more than a closed connection: the server's
/// last word races with the end.
fn if_cut(is_tls: bool) -> &'static str {
    if is_tls {
        "if it stays so: does it ask for a client certificate (vaultTLSClientCertPath)?"
    } else {
        "if it stays so: does it expect https:// in vaultAddress?"
    }
}

/// An I/O error hides what it wraps from `source`, and wraps others of its kind.
fn tls<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    match error.downcast_ref::<io::Error>() {
        Some(wrapper) => tls(wrapper.get_ref()?),
        None => error.downcast_ref(),
    }
}

/// HTTP/2 passes on no more of an alert than its text. In TLS 1.3 a server tells only after the handshake.
fn refuses_client(error: &(dyn StdError + 'static)) -> bool {
    let text = error.to_string();
    ABOUT_CLIENTS.iter().any(|alert| text.ends_with(&format!("received fatal alert: {alert:?}")))
}

fn no_client_certificate() -> (String, &'static str) {
    (
        "does not accept our client certificate, or misses one".to_owned(),
        "set vaultTLSClientCertPath and vaultTLSClientKeyPath",
    )
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
            Bad::UnknownIssuer | Bad::BadSignature => (
                "shows a certificate of an authority that is not trusted".to_owned(),
                "name the authority's certificate in vaultCACertPath",
            ),
            Bad::NotValidForName | Bad::NotValidForNameContext { .. } => (
                "shows a certificate for another name".to_owned(),
                "correct vaultAddress, or give the name in vaultTLSServerName",
            ),
            other => (format!("shows a bad certificate ({other})"), "renew the server's certificate"),
        },
        rustls::Error::AlertReceived(alert) if ABOUT_CLIENTS.contains(alert) => no_client_certificate(),
        rustls::Error::InvalidMessage(_) => {
            ("does not speak TLS".to_owned(), "is it meant to be http:// in vaultAddress?")
        }
        other => (format!("fails at TLS ({other})"), ""),
    }
}
