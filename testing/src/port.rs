use std::net::{Ipv4Addr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::{Mutex, PoisonError};

/// A port that nobody listens on, and that no other call in the network namespace gets until this
/// process has ended: its server binds it later, and may be stopped and started again.
///
/// Below the range that the kernel takes for outgoing connections, so that none of
/// those takes it between here and the server's own bind.
///
/// # Panics
///
/// If there is none.
pub fn free() -> u16 {
    std::iter::repeat_with(|| fastrand::u16(12_000..32_000))
        .take(1_000)
        .find(|port| claim(*port) && TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("a free port on 127.0.0.1")
}

/// An abstract name belongs to one socket at a time, and the kernel takes it back with the process.
fn claim(port: u16) -> bool {
    static CLAIMS: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());
    let name = format!("secretfs-test-port-{port}");
    let address = SocketAddr::from_abstract_name(name).expect("a name shorter than 108 bytes");
    let claim = UnixListener::bind_addr(&address);
    let mut claims = CLAIMS.lock().unwrap_or_else(PoisonError::into_inner);
    claim.map(|claim| claims.push(claim)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_was_given_is_not_given_again() {
        let port = free();

        assert!(!claim(port));
        // A process that is started at this moment has our sockets until it executes its program.
        let is_free = || TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        crate::until(is_free, || format!("port {port} is taken"));
    }
}
