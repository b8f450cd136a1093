//! Which process may open which file.

use std::fmt;

use provider::ObjectPath;

use crate::mode::Caller;
use crate::volume::Publish;

/// Decides whether a process may open a file, before a store is asked.
pub trait Access: fmt::Debug + Send + Sync {
    /// Checks that `caller` may open the file at `path` of the volume that `publish` made.
    ///
    /// # Errors
    ///
    /// The caller may not open it. The text says why, for people and for the audit trail.
    fn judge(&self, publish: &Publish, path: &ObjectPath, caller: &Caller) -> Result<(), String>;
}

/// Every process that can reach a volume may open its files: in this version, classes have no rules about this.
#[derive(Debug, Clone, Copy, Default)]
pub struct Everyone;

impl Access for Everyone {
    fn judge(&self, _: &Publish, _: &ObjectPath, _: &Caller) -> Result<(), String> {
        Ok(())
    }
}
