use std::net::{Ipv4Addr, TcpListener};

/// A port that nobody listens on.
///
/// Below the range that the kernel takes for outgoing connections, so that none of
/// those takes it between here and the server's own bind.
pub(crate) fn free() -> u16 {
    std::iter::repeat_with(|| fastrand::u16(12_000..32_000))
        .take(1_000)
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("a free port on 127.0.0.1")
}
