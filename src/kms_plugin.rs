//! Encryption at rest for a Kubernetes API server: its protocol KMS v2, called over a socket.
//!
//! The API server makes one key for many objects, and has it encrypted here. It asks for the status every minute. When
//! that names another key than before, it makes a new one, and encrypts what is written from then on with it.

mod cipher;

use std::io;
use std::sync::Arc;

use csi_proto::kms::key_management_service_server::{KeyManagementService, KeyManagementServiceServer};
use csi_proto::kms::{
    DecryptRequest, DecryptResponse, EncryptRequest, EncryptResponse, StatusRequest, StatusResponse,
};
use provider::{Error, ErrorKind, SecretBytes};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::transport::Server;
use tonic::{Request, Response, Status};
use zeroize::Zeroizing;

pub use cipher::{Caller, Cipher};

use crate::csi;
use crate::listening::Listening;

/// The version of the protocol.
const PROTOCOL: &str = "v2";
/// What a plugin says that works.
const HEALTHY: &str = "ok";
/// The largest message that is read, in bytes. The API server has keys encrypted, of some hundred bytes.
const MAX_MESSAGE: usize = 64 << 10;
/// The most calls at the same time on one connection.
const MOST_CALLS: u32 = 64;

/// The plugin, as an API server calls it.
#[derive(Debug, Clone)]
pub struct Plugin(Arc<Cipher>);

impl Plugin {
    /// A plugin that encrypts with `cipher`.
    pub fn new(cipher: Cipher) -> Self {
        Self(Arc::new(cipher))
    }
}

/// Waits for `work` as long as the caller of a request with `metadata` does.
async fn in_time<T>(
    metadata: &MetadataMap,
    work: impl Future<Output = provider::Result<T>>,
) -> Result<T, Status> {
    let done = timeout(csi::patience(metadata), work).await;
    done.map_err(|_| Status::deadline_exceeded("the store of the key did not answer in time"))?
        .map_err(|error| status_of(&error))
}

fn status_of(error: &Error) -> Status {
    let text = error.to_string();
    match error.kind() {
        ErrorKind::Invalid => Status::invalid_argument(text),
        ErrorKind::NotFound | ErrorKind::Revoked => Status::not_found(text),
        ErrorKind::Denied => Status::permission_denied(text),
        ErrorKind::Unauthenticated | ErrorKind::NoCredential => Status::unauthenticated(text),
        ErrorKind::Unavailable => Status::unavailable(text),
    }
}

#[tonic::async_trait]
impl KeyManagementService for Plugin {
    /// Encrypts and decrypts something, because only that shows that both work and which version of the key encrypts.
    async fn status(&self, request: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        let checked = in_time(request.metadata(), self.0.check()).await;
        let (healthz, key_id) = match checked {
            Ok(key_id) => (HEALTHY.to_owned(), key_id),
            Err(status) => {
                tracing::warn!(reason = status.message(), "the key cannot be used");
                (status.message().to_owned(), self.0.last_key_id())
            }
        };
        Ok(Response::new(StatusResponse { version: PROTOCOL.to_owned(), healthz, key_id }))
    }

    async fn encrypt(&self, request: Request<EncryptRequest>) -> Result<Response<EncryptResponse>, Status> {
        let (metadata, _, EncryptRequest { plaintext, uid }) = request.into_parts();
        let plaintext = SecretBytes::new(plaintext);
        let made = in_time(&metadata, self.0.encrypt(&plaintext)).await;
        let (ciphertext, key_id) = made.inspect_err(|status| tell("encrypt", &uid, status))?;
        Ok(Response::new(EncryptResponse { ciphertext, key_id, annotations: Default::default() }))
    }

    async fn decrypt(&self, request: Request<DecryptRequest>) -> Result<Response<DecryptResponse>, Status> {
        let (metadata, _, DecryptRequest { ciphertext, uid, .. }) = request.into_parts();
        let opened = in_time(&metadata, self.0.decrypt(&ciphertext)).await;
        let opened = opened.inspect_err(|status| tell("decrypt", &uid, status))?;
        let mut plaintext = Zeroizing::new(opened.expose().to_vec());
        Ok(Response::new(DecryptResponse { plaintext: std::mem::take(&mut *plaintext) }))
    }
}

fn tell(what: &str, uid: &str, status: &Status) {
    tracing::warn!(what, uid, reason = status.message(), "a call of the API server failed");
}

/// Answers the API server at `listening` until `shutdown`, then finishes the running calls.
///
/// # Errors
///
/// The listener or the transport failed.
pub async fn serve(listening: &Listening, plugin: Plugin, shutdown: CancellationToken) -> io::Result<()> {
    let incoming = csi::incoming(listening.listener()?)?;
    Server::builder()
        .max_concurrent_streams(MOST_CALLS)
        .add_service(KeyManagementServiceServer::new(plugin).max_decoding_message_size(MAX_MESSAGE))
        .serve_with_incoming_shutdown(incoming, shutdown.cancelled_owned())
        .await
        .map_err(io::Error::other)
}
