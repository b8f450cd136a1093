use std::fs;
use std::net::TcpStream;

use tempfile::TempDir;

use crate::port;
use crate::process::{Server, mortal, until};
use crate::tool::tool;

/// Microsoft's own fake of a key vault's secrets, over HTTP: `hack/servers/azsecrets`, which says what it holds and what
/// it cannot show. It takes any token.
#[derive(Debug)]
pub struct AzSecrets {
    port: u16,
    _server: Server,
    _folder: TempDir,
}

impl AzSecrets {
    /// One over plain HTTP.
    pub fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("secretfs-azsecrets-").tempdir().expect("a folder");
        let (port, log) = (port::free(), folder.path().join("log"));
        let mut command = mortal("KILL");
        command.arg(tool("azsecrets")).arg(format!("127.0.0.1:{port}"));
        let server = Server::logging(command, &log);
        let complaint = || fs::read_to_string(&log).unwrap_or_default();
        until(|| TcpStream::connect(("127.0.0.1", port)).is_ok(), complaint);
        Self { port, _server: server, _folder: folder }
    }

    /// `http://127.0.0.1:<port>`. Every path below it leads to the one vault.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}
