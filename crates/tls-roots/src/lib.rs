//! The certificate authorities that a client of a store trusts: those of a file, or the system's. Also the versions of
//! TLS that it speaks.

use std::sync::{Arc, OnceLock};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::version::TLS13;
use rustls::{RootCertStore, SupportedProtocolVersion};

/// Why a text cannot be used as a list of authorities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// The text has no certificate.
    #[error("holds no certificate")]
    None,
    /// One of the certificates cannot be read, or is not an authority.
    #[error("holds something that is no certificate")]
    NotOne,
}

/// The authorities in `pem`: one certificate or several. Each must be an authority.
///
/// # Errors
///
/// [`Unusable`] says what is wrong with the text.
pub fn of_pem(pem: &[u8]) -> Result<Arc<RootCertStore>, Unusable> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let added = certificate.ok().and_then(|certificate| roots.add(certificate).ok());
        added.ok_or(Unusable::NotOne)?;
    }
    if roots.is_empty() { Err(Unusable::None) } else { Ok(Arc::new(roots)) }
}

/// The accepted versions of TLS: 1.2 and 1.3, or only 1.3.
pub fn versions(tls13_only: bool) -> &'static [&'static SupportedProtocolVersion] {
    static NEWEST: &[&SupportedProtocolVersion] = &[&TLS13];
    if tls13_only { NEWEST } else { rustls::DEFAULT_VERSIONS }
}

/// The system's authorities, from where OpenSSL looks for them (`SSL_CERT_FILE` and `SSL_CERT_DIR` included). They are
/// read once per process. Certificates that cannot be read are left out.
pub fn of_the_system() -> Arc<RootCertStore> {
    static SYSTEM: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let load = || {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Arc::new(roots)
    };
    Arc::clone(SYSTEM.get_or_init(load))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate() -> String {
        let issued = rcgen::generate_simple_self_signed(["a".to_owned()]);
        issued.unwrap_or_else(|error| panic!("{error}")).cert.pem()
    }

    #[test]
    fn every_certificate_of_a_file_is_believed() {
        let two = certificate() + "\n# the next one\n" + &certificate();

        assert_eq!(of_pem(two.as_bytes()).map(|roots| roots.len()), Ok(2));
    }

    #[test]
    fn a_file_without_one_and_a_broken_one_are_told_apart() {
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

        assert_eq!(of_pem(b"nothing").err(), Some(Unusable::None));
        assert_eq!(of_pem((certificate() + broken).as_bytes()).err(), Some(Unusable::NotOne));
    }

    #[test]
    fn the_systems_are_read_once() {
        assert!(Arc::ptr_eq(&of_the_system(), &of_the_system()));
    }
}
