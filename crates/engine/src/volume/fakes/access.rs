//! Access rules that refuse one container, and pods of which some have no boundary.

use async_trait::async_trait;
use provider::{ObjectPath, Pod};

use crate::mode::Caller;
use crate::volume::Publish;
use crate::volume::access::{Access, Everyone};
use crate::volume::boundary::{Breach, Pods};

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

/// A stub of an API server: pods called `shared` share a process namespace, nobody knows pods called `unknown`, and all others
/// have no breach. It does not show what a real one says of pods.
#[derive(Debug)]
pub(in crate::volume) struct FakePods;

#[async_trait]
impl Pods for FakePods {
    async fn breaches(&self, _: &str, pod: &Pod) -> Result<Vec<Breach>, String> {
        match pod.name.as_str() {
            "shared" => Ok(vec![Breach::SharedProcesses]),
            "unknown" => Err("the API server is away".to_owned()),
            _ => Ok(Vec::new()),
        }
    }
}
