//! Volumes that outlive a process: those of this one, and how it goes on with those of the one before.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fuse_tree::Volume;
use provider::ObjectPath;

use super::edition::{self, Legacy, Shelf, Stage};
use super::front::{Inheritance, KeptEdition};
use super::shown::{Changing, Frame, Shown};
use super::{look, name_of};
use crate::mode::Error;

/// The volumes that this process serves and the next is to serve further, by target.
#[derive(Debug, Default)]
pub(super) struct Standing(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    shown: BTreeMap<PathBuf, Arc<Shown>>,
    /// Whether all that the process before left was looked at.
    is_settled: bool,
}

impl Standing {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note(&self, target: &Path, shown: Arc<Shown>) {
        self.lock().shown.insert(target.to_owned(), shown);
    }

    /// What this process serves at `target`, if that is still mounted there.
    pub(super) fn find(&self, target: &Path) -> Option<Arc<Shown>> {
        let found = self.lock().shown.get(target).cloned();
        found.filter(|shown| shown.is_there())
    }

    pub(super) fn forget(&self, target: &Path) -> Option<Arc<Shown>> {
        self.lock().shown.remove(target)
    }

    pub(super) fn settle(&self) {
        self.lock().is_settled = true;
    }

    pub(super) fn is_settled(&self) -> bool {
        self.lock().is_settled
    }
}

/// Serves what an earlier process left, as that showed it.
pub(super) fn go_on_with(
    inheritance: Box<dyn Inheritance>,
    target: &Path,
    frame: Frame,
) -> Result<Arc<Shown>, Error> {
    let volume = Arc::new(Volume::new(&name_of(target), look(&frame.appearance, true), frame.policy()));
    let mut legacies = BTreeMap::new();
    let mut newest = None;
    for KeptEdition { about, values } in inheritance.editions()? {
        let lend =
            |bytes, file: BorrowedFd<'_>| frame.lockable.take_for(&frame.appearance.tenant, bytes, file);
        let (legacy, slots) = Legacy::read(&about, values, lend)?;
        let (edition, shelf) = legacy.edition(slots)?;
        volume.inherit(edition, legacy.stage() != Stage::Unnamed).map_err(edition::unfit)?;
        newest = Some((legacy.number(), shelf));
        legacies.insert(legacy.number(), legacy);
    }
    let (number, shelf): (u64, Shelf) = newest.ok_or_else(|| Error::Failed("it has no files".into()))?;
    let withheld: Vec<&str> = frame.appearance.withheld.iter().map(ObjectPath::as_str).collect();
    let notices = show(&volume, &legacies, number, &withheld)?;
    frame.guard.shows(number, &[]);
    let live = inheritance.resume(&volume)?;
    let retired = Default::default();
    let shown = Arc::new(Shown::new(live, volume, frame, Changing { number, shelf, legacies, retired }));
    if !notices.is_empty() {
        shown.tell(notices);
    }
    Ok(shown)
}

/// Shows the newest edition. Tells what a kernel has to hear that knew what came before: of an edition that was perhaps not
/// shown yet, and of files that were perhaps not withdrawn yet.
fn show(
    volume: &Volume,
    legacies: &BTreeMap<u64, Legacy>,
    number: u64,
    withheld: &[&str],
) -> Result<Vec<fuse_tree::Notice>, Error> {
    let mut notices = Vec::new();
    let is_next = legacies.get(&number).is_some_and(|legacy| legacy.stage() == Stage::Next);
    let before =
        legacies.values().rfind(|legacy| legacy.stage() == Stage::Shown && legacy.number() != number);
    if let (true, Some(before)) = (is_next, before) {
        volume.show(before.number()).map_err(edition::unfit)?;
    }
    let shown = volume.show(number).map_err(edition::unfit)?;
    if is_next {
        notices.extend(shown);
    }
    let withdrawn = legacies.values().flat_map(Legacy::withdrawn);
    notices.extend(volume.withdraw(withdrawn.chain(withheld.iter().copied())));
    Ok(notices)
}
