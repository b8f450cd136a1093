//! Whether access rules can hold in a pod: what lets its containers reach each other's processes.

use std::fmt;

use async_trait::async_trait;
use manifest::Class;
use provider::Pod;

use crate::mode::Confinement;
use crate::volume::{Error, Publish};

/// Something in a pod by which one container reaches the processes of another, or of the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Breach {
    /// `shareProcessNamespace`.
    SharedProcesses,
    /// `hostPID`.
    HostProcesses,
    /// The container of this name is privileged.
    Privileged(String),
    /// The container of this name has this added capability.
    Capability(String, String),
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SharedProcesses => f.write_str("its containers share a process namespace"),
            Self::HostProcesses => f.write_str("it uses the node's process namespace"),
            Self::Privileged(container) => write!(f, "container {container} is privileged"),
            Self::Capability(container, capability) => write!(f, "container {container} adds {capability}"),
        }
    }
}

/// What only the API server knows of pods.
#[async_trait]
pub trait Pods: fmt::Debug + Send + Sync {
    /// The breaches of a pod of this node; none if its containers are apart from each other.
    ///
    /// # Errors
    ///
    /// The API server does not tell. The text says why, and what to do.
    async fn breaches(&self, namespace: &str, pod: &Pod) -> Result<Vec<Breach>, String>;
}

/// For processes without an API server.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPods;

#[async_trait]
impl Pods for NoPods {
    async fn breaches(&self, _: &str, _: &Pod) -> Result<Vec<Breach>, String> {
        Err("no API server is known here".to_owned())
    }
}

/// What the rules of `class` mean for the pod of `publish`; `None` if it has none.
///
/// # Errors
///
/// There is no pod, so there are no containers.
pub(super) fn confinement(publish: &Publish, class: &Class) -> Result<Option<Confinement>, Error> {
    if class.settings.access.is_empty() {
        return Ok(None);
    }
    let pod = publish.subject.pod.as_ref().map(|pod| pod.uid.clone());
    let pod = pod.ok_or_else(|| unconfined(class))?;
    Ok(Some(Confinement { pod, rules: class.settings.access.clone() }))
}

/// The error where somebody wants the files of a class with rules who cannot be judged by them.
pub(super) fn unconfined(class: &Class) -> Error {
    let (namespace, name) = (&class.namespace, &class.name);
    Error::Invalid(format!(
        "class {namespace}/{name} has access rules for containers, and here are none; use a class without secretfs.dev/access"
    ))
}
