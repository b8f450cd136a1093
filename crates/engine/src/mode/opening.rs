//! What a mode that serves files itself knows of those who open them.

use std::path::PathBuf;

use jiff::Timestamp;

use super::Caller;
use crate::snapshot::Made;

/// Why an open brought nothing though no rule of the class forbids it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unopened {
    /// Whether the store refused, or the engine.
    pub is_denial: bool,
    /// Why, for people.
    pub why: String,
}

/// Opens of one file in one version by one container, with one decision.
#[derive(Debug, Clone)]
pub struct Opening {
    /// The file; `None` where there were too many kinds of opens to tell them apart.
    pub path: Option<String>,
    /// The first process that did it, as far as the kernel tells.
    pub caller: Caller,
    /// The program that this process ran; `None` if that may not be known.
    pub program: Option<PathBuf>,
    /// The name that this process had: it gives that itself.
    pub name: Option<String>,
    /// Whether it got the file.
    pub is_allowed: bool,
    /// Why not, where that is not for a rule of the class.
    pub unopened: Option<Unopened>,
    /// How often.
    pub count: u64,
    /// The first time.
    pub first: Timestamp,
    /// The last time.
    pub last: Timestamp,
    /// What the file was made of in this version; empty if that is not known.
    pub made: Vec<Made>,
    /// Whether it is the version that is shown.
    pub is_newest: bool,
}

/// Which opens are to be told now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Those of which nothing was told before.
    News,
    /// These, and those that were told some time ago.
    Repeated,
    /// All that were not told.
    All,
}
