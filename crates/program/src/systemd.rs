//! Notifies systemd about the state of a service (sd_notify(3)).

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Tells systemd that the service is ready, if `NOTIFY_SOCKET` says that systemd waits for it.
pub fn ready() {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = tell(&socket, b"READY=1") {
        tracing::warn!(%error, "systemd cannot be told that the service is up");
    }
}

fn tell(socket: &OsStr, state: &[u8]) -> io::Result<()> {
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(OsStr::from_bytes(path))?,
    };
    UnixDatagram::unbound()?.send_to_addr(state, &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(waiting: &UnixDatagram) -> Vec<u8> {
        let mut buffer = [0; 64];
        let length = waiting.recv(&mut buffer).unwrap();
        buffer[..length].to_vec()
    }

    #[test]
    fn the_state_reaches_a_socket_in_the_file_system() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let waiting = UnixDatagram::bind(&path).unwrap();

        tell(path.as_os_str(), b"READY=1").unwrap();

        assert_eq!(received(&waiting), b"READY=1");
    }

    #[test]
    fn the_state_reaches_a_socket_with_an_abstract_name() {
        let name = format!("secretfs-test-{}", std::process::id());
        let waiting = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();

        tell(OsStr::new(&format!("@{name}")), b"READY=1").unwrap();

        assert_eq!(received(&waiting), b"READY=1");
    }
}
