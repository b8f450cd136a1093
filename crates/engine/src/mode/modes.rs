//! The modes of a process, by name.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use mounter::Mounter;

use super::{Appearance, Error, Front, Fuse, Lost, Mode, Mounted, Tmpfs};

/// The ways of showing files that a process has.
#[derive(Debug, Clone)]
pub struct Modes {
    all: Vec<Arc<dyn Mode>>,
    /// Whether the first one shows the volumes of every class, whatever mode the class names.
    is_one_for_all: bool,
}

/// What the administrator allows every mode.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Most bytes of a volume, including the room for a rotation.
    pub max_bytes: u64,
    /// Whether to take over a mount that another driver made at a volume's target.
    pub takes_over: bool,
    /// Whether volumes may be served over FUSE, and by whom.
    pub fuse: Serving,
    /// Whether somebody wants to know who opens which file.
    pub tells_opens: bool,
}

/// Who serves volumes over FUSE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Serving {
    /// Nobody.
    #[default]
    No,
    /// This process. They end with it.
    Alone,
    /// This process, and the next after it.
    InTurn,
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
        let (mounter, max_bytes) = (Arc::clone(mounter), bounds.max_bytes);
        let fuse = match bounds.fuse {
            Serving::No => None,
            Serving::Alone => Some(Fuse::new(mounter, max_bytes)),
            Serving::InTurn => Some(Fuse::handing_over(mounter, max_bytes)),
        };
        let fuse = fuse.map(|fuse| Arc::new(fuse.telling_opens(bounds.tells_opens)) as Arc<dyn Mode>);
        Self::of([Arc::new(tmpfs) as Arc<dyn Mode>].into_iter().chain(fuse))
    }

    /// FUSE alone, through `front`, for classes of every mode: a process without privileges cannot mount a tmpfs.
    pub fn without_privileges(front: Arc<dyn Front>, bounds: Bounds) -> Self {
        let fuse = Fuse::through(front, bounds.max_bytes).telling_opens(bounds.tells_opens);
        let fuse = Arc::new(fuse);
        Self { is_one_for_all: true, ..Self::of([fuse as Arc<dyn Mode>]) }
    }

    /// A process with these modes.
    pub fn of(modes: impl IntoIterator<Item = Arc<dyn Mode>>) -> Self {
        Self { all: modes.into_iter().collect(), is_one_for_all: false }
    }

    /// The mode of this name.
    ///
    /// # Errors
    ///
    /// There is no such mode. The error lists the existing ones.
    pub fn get(&self, name: &str) -> Result<&Arc<dyn Mode>, Unknown> {
        let unknown =
            || Unknown { wanted: name.to_owned(), known: self.all.iter().map(|mode| mode.name()).collect() };
        let fits = |mode: &&Arc<dyn Mode>| self.is_one_for_all || mode.name() == name;
        self.all.iter().find(fits).ok_or_else(unknown)
    }

    /// The names of the modes that can ask for contents when a file is opened.
    pub fn asking(&self) -> Vec<&'static str> {
        let asking = self.all.iter().filter(|mode| mode.abilities().asks_when_opened);
        asking.map(|mode| mode.name()).collect()
    }

    /// Whether anything is mounted at `target`, by any mode.
    ///
    /// # Errors
    ///
    /// As [`Mode::is_mounted`].
    pub fn is_mounted(&self, target: &Path) -> Result<bool, Error> {
        for mode in &self.all {
            if mode.is_mounted(target)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// As [`Modes::is_mounted`], without waiting. `None` if a mode cannot tell at once.
    pub fn is_mounted_at_once(&self, target: &Path) -> Option<bool> {
        for mode in &self.all {
            if mode.is_mounted_at_once(target)? {
                return Some(true);
            }
        }
        Some(false)
    }

    /// Takes over the mount at `target`, by the first mode that recognizes it as its own.
    ///
    /// # Errors
    ///
    /// As [`Mode::adopt`].
    pub fn adopt(&self, target: &Path, appearance: &Appearance) -> Result<Option<Box<dyn Mounted>>, Error> {
        // The last first: tmpfs asks whatever is mounted what it is, and a FUSE volume that nobody serves has no answer.
        for mode in self.all.iter().rev() {
            if let Some(mounted) = mode.adopt(target, appearance)? {
                return Ok(Some(mounted));
            }
        }
        Ok(None)
    }

    /// Goes on with volumes that an earlier process served itself, each with the name of its mode. Tells which of them
    /// nobody can serve any more.
    ///
    /// # Errors
    ///
    /// As [`Mode::resume`].
    pub fn resume(&self, volumes: &[(String, PathBuf, Appearance)]) -> Result<Vec<Lost>, Error> {
        let mut lost = Vec::new();
        for mode in &self.all {
            let its_own = volumes.iter().filter(|(name, _, _)| name == mode.name());
            let its_own = its_own.map(|(_, target, appearance)| (target.clone(), appearance.clone()));
            lost.extend(mode.resume(&its_own.collect::<Vec<_>>())?);
        }
        Ok(lost)
    }

    /// In how many volumes the kernel is told of a change and does not take it.
    pub fn stuck(&self) -> usize {
        self.all.iter().map(|mode| mode.stuck()).sum()
    }

    /// The volume at `target` has ended, in whatever mode.
    pub fn forget(&self, target: &Path) {
        self.all.iter().for_each(|mode| mode.forget(target));
    }
}
