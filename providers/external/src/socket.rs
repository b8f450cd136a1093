//! The socket of a provider: its path, who may serve it, and one call over it.

use std::fmt;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use csi_proto::provider::csi_driver_provider_client::CsiDriverProviderClient;
use csi_proto::provider::{MountRequest, MountResponse};
use hyper_util::rt::TokioIo;
use provider::{Error, ErrorKind, Result};
use tokio::net::UnixStream;
use tokio::time::timeout;
use tonic::Status;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

use crate::meaning::failure;

/// The longest name of a provider, in bytes.
const MAX_NAME: usize = 30;

/// Connects to a provider, for a process that may not.
pub trait Connect: fmt::Debug + Send + Sync {
    /// A connection to the socket at `path`. Blocks for a moment.
    ///
    /// # Errors
    ///
    /// Nobody listens there, or only root could have it.
    fn connect(&self, path: &Path) -> io::Result<std::os::unix::net::UnixStream>;
}

/// The directories in which external providers listen.
#[derive(Debug, Clone)]
pub struct Sockets {
    /// Directories of sockets. The first one with a socket of the provider's name is used.
    pub directories: Vec<PathBuf>,
    /// The longest answer, in bytes.
    pub max_answer: usize,
    /// The names of built-in providers, for messages about a misspelt name.
    pub built_in: Vec<String>,
    /// Who connects, if this process may not by itself.
    pub connect: Option<Arc<dyn Connect>>,
}

/// Whether `name` is a valid name for a provider, by the rules of the upstream driver. It becomes the name of a file.
pub fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    !name.is_empty() && name.len() <= MAX_NAME && name.bytes().all(plain)
}

impl Sockets {
    /// Calls `provider` for the contents of a volume.
    ///
    /// Each call makes a new connection, so it finds a provider that was restarted or that replaced its socket.
    pub(crate) async fn mount(
        &self,
        provider: &str,
        request: MountRequest,
        patience: Duration,
    ) -> Result<MountResponse> {
        let answer = timeout(patience, async {
            let channel = self.connect(provider).await?;
            let mut client = CsiDriverProviderClient::new(channel).max_decoding_message_size(self.max_answer);
            let mut request = tonic::Request::new(request);
            request.set_timeout(patience);
            let answer = client.mount(request).await.map_err(|status| failure(provider, &status))?;
            Ok(answer.into_inner())
        });
        answer.await.unwrap_or_else(|_| Err(failure(provider, &late(patience))))
    }

    async fn connect(&self, provider: &str) -> Result<Channel> {
        let path = self.find(provider)?;
        let refused = |error: &dyn std::fmt::Display| {
            let said = format!("external provider {provider} does not answer at {}: {error}", path.display());
            Error::new(ErrorKind::Unavailable, said).remedy("does its pod run on this node?")
        };
        let stream = self.reach(&path).await.map_err(|error| refused(&error))?;
        let stream = Mutex::new(Some(stream));
        let connector = service_fn(move |_: Uri| {
            let stream = stream.lock().ok().and_then(|mut stream| stream.take());
            async { stream.map(TokioIo::new).ok_or_else(|| io::Error::from(io::ErrorKind::ConnectionReset)) }
        });
        // Providers refuse every other authority.
        let endpoint = Endpoint::from_static("http://localhost");
        endpoint.connect_with_connector(connector).await.map_err(|error| refused(&error))
    }

    async fn reach(&self, path: &Path) -> io::Result<UnixStream> {
        let Some(other) = self.connect.clone() else { return UnixStream::connect(path).await };
        let path = path.to_owned();
        let stream = tokio::task::spawn_blocking(move || other.connect(&path)).await??;
        stream.set_nonblocking(true)?;
        UnixStream::from_std(stream)
    }

    fn find(&self, provider: &str) -> Result<PathBuf> {
        let file = format!("{provider}.sock");
        let paths = self.directories.iter().map(|directory| directory.join(&file));
        for path in paths {
            match std::fs::symlink_metadata(&path) {
                Ok(found) => return trusted(&path, &found).map(|()| path),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(untrusted(&path, &error.to_string())),
            }
        }
        Err(self.missing(provider, &file))
    }

    fn missing(&self, provider: &str, file: &str) -> Error {
        let looked: Vec<_> = self.directories.iter().map(|path| path.display().to_string()).collect();
        let said = format!("there is no provider {provider}: no {file} in {}", looked.join(", "));
        Error::new(ErrorKind::Unavailable, said).remedy(format!(
            "start its DaemonSet on this node, or name one that is built in: {}",
            self.built_in.join(", ")
        ))
    }
}

/// Checks that only root can have made the socket, because its server receives the pod's tokens.
fn trusted(path: &Path, found: &std::fs::Metadata) -> Result<()> {
    if !found.file_type().is_socket() {
        return Err(untrusted(path, "it is no socket; a symbolic link is not followed"));
    }
    if found.uid() != 0 && found.uid() != rustix::process::geteuid().as_raw() {
        return Err(untrusted(path, &format!("it belongs to user {} and not to root", found.uid())));
    }
    Ok(())
}

fn untrusted(path: &Path, reason: &str) -> Error {
    let said = format!("the provider socket {} is not used: {reason}", path.display());
    Error::new(ErrorKind::Unavailable, said).remedy("have the provider listen there itself, as root")
}

fn late(patience: Duration) -> Status {
    Status::deadline_exceeded(format!("no answer within {:.0} s", patience.as_secs_f32()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    fn sockets(directories: &[&Path]) -> Sockets {
        Sockets {
            directories: directories.iter().map(|path| (*path).to_owned()).collect(),
            max_answer: 1 << 20,
            built_in: vec!["vault".to_owned()],
            connect: None,
        }
    }

    #[test]
    fn a_name_is_what_can_be_a_file_and_nothing_else() {
        for name in ["azure", "e2e-provider", "A_1", &"n".repeat(30)] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "../x", "a/b", "a.b", "a b", &"n".repeat(31)] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn the_first_directory_that_has_the_socket_is_asked() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let sockets = sockets(&[first.path(), second.path()]);
        let _second = UnixListener::bind(second.path().join("p.sock")).unwrap();
        assert_eq!(sockets.find("p").unwrap(), second.path().join("p.sock"));

        let _first = UnixListener::bind(first.path().join("p.sock")).unwrap();
        assert_eq!(sockets.find("p").unwrap(), first.path().join("p.sock"));
    }

    #[test]
    fn a_provider_that_is_not_there_is_told_with_where_it_was_looked_for() {
        let directory = tempfile::tempdir().unwrap();
        let error = sockets(&[directory.path(), Path::new("/nowhere")]).find("azure").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        let text = error.to_string();
        for word in ["azure.sock", directory.path().to_str().unwrap(), "/nowhere", "DaemonSet", "vault"] {
            assert!(text.contains(word), "{text}");
        }
    }

    #[test]
    fn a_link_a_file_and_somebody_elses_socket_are_not_asked() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).with_extension("sock");
        let _real = UnixListener::bind(path("real")).unwrap();
        symlink(path("real"), path("link")).unwrap();
        std::fs::write(path("file"), b"").unwrap();
        let _theirs = UnixListener::bind(path("theirs")).unwrap();
        std::os::unix::fs::chown(path("theirs"), Some(65_534), None).unwrap();

        let sockets = sockets(&[directory.path()]);
        assert!(sockets.find("real").is_ok());
        for (name, word) in [("link", "symbolic link"), ("file", "no socket"), ("theirs", "65534")] {
            let text = sockets.find(name).unwrap_err().to_string();
            assert!(text.contains(word), "{text}");
        }
    }
}
