//! The ways of showing files that a process has, by name.

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
    /// Most bytes of a volume, the room for a rotation included.
    pub max_bytes: u64,
    /// Whether what another driver mounted at a volume's target is taken over.
    pub takes_over: bool,
}

/// There is no such mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("mode {wanted:?} is not known; known are {}", known.join(", "))]
pub struct Unknown {
    /// What was asked for.
    pub wanted: String,
    /// What there is.
    pub known: Vec<&'static str>,
}

impl Modes {
    /// Every mode of this version. A new one has its line here.
    pub fn all(mounter: &Arc<dyn Mounter>, bounds: Bounds) -> Self {
        let tmpfs = Tmpfs::new(Arc::clone(mounter), bounds.max_bytes);
        let tmpfs = if bounds.takes_over { tmpfs.taking_over() } else { tmpfs };
        Self::of([Arc::new(tmpfs) as Arc<dyn Mode>])
    }

    /// These.
    pub fn of(modes: impl IntoIterator<Item = Arc<dyn Mode>>) -> Self {
        Self(modes.into_iter().collect())
    }

    /// The mode of that name.
    ///
    /// # Errors
    ///
    /// There is none; the error lists those that there are.
    pub fn get(&self, name: &str) -> Result<&Arc<dyn Mode>, Unknown> {
        let unknown =
            || Unknown { wanted: name.to_owned(), known: self.0.iter().map(|mode| mode.name()).collect() };
        self.0.iter().find(|mode| mode.name() == name).ok_or_else(unknown)
    }

    /// The names of those that may ask what a file holds when it is opened.
    pub fn asking(&self) -> Vec<&'static str> {
        let asking = self.0.iter().filter(|mode| mode.abilities().knows_contents_when_opened);
        asking.map(|mode| mode.name()).collect()
    }

    /// Whether anything is mounted at `target`, in whatever mode.
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

    /// Takes over what is mounted at `target`, by the first mode that knows it for its own.
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
