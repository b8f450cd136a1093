use manifest::AccessRules;

use super::Error;

/// Which containers of a pod may open which files of its volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confinement {
    /// `metadata.uid` of the pod.
    pub pod: String,
    /// The rules of its class.
    pub rules: AccessRules,
}

/// The error of a mode that cannot tell containers apart.
pub(super) fn unjudged(mode: &str) -> Error {
    let told = format!(
        "the class has access rules, and mode {mode} cannot tell containers apart; make the pod anew with a class of mode fuse"
    );
    Error::Failed(told.into())
}
