use std::net::{Ipv4Addr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::{Mutex, PoisonError};

/// A port that nobody listens on, and that no other call in this network namespace gets before this process ends. A
/// server can bind it later, and can be stopped and started again.
///
/// It is below the range that the kernel uses for outgoing connections, so no connection takes it before the server
/// binds it.
///
/// # Panics
///
/// There is no free port.
pub fn free() -> u16 {
    std::iter::repeat_with(|| fastrand::u16(12_000..32_000))
        .take(1_000)
        .find(|port| claim(*port) && TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("a free port on 127.0.0.1")
}

/// Claims the port by an abstract socket name: only one socket can have it, and the kernel frees it with the process.
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
        // A child process that starts right now has copies of our sockets until it executes its program.
        let is_free = || TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        crate::until(is_free, || format!("port {port} is taken"));
    }
}
