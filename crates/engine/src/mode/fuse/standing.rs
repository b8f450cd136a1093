//! Volumes that outlive a process: those of this one, and how it goes on with those of the one before.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fuse_tree::{Ask, Volume};
use provider::ObjectPath;

use super::asked::Asker;
use super::edition::{self, Legacy, Listed, Shelf, Stage};
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
    mut frame: Frame,
) -> Result<Arc<Shown>, Error> {
    let volume = Arc::new(Volume::new(&name_of(target), look(&frame.appearance, true), frame.policy()));
    let mut legacies = BTreeMap::new();
    let mut newest = None;
    for KeptEdition { about, values } in inheritance.editions()? {
        let lend =
            |bytes, file: BorrowedFd<'_>| frame.lockable.take_for(&frame.appearance.tenant, bytes, file);
        let (legacy, slots) = Legacy::read(&about, values, lend)?;
        let (edition, shelf, listed) = if legacy.is_asked() {
            let (edition, listed) = legacy.asked_edition(&(asker_of(&mut frame)? as Arc<dyn Ask>));
            (edition, Shelf::default(), listed)
        } else {
            let (edition, shelf) = legacy.edition(slots)?;
            (edition, shelf, Listed::new())
        };
        volume.inherit(edition, legacy.stage() != Stage::Unnamed).map_err(edition::unfit)?;
        newest = Some((legacy.number(), shelf, listed));
        legacies.insert(legacy.number(), legacy);
    }
    let (number, shelf, listed) = newest.ok_or_else(|| Error::Failed("it has no files".into()))?;
    let withheld: Vec<&str> = frame.appearance.withheld.iter().map(ObjectPath::as_str).collect();
    let notices = show(&volume, &legacies, number, &withheld)?;
    frame.guard.shows(number, &[]);
    let (live, asked) = (inheritance.resume(&volume)?, frame.asker.clone());
    let paths: Vec<String> = listed.keys().cloned().collect();
    let retired = Default::default();
    let shown =
        Arc::new(Shown::new(live, volume, frame, Changing { number, shelf, listed, legacies, retired }));
    if !notices.is_empty() {
        shown.tell(notices);
    }
    if let Some(asker) = asked {
        paths.iter().for_each(|path| asker.drop_earlier_pages(path));
    }
    Ok(shown)
}

/// Who asks for files of the volume. It waits for a door, which comes when the class is known.
fn asker_of(frame: &mut Frame) -> Result<Arc<Asker>, Error> {
    if let Some(asker) = &frame.asker {
        return Ok(Arc::clone(asker));
    }
    let asker = Asker::new(&frame.guard, None)?;
    frame.asker = Some(Arc::clone(&asker));
    Ok(asker)
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
