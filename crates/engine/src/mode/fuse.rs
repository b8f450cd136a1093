//! Files that a process serves itself, over FUSE, in kubelet's layout.
//!
//! Other than a tmpfs it shows rotations through single files that a container mounts (`subPath`), and takes withdrawn
//! files from open handles and mappings within moments. Its price: programs read nothing while no process serves them.
//!
//! [`Front`] is how a kernel reaches the files. What they show is decided here, and is the same for every front. Where
//! a front [hands over](Front::hands_over), somebody keeps the kernel's end of each mount and the editions that it shows,
//! and the next process goes on with them.

mod asked;
mod edition;
mod front;
mod guard;
mod keeping;
mod kept;
mod kernel;
mod lockable;
mod opens;
mod shown;
mod standing;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use fuse_tree::{Ask, Look, Volume};
use mounter::{MountId, Mounter};

use self::asked::Asker;
use self::edition::{Legacy, Listed, Made, Shelf, Stage};
use self::guard::Guard;
use self::kernel::Kernel;
use self::lockable::Lockable;
use self::shown::{Changing, Frame, Shown};
use self::standing::Standing;
use super::sweeper::Sweeper;
use super::{Abilities, Appearance, Door, Error, Listing, Lost, Mode, Mounted, Prepared};
use crate::snapshot::Snapshot;

pub use front::{Front, Inheritance, KeptEdition, Left, Live, Ready};

/// What a class calls it.
const NAME: &str = "fuse";

/// A FUSE file system for each volume.
#[derive(Debug, Clone)]
pub struct Fuse {
    front: Arc<dyn Front>,
    max_bytes: u64,
    sweeper: Arc<Sweeper>,
    /// Volumes that are to outlive this process.
    standing: Arc<Standing>,
    lockable: Arc<Lockable>,
    tells_opens: bool,
}

/// A volume that is served and not seen yet.
#[derive(Debug)]
struct Served {
    ready: Box<dyn Ready>,
    volume: Arc<Volume>,
    frame: Frame,
    shelf: Shelf,
    listed: Listed,
    legacy: Option<Legacy>,
    target: PathBuf,
    standing: Arc<Standing>,
}

impl Fuse {
    /// Volumes of at most `max_bytes` each, room for a rotation included, that this process serves from few threads for
    /// all of them. They end with it. `mounter` makes the mounts.
    pub fn new(mounter: Arc<dyn Mounter>, max_bytes: u64) -> Self {
        Self::through(Arc::new(Kernel::new(mounter)), max_bytes)
    }

    /// The same, but the next process serves them further, if `mounter` is a process of its own.
    pub fn handing_over(mounter: Arc<dyn Mounter>, max_bytes: u64) -> Self {
        Self::through(Arc::new(Kernel::handing_over(mounter)), max_bytes)
    }

    /// Volumes of at most `max_bytes` each, that kernels reach through `front`.
    pub fn through(front: Arc<dyn Front>, max_bytes: u64) -> Self {
        let (sweeper, standing, lockable) = (Arc::default(), Arc::default(), Lockable::by_limit());
        Self { front, max_bytes, sweeper, standing, lockable, tells_opens: false }
    }

    /// The same, which knows who opens which file, if somebody wants to.
    #[must_use]
    pub fn telling_opens(self, tells_opens: bool) -> Self {
        Self { tells_opens, ..self }
    }

    fn frame(&self, target: &Path, appearance: &Appearance) -> Frame {
        Frame {
            guard: Arc::new(Guard::new(&self.front, target, appearance.access.as_ref(), self.tells_opens)),
            appearance: appearance.clone(),
            max_bytes: self.max_bytes,
            sweeper: Arc::clone(&self.sweeper),
            lockable: Arc::clone(&self.lockable),
            hands_over: self.front.hands_over(),
            asker: None,
        }
    }

    /// Serves the first edition of a volume, which nobody sees yet.
    fn serve(
        &self,
        target: &Path,
        frame: Frame,
        (made, listed): (Made, Listed),
    ) -> Result<Box<dyn Prepared>, Error> {
        let Made { edition, shelf, mut legacy } = made;
        let look = look(&frame.appearance, self.front.hands_over());
        let volume = Arc::new(Volume::new(&name_of(target), look, frame.policy()));
        volume.add(edition).map_err(edition::unfit)?;
        // Nobody has asked for anything yet, so there is nobody to tell.
        volume.show(edition::FIRST).map_err(edition::unfit)?;
        let ready = self.front.prepare(target, &volume, &frame.appearance)?;
        if let Some(legacy) = &mut legacy {
            legacy.set_stage(Stage::Shown);
            let (about, values) = legacy.to_keep()?;
            ready.keep(edition::FIRST, &about, values)?;
        }
        let (target, standing) = (target.to_owned(), Arc::clone(&self.standing));
        Ok(Box::new(Served { ready, volume, frame, shelf, listed, legacy, target, standing }))
    }

    /// Goes on with the volume at `target`. Tells if nobody can.
    fn resume_one(&self, target: &Path, appearance: &Appearance) -> Result<Option<Lost>, Error> {
        let lost = |why: String| Some(Lost { target: target.to_owned(), why });
        let inheritance = match self.front.left(target)? {
            Left::Nothing => return Ok(None),
            Left::Dead(why) => return Ok(lost(why)),
            Left::Alive(inheritance) => inheritance,
        };
        match standing::go_on_with(inheritance, target, self.frame(target, appearance)) {
            Ok(shown) => {
                self.standing.note(target, shown);
                Ok(None)
            }
            Err(away @ Error::MounterAway(_)) => Err(away),
            Err(error) => {
                self.front.forget(target);
                Ok(lost(error.to_string()))
            }
        }
    }

    /// Whether what is at `target` was not looked at yet by [`resume`](Mode::resume).
    fn is_to_come(&self, target: &Path) -> Result<bool, Error> {
        Ok(!self.standing.is_settled() && !matches!(self.front.left(target)?, Left::Nothing))
    }
}

impl Mode for Fuse {
    fn name(&self) -> &'static str {
        NAME
    }

    /// Whoever keeps a file of an edition that is gone finds the one that is shown.
    fn abilities(&self) -> Abilities {
        Abilities { rotates_through_sub_path: true, asks_when_opened: true }
    }

    fn prepare(
        &self,
        target: &Path,
        snapshot: &Snapshot,
        appearance: &Appearance,
    ) -> Result<Box<dyn Prepared>, Error> {
        edition::fits(snapshot, self.max_bytes)?;
        let frame = self.frame(target, appearance);
        frame.guard.require_sight()?;
        let made = edition::of(edition::FIRST, snapshot, &frame)?;
        frame.guard.shows(edition::FIRST, snapshot.objects());
        self.serve(target, frame, (made, Listed::new()))
    }

    fn prepare_on_open(
        &self,
        target: &Path,
        listing: &Listing,
        appearance: &Appearance,
        door: &Arc<dyn Door>,
    ) -> Result<Box<dyn Prepared>, Error> {
        let frame = self.frame(target, appearance);
        frame.guard.require_sight()?;
        let asker = Asker::new(&frame.guard, Some(door))?;
        let (ask, listed) = (Arc::clone(&asker) as Arc<dyn Ask>, edition::listed(listing, appearance));
        let made = edition::asked(edition::FIRST, &listed, &ask, self.front.hands_over())?;
        self.serve(target, Frame { asker: Some(asker), ..frame }, (made, listed))
    }

    /// What an earlier process served, if it was handed over and is served [again](Self::resume). Anything else of ours
    /// ended with that process, so its mount is taken away.
    fn adopt(&self, target: &Path, _: &Appearance) -> Result<Option<Box<dyn Mounted>>, Error> {
        if self.front.hands_over() {
            if let Some(shown) = self.standing.find(target) {
                shown.go_on();
                return Ok(Some(Box::new(shown)));
            }
            if self.is_to_come(target)? {
                return Err(Error::MounterAway(
                    "the volumes of the process before are being taken over".into(),
                ));
            }
        }
        self.front.clear(target)?;
        Ok(None)
    }

    fn is_mounted(&self, target: &Path) -> Result<bool, Error> {
        self.front.is_mounted(target)
    }

    fn resume(&self, volumes: &[(PathBuf, Appearance)]) -> Result<Vec<Lost>, Error> {
        let mut lost = Vec::new();
        for (target, appearance) in volumes {
            lost.extend(self.resume_one(target, appearance)?);
        }
        self.standing.settle();
        self.front.settle();
        Ok(lost)
    }

    fn forget(&self, target: &Path) {
        if let Some(shown) = self.standing.forget(target) {
            shown.end();
        }
        self.front.forget(target);
    }

    fn stuck(&self) -> usize {
        self.front.stuck()
    }
}

impl Prepared for Served {
    fn mount_id(&self) -> Option<MountId> {
        self.ready.mount_id()
    }

    fn show(self: Box<Self>) -> Result<Box<dyn Mounted>, Error> {
        let Self { ready, volume, frame, shelf, listed, legacy, target, standing } = *self;
        let (live, hands_over) = (ready.show()?, frame.hands_over);
        let legacies = legacy.into_iter().map(|legacy| (edition::FIRST, legacy)).collect();
        let (number, retired) = (edition::FIRST, Default::default());
        let changing = Changing { number, shelf, listed, legacies, retired };
        let shown = Arc::new(Shown::new(live, volume, frame, changing));
        if hands_over {
            standing.note(&target, Arc::clone(&shown));
        }
        Ok(Box::new(shown))
    }
}

/// A part of all numbers of the volume's files. Nobody sees it.
fn name_of(target: &Path) -> String {
    target.to_string_lossy().into_owned()
}

/// On a node, files are root's. On a host, whatever group nobody chose is this process's, as of files that it makes in a tmpfs.
fn look(appearance: &Appearance, is_on_a_node: bool) -> Look {
    let unchosen = || if is_on_a_node { 0 } else { rustix::process::getegid().as_raw() };
    Look {
        uid: appearance.owner.unwrap_or(0),
        gid: appearance.fs_group.unwrap_or_else(unchosen),
        directory_mode: appearance.directory_mode(),
    }
}
