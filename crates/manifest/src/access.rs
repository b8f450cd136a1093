//! `secretfs.dev/access`: which containers may open which files.

mod pattern;
mod read;

pub use pattern::Pattern;
pub(crate) use read::read;

use std::collections::BTreeSet;

/// The access rules of a class. Without rules there is no boundary between containers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AccessRules(Vec<AccessRule>);

/// One rule: these containers may open these files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessRule {
    /// Names of containers: ordinary, init, sidecar and ephemeral ones.
    pub containers: BTreeSet<String>,
    /// Paths of files in the volume.
    pub paths: Vec<Pattern>,
}

impl AccessRules {
    /// These rules, of which there is at least one.
    pub fn new(rules: Vec<AccessRule>) -> Self {
        Self(rules)
    }

    /// Rules that allow nothing.
    pub fn nobody() -> Self {
        Self(vec![AccessRule { containers: BTreeSet::new(), paths: Vec::new() }])
    }

    /// Whether there are none: then nobody judges.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the container of this name may open the file at `path`. What no rule allows is denied.
    pub fn allow(&self, container: &str, path: &str) -> bool {
        let allows = |rule: &AccessRule| {
            rule.containers.contains(container) && rule.paths.iter().any(|pattern| pattern.fits(path))
        };
        self.0.iter().any(allows)
    }
}

/// Whether the rules hold in pods where containers can reach each other's processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AccessUnsafe {
    /// Such pods do not start.
    #[default]
    Refuse,
    /// They start, and the rules keep out honest programs only.
    Allow,
}
