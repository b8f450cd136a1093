//! Who may open which file.

use std::fmt;

use provider::ObjectPath;

use crate::mode::Caller;
use crate::volume::Publish;

/// Decides who may open which file, before a store is asked.
pub trait Access: fmt::Debug + Send + Sync {
    /// Whether `caller` may open the file at `path` of the volume that `publish` made.
    ///
    /// # Errors
    ///
    /// It may not; the text says why, for people and for the audit trail.
    fn judge(&self, publish: &Publish, path: &ObjectPath, caller: &Caller) -> Result<(), String>;
}

/// Everyone who can reach a volume may open its files: no class has rules in this version.
#[derive(Debug, Clone, Copy, Default)]
pub struct Everyone;

impl Access for Everyone {
    fn judge(&self, _: &Publish, _: &ObjectPath, _: &Caller) -> Result<(), String> {
        Ok(())
    }
}
