//! How values of a class are kept fresh.

use std::time::Duration;

/// How values of one class are kept fresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// How old a reading may be.
    pub refresh: Duration,
    /// Whether they are read again by themselves.
    pub rotates: bool,
}
