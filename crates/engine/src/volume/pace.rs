//! How the values of a class are kept fresh.

use std::time::Duration;

/// How the values of one class are kept fresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// How old a reading may be.
    pub refresh: Duration,
    /// Whether the values are read again without an order.
    pub rotates: bool,
}
