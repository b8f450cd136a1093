//! The modes of a process, by name.

use std::path::Path;
use std::sync::Arc;

use mounter::Mounter;

use super::{Appearance, Error, Mode, Mounted, Tmpfs};

/// The ways of showing files that a process has.
#[derive(Debug, Clone)]
pub struct Modes(Vec<Arc<dyn Mode>>);

/// What the administrator allows every mode.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Most bytes of a volume, including the room for a rotation.
    pub max_bytes: u64,
    /// Whether to take over a mount that another driver made at a volume's target.
    pub takes_over: bool,
}

/// The error for a mode that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("mode {wanted:?} is not known; known are {}", known.join(", "))]
pub struct Unknown {
    /// The name that was asked for.
    pub wanted: String,
    /// The names of the modes that exist.
    pub known: Vec<&'static str>,
}

impl Modes {
    /// Every mode of this version. A new one has its line here.
    pub fn all(mounter: &Arc<dyn Mounter>, bounds: Bounds) -> Self {
        let tmpfs = Tmpfs::new(Arc::clone(mounter), bounds.max_bytes);
        let tmpfs = if bounds.takes_over { tmpfs.taking_over() } else { tmpfs };
        Self::of([Arc::new(tmpfs) as Arc<dyn Mode>])
    }

    /// A process with these modes.
    pub fn of(modes: impl IntoIterator<Item = Arc<dyn Mode>>) -> Self {
        Self(modes.into_iter().collect())
    }

    /// The mode of this name.
    ///
    /// # Errors
    ///
    /// There is no such mode. The error lists the existing ones.
    pub fn get(&self, name: &str) -> Result<&Arc<dyn Mode>, Unknown> {
        let unknown =
            || Unknown { wanted: name.to_owned(), known: self.0.iter().map(|mode| mode.name()).collect() };
        self.0.iter().find(|mode| mode.name() == name).ok_or_else(unknown)
    }

    /// The names of the modes that can ask for contents when a file is opened.
    pub fn asking(&self) -> Vec<&'static str> {
        let asking = self.0.iter().filter(|mode| mode.abilities().knows_contents_when_opened);
        asking.map(|mode| mode.name()).collect()
    }

    /// Whether anything is mounted at `target`, by any mode.
    ///
    /// # Errors
    ///
    /// As [`Mode::is_mounted`].
    pub fn is_mounted(&self, target: &Path) -> Result<bool, Error> {
        for mode in &self.0 {
            if mode.is_mounted(target)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes over the mount at `target`, by the first mode that recognizes it as its own.
    ///
    /// # Errors
    ///
    /// As [`Mode::adopt`].
    pub fn adopt(&self, target: &Path, appearance: &Appearance) -> Result<Option<Box<dyn Mounted>>, Error> {
        for mode in &self.0 {
            if let Some(mounted) = mode.adopt(target, appearance)? {
                return Ok(Some(mounted));
            }
        }
        Ok(None)
    }
}
