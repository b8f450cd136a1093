use std::time::Duration;

/// How long to wait for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Patience {
    /// For a connection, name lookup and TLS included. 3 s by default.
    pub connect: Duration,
    /// For the first byte of an answer once connected. 10 s by default.
    pub first_byte: Duration,
    /// For a whole call. 30 s by default.
    pub total: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            first_byte: Duration::from_secs(10),
            total: Duration::from_secs(30),
        }
    }
}
