//! Why a call got no answer, in words that name a remedy.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use provider::{Error, ErrorKind};
use rustls::{AlertDescription, CertificateError};

use crate::names::Names;

/// TLS alerts of a server that rejects our client certificate, or that requires one.
const ABOUT_CLIENTS: [AlertDescription; 5] = [
    AlertDescription::CertificateRequired,
    AlertDescription::BadCertificate,
    AlertDescription::UnknownCA,
    AlertDescription::CertificateUnknown,
    AlertDescription::HandshakeFailure,
];

/// A host name that has no address.
#[derive(Debug)]
pub(crate) struct NameNotFound;

impl fmt::Display for NameNotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name has no address")
    }
}

impl StdError for NameNotFound {}

/// The server of a failed call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Called<'a> {
    /// The server's name for messages.
    pub(crate) server: &'a str,
    pub(crate) is_tls: bool,
    pub(crate) names: &'a Names,
}

/// What happened, and what to do about it. The second text is empty if there is no advice.
type Told = (String, String);

impl Called<'_> {
    /// The error for a failed call of reqwest. Always `Unavailable`, because there was no answer.
    ///
    /// The text of reqwest's error is not used, because it holds the URL.
    pub(crate) fn unavailable(&self, what: &str, error: &reqwest::Error) -> Error {
        let (reason, remedy) = self.explain(error);
        let told = Error::new(ErrorKind::Unavailable, format!("{what}: {} {reason}", self.server));
        if remedy.is_empty() { told } else { told.remedy(remedy) }
    }

    fn explain(&self, error: &reqwest::Error) -> Told {
        let Names { address, .. } = self.names;
        let chain = || {
            let first: &(dyn StdError + 'static) = error;
            std::iter::successors(Some(first), |error| (*error).source())
        };
        if let Some(tls) = chain().find_map(tls) {
            return self.explain_tls(tls);
        }
        if chain().any(refuses_client) {
            return self.no_client_certificate();
        }
        if chain().any(|error| error.is::<NameNotFound>()) {
            return told("cannot be found by name", format!("check {address} and the resolver"));
        }
        if error.is_timeout() {
            return told(
                "did not accept a connection in time",
                "is it up, and does the network let us there?",
            );
        }
        match chain().find_map(|error| error.downcast_ref::<io::Error>()).map(io::Error::kind) {
            Some(io::ErrorKind::ConnectionRefused) => {
                told("refuses connections", format!("is it up, and is the port of {address} right?"))
            }
            Some(io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) => {
                told("cut the connection", self.if_cut())
            }
            Some(io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable) => {
                told("cannot be reached", "does the network let us there?")
            }
            Some(io::ErrorKind::NotFound) => {
                told("has no socket there", "is the agent up, and is the socket mounted?")
            }
            _ if error.is_body() || error.is_decode() => told("broke off in the middle of its answer", ""),
            _ => told("broke off before it answered", self.if_cut()),
        }
    }

    /// A client that speaks the wrong protocol may see only a closed connection: the server's last message may be lost
    /// when the server closes.
    fn if_cut(&self) -> String {
        let Names { address, client_pair, .. } = self.names;
        match client_pair {
            _ if !self.is_tls => format!("if it stays so: does it expect https:// in {address}?"),
            Some([certificate, _]) => {
                format!("if it stays so: does it ask for a client certificate ({certificate})?")
            }
            None => String::new(),
        }
    }

    fn no_client_certificate(&self) -> Told {
        let remedy = self.names.client_pair.map(|[certificate, key]| format!("set {certificate} and {key}"));
        told("does not accept our client certificate, or misses one", remedy.unwrap_or_default())
    }

    fn explain_tls(&self, error: &rustls::Error) -> Told {
        let Names { address, may_be_plain, .. } = self.names;
        match error {
            rustls::Error::InvalidCertificate(bad) => self.explain_certificate(bad),
            rustls::Error::AlertReceived(alert) if ABOUT_CLIENTS.contains(alert) => {
                self.no_client_certificate()
            }
            rustls::Error::InvalidMessage(_) if *may_be_plain => {
                told("does not speak TLS", format!("is it meant to be http:// in {address}?"))
            }
            rustls::Error::InvalidMessage(_) => told("does not speak TLS", format!("is {address} right?")),
            other => told(format!("fails at TLS ({other})"), ""),
        }
    }

    fn explain_certificate(&self, bad: &CertificateError) -> Told {
        use CertificateError as Bad;
        let Names { address, authorities, server_name, .. } = self.names;
        let renew = "renew the server's certificate";
        match bad {
            Bad::Expired => told("shows a certificate that has expired", renew),
            Bad::ExpiredContext { not_after, .. } => {
                let date = i64::try_from(not_after.as_secs())
                    .ok()
                    .and_then(|at| jiff::Timestamp::from_second(at).ok());
                let date = date.map_or_else(String::new, |date| format!(" on {date}"));
                told(format!("shows a certificate that expired{date}"), renew)
            }
            Bad::NotValidYet | Bad::NotValidYetContext { .. } => {
                told("shows a certificate that is not valid yet", "check the clocks of both hosts")
            }
            Bad::UnknownIssuer | Bad::BadSignature => told(
                "shows a certificate of an authority that is not trusted",
                format!("name the authority's certificate in {authorities}"),
            ),
            Bad::NotValidForName | Bad::NotValidForNameContext { .. } => told(
                "shows a certificate for another name",
                server_name.map_or_else(
                    || format!("correct {address}"),
                    |name| format!("correct {address}, or give the name in {name}"),
                ),
            ),
            other => told(format!("shows a bad certificate ({other})"), renew),
        }
    }
}

fn told(reason: impl Into<String>, remedy: impl Into<String>) -> Told {
    (reason.into(), remedy.into())
}

/// An I/O error does not return the error inside it as its `source`, and it may wrap further I/O errors.
fn tls<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    match error.downcast_ref::<io::Error>() {
        Some(wrapper) => tls(wrapper.get_ref()?),
        None => error.downcast_ref(),
    }
}

/// HTTP/2 keeps only the text of a TLS alert. With TLS 1.3 a server rejects a client certificate only after the
/// handshake.
fn refuses_client(error: &(dyn StdError + 'static)) -> bool {
    let text = error.to_string();
    ABOUT_CLIENTS.iter().any(|alert| text.ends_with(&format!("received fatal alert: {alert:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::FEW;

    const ALL: Names = Names {
        may_be_plain: true,
        server_name: Some("server-name"),
        client_pair: Some(["certificate", "key"]),
        ..FEW
    };

    fn remedies(names: &Names) -> [String; 4] {
        let called = Called { server: "https://h", is_tls: true, names };
        let other_name = rustls::Error::InvalidCertificate(CertificateError::NotValidForName);
        let plain = rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType);
        [
            called.explain_tls(&other_name).1,
            called.explain_tls(&plain).1,
            called.no_client_certificate().1,
            called.if_cut(),
        ]
    }

    #[test]
    fn a_remedy_names_the_settings_that_a_store_has_and_no_others() {
        assert_eq!(
            remedies(&ALL),
            [
                "correct address, or give the name in server-name",
                "is it meant to be http:// in address?",
                "set certificate and key",
                "if it stays so: does it ask for a client certificate (certificate)?",
            ]
        );
        assert_eq!(remedies(&FEW), ["correct address", "is address right?", "", ""]);
    }
}
