use std::sync::Arc;

use provider::{Error, ErrorKind, Result};
use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;

/// TLS that trusts the authorities in `pem`, or the system's.
///
/// # Errors
///
/// `Invalid` if `pem` holds no certificates.
pub(crate) fn config(pem: Option<&[u8]>, tls13_only: bool) -> Result<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(tls_roots::versions(tls13_only))
        .map_err(|error| Error::new(ErrorKind::Invalid, format!("TLS: {error}")))?;
    let roots = match pem {
        None => tls_roots::of_the_system(),
        Some(pem) => tls_roots::of_pem(pem).map_err(|why| {
            Error::new(ErrorKind::Invalid, format!("--kubernetes-ca {why}")).remedy("write it as PEM")
        })?,
    };
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}
