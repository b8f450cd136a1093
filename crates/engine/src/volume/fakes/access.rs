//! Access rules that refuse one container.

use provider::ObjectPath;

use crate::mode::Caller;
use crate::volume::Publish;
use crate::volume::access::{Access, Everyone};

/// Every process may open every file, except those of the container `stranger`.
#[derive(Debug)]
pub(in crate::volume) struct NoStranger;

impl Access for NoStranger {
    fn judge(&self, publish: &Publish, path: &ObjectPath, caller: &Caller) -> Result<(), String> {
        if caller.container.as_deref() == Some("stranger") {
            return Err("container stranger may open nothing".to_owned());
        }
        Everyone.judge(publish, path, caller)
    }
}
