use std::time::Duration;

/// The deadlines of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Patience {
    /// Time to connect, with name lookup and TLS. 3 s by default.
    pub connect: Duration,
    /// Time from the connection to the first byte of the answer. 10 s by default.
    pub first_byte: Duration,
    /// Time for the whole call. 30 s by default.
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
