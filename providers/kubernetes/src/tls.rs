use std::sync::{Arc, OnceLock};

use provider::{Error, ErrorKind, Result};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// TLS that trusts the authorities in `pem`, or the system's.
///
/// # Errors
///
/// `Invalid` if `pem` holds no certificates.
pub(crate) fn config(pem: Option<&[u8]>) -> Result<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new(ErrorKind::Invalid, format!("TLS: {error}")))?;
    let roots = pem.map_or_else(|| Ok(of_the_system()), authorities)?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn authorities(pem: &[u8]) -> Result<Arc<RootCertStore>> {
    let unusable =
        || Error::new(ErrorKind::Invalid, "--kubernetes-ca holds no certificate").remedy("write it as PEM");
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let added = certificate.ok().and_then(|certificate| roots.add(certificate).ok());
        added.ok_or_else(unusable)?;
    }
    if roots.is_empty() { Err(unusable()) } else { Ok(Arc::new(roots)) }
}

/// The system's authorities, read once.
fn of_the_system() -> Arc<RootCertStore> {
    static SYSTEM: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let load = || {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Arc::new(roots)
    };
    Arc::clone(SYSTEM.get_or_init(load))
}
