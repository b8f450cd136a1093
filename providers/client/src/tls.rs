use std::sync::Arc;

use provider::{Error, ErrorKind, Result};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::connection::Settings;
use crate::material::{ClientPair, Material};

/// The TLS configuration for `material`. With `skip_verify` any certificate is accepted.
///
/// # Errors
///
/// `Invalid` if the material is not a valid certificate or key.
pub(crate) fn config(material: &Material, skip_verify: bool, settings: &Settings) -> Result<ClientConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(tls_roots::versions(settings.tls13_only))
        .map_err(|error| Error::new(ErrorKind::Invalid, format!("TLS: {error}")))?;
    let builder = if skip_verify {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified(provider)))
    } else {
        builder.with_root_certificates(authorities(material, settings)?)
    };
    let mut config = match &material.client {
        None => builder.with_no_client_auth(),
        Some(pair) => {
            let (chain, key) = identity(pair)?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| unusable(&format!("the client certificate and its key: {error}")))?
        }
    };
    config.alpn_protocols = protocols(settings.http1_only);
    Ok(config)
}

fn protocols(http1_only: bool) -> Vec<Vec<u8>> {
    let (http1, http2) = (b"http/1.1".to_vec(), b"h2".to_vec());
    if http1_only { vec![http1] } else { vec![http2, http1] }
}

fn authorities(material: &Material, settings: &Settings) -> Result<Arc<RootCertStore>> {
    let Some(pem) = &material.authorities else { return Ok(tls_roots::of_the_system()) };
    tls_roots::of_pem(pem).map_err(|why| unusable(&format!("{} {why}", settings.names.given_authorities)))
}

fn identity(pair: &ClientPair) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let chain: std::result::Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(pair.certificate.expose()).collect();
    let chain = chain.ok().filter(|chain| !chain.is_empty());
    let chain = chain.ok_or_else(|| unusable("the client certificate holds no certificate"))?;
    let key = PrivateKeyDer::from_pem_slice(pair.key.expose());
    Ok((chain, key.map_err(|_| unusable("the client key holds no private key"))?))
}

fn unusable(what: &str) -> Error {
    Error::new(ErrorKind::Invalid, what).remedy("write it as PEM")
}

/// Accepts any certificate, if the settings say so. The signatures of the handshake are still checked.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::generate_simple_self_signed;
    use rustls::version::{TLS12, TLS13};
    use rustls::{ClientConnection, ServerConfig, ServerConnection, SupportedProtocolVersion};

    use super::*;
    use crate::connection::tests::settings;

    /// The outcome of a handshake with a server that speaks one version of TLS.
    fn shake_hands(
        tls13_only: bool,
        version: &'static SupportedProtocolVersion,
    ) -> std::result::Result<(), rustls::Error> {
        let issued = generate_simple_self_signed(["h".to_owned()]).unwrap();
        let key = PrivateKeyDer::from_pem_slice(issued.signing_key.serialize_pem().as_bytes()).unwrap();
        let server = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![issued.cert.der().clone()], key)
            .unwrap();
        let settings = Settings { tls13_only, ..settings() };
        let client = config(&Material::default(), true, &settings).unwrap();
        let mut client = ClientConnection::new(Arc::new(client), "h".try_into().unwrap()).unwrap();
        let mut server = ServerConnection::new(Arc::new(server)).unwrap();
        while client.is_handshaking() || server.is_handshaking() {
            let mut wire = Vec::new();
            client.write_tls(&mut wire).unwrap();
            server.read_tls(&mut wire.as_slice()).unwrap();
            server.process_new_packets()?;
            wire.clear();
            server.write_tls(&mut wire).unwrap();
            client.read_tls(&mut wire.as_slice()).unwrap();
            client.process_new_packets()?;
        }
        Ok(())
    }

    #[test]
    fn a_server_without_tls_1_3_is_refused_where_the_administrator_wants_no_other() {
        assert!(shake_hands(false, &TLS12).is_ok() && shake_hands(false, &TLS13).is_ok());
        assert!(shake_hands(true, &TLS13).is_ok());
        assert!(shake_hands(true, &TLS12).is_err());
    }
}
