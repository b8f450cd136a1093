//! A volume that FUSE shows, from its mount to its end.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use fuse_tree::{Ask, Policy, Step, Volume};
use mounter::MountId;
use provider::{Moment as _, ObjectPath};

use super::NAME;
use super::asked::Asker;
use super::edition::{self, Legacy, Listed, Made, Shelf, Stage};
use super::front::Live;
use super::guard::Guard;
use super::lockable::Lockable;
use crate::mode::retired::{GRACE, Retired};
use crate::mode::sweeper::{Sweeper, Swept};
use crate::mode::{
    Appearance, Confinement, Door, Due, Error, Listing, Mounted, Opening, ShownFile, Usage, knows_contents,
};
use crate::snapshot::{self, Snapshot};

/// How long a change that watchers see may take. After that it is made unseen by them.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many editions that are shown no more have names: more are not waited for. They are that many where processes that
/// serve live for less than the time that such an edition stays.
const STALE_MAX: usize = 8;
/// Inodes beside the files: the root, `..data` and the directory of the edition.
const OWN_INODES: u64 = 3;

/// What a volume looks like and may take, and who comes back to it.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    pub(super) appearance: Appearance,
    pub(super) max_bytes: u64,
    pub(super) sweeper: Arc<Sweeper>,
    /// Whether the next process is to serve it further.
    pub(super) hands_over: bool,
    /// What its values take their share of.
    pub(super) lockable: Arc<Lockable>,
    /// Judges who opens its files.
    pub(super) guard: Arc<Guard>,
    /// Asks what its files hold when they are opened, if that is not known before.
    pub(super) asker: Option<Arc<Asker>>,
}

impl Frame {
    /// The guard, as the volume asks it.
    pub(super) fn policy(&self) -> Arc<dyn Policy> {
        Arc::<Guard>::clone(&self.guard)
    }
}

/// A volume that FUSE shows.
#[derive(Debug)]
pub(super) struct Shown {
    live: Arc<dyn Live>,
    volume: Arc<Volume>,
    frame: Frame,
    /// Held while the files change.
    changing: Mutex<Changing>,
}

#[derive(Debug)]
pub(super) struct Changing {
    /// Of the edition that is shown.
    pub(super) number: u64,
    pub(super) shelf: Shelf,
    /// The files that are shown, if they are asked for when they are opened.
    pub(super) listed: Listed,
    /// Editions as the next process gets them, by number; none where there is no next process.
    pub(super) legacies: BTreeMap<u64, Legacy>,
    /// Editions that are shown no more, by number, and when they lose their names.
    pub(super) retired: Retired,
}

impl Shown {
    pub(super) fn new(live: Arc<dyn Live>, volume: Arc<Volume>, frame: Frame, changing: Changing) -> Self {
        frame.asker.iter().for_each(|asker| asker.set_live(&live));
        Self { live, volume, frame, changing: Mutex::new(changing) }
    }

    fn lock(&self) -> MutexGuard<'_, Changing> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is mounted at its target.
    pub(super) fn is_there(&self) -> bool {
        self.live.is_there()
    }

    /// Has finished, soon, what the process before was at when it ended. Nobody waits for it.
    pub(super) fn go_on(self: &Arc<Self>) {
        self.lock().retired.is_awaited = true;
        let swept: Weak<Self> = Arc::downgrade(self);
        // Not at once: who takes the volume over waits for the same lock, and other volumes wait for that.
        self.frame.sweeper.come_back(Instant::now().later(GRACE), swept);
    }

    /// Shows the newest edition to those who watch, if it is not sure that they were told.
    fn finish(&self, changing: &mut Changing) {
        let number = changing.number;
        if changing.legacies.get(&number).is_none_or(|legacy| legacy.stage() != Stage::Next) {
            return;
        }
        match self.live.root().and_then(|root| self.swap(root, number)) {
            Ok(()) => self.set_stage(changing, number, Stage::Shown),
            Err(error) => {
                tracing::warn!(%error, "programs that watch the directory are not told of new files")
            }
        }
    }

    /// Hands it over to nobody: it is unmounted.
    pub(super) fn end(&self) {
        self.lock().legacies.values().for_each(Legacy::end);
    }

    /// Shows edition `number`. If that cannot be done so that watchers see it, it is done all the same.
    fn swap(&self, root: OwnedFd, number: u64) -> Result<(), Error> {
        let steps = self.volume.steps_to_show(number).map_err(edition::unfit)?;
        let Err(error) = self.take(root, steps) else { return Ok(()) };
        tracing::warn!(%error, "the new files are shown, but programs that watch the directory are not told");
        let notices = self.volume.show(number).map_err(edition::unfit)?;
        self.tell(notices);
        Ok(())
    }

    fn take(&self, root: OwnedFd, steps: Vec<Step>) -> io::Result<()> {
        match self.live.changed_by(&root)? {
            Some(by) => fuse_session::take_steps_by(&self.volume, by, steps, PATIENCE),
            None => fuse_session::take_steps(&self.volume, root, steps, PATIENCE),
        }
    }

    /// Takes the name of edition `number` away.
    fn remove(&self, changing: &mut Changing, number: u64) -> Result<(), Error> {
        let Ok(steps) = self.volume.steps_to_remove(number) else { return Ok(()) };
        let root = self.live.root()?;
        // Before it is gone: containers that mount single files of it are to see no older ones after a restart.
        self.set_stage(changing, number, Stage::Unnamed);
        if let Err(error) = self.take(root, steps) {
            tracing::debug!(%error, "an old version goes unseen");
            self.tell(self.volume.unname(number));
        }
        Ok(())
    }

    pub(super) fn tell(&self, notices: Vec<fuse_tree::Notice>) {
        if let Err(error) = self.live.tell(notices) {
            tracing::warn!(%error, "the kernel may show the names of before for a while");
        }
    }

    /// Has the editions that are shown no more lose their names in time.
    fn retire(self: &Arc<Self>, changing: &mut Changing) {
        self.note_stale(changing);
        self.prune(changing);
        if let (Some(due), false) = (changing.retired.first_due(), changing.retired.is_awaited) {
            changing.retired.is_awaited = true;
            let swept: Weak<Self> = Arc::downgrade(self);
            self.frame.sweeper.come_back(due, swept);
        }
    }

    fn note_stale(&self, changing: &mut Changing) {
        let names = self.stale(changing).iter().map(u64::to_string).collect();
        changing.retired.are(names, Instant::now());
    }

    /// Removes old editions before their time where they are too many.
    fn thin_out(&self, changing: &mut Changing) {
        let stale = self.stale(changing);
        let too_many = stale.iter().take(stale.len().saturating_sub(STALE_MAX));
        if let Err(error) = too_many.copied().try_for_each(|number| self.remove(changing, number)) {
            tracing::debug!(%error, "old versions are many");
        }
    }

    /// Editions that are shown no more and have names, the oldest first.
    fn stale(&self, changing: &Changing) -> Vec<u64> {
        let named = self.volume.editions().into_iter().filter(|(_, is_named)| *is_named);
        named.map(|(number, _)| number).filter(|number| *number != changing.number).collect()
    }

    /// Has editions kept no longer that nobody reads any more. One that a handle still showed goes at the next rotation.
    fn prune(&self, changing: &mut Changing) {
        let there: BTreeSet<u64> = self.volume.editions().into_iter().map(|(number, _)| number).collect();
        for (number, legacy) in changing.legacies.extract_if(.., |number, _| !there.contains(number)) {
            legacy.end();
            self.live.forget(number);
        }
    }

    fn replace_in(
        self: &Arc<Self>,
        changing: &mut Changing,
        snapshot: &Snapshot,
        withdrawn: &BTreeSet<ObjectPath>,
    ) -> Result<(), Error> {
        edition::fits(snapshot, self.frame.max_bytes)?;
        let withdrawn: Vec<&str> = withdrawn.iter().map(ObjectPath::as_str).collect();
        let number = changing.number.saturating_add(1);
        let made = edition::of(number, snapshot, &self.frame)?;
        changing.shelf = self.show_next(changing, made, (snapshot.objects(), &withdrawn))?;
        self.withdraw(&withdrawn);
        self.retire(changing);
        Ok(())
    }

    /// Shows what was just made in place of what is shown.
    fn show_next(
        &self,
        changing: &mut Changing,
        made: Made,
        (objects, withdrawn): (&[snapshot::Made], &[&str]),
    ) -> Result<Shelf, Error> {
        let (root, number) = (self.live.root()?, made.edition.number);
        let Made { edition, shelf, legacy } = made;
        self.volume.add(edition).map_err(edition::unfit)?;
        let kept = self.hand_over(changing, legacy, withdrawn);
        kept.inspect_err(|_| drop(self.volume.unname(number)))?;
        self.frame.guard.shows(number, objects);
        self.swap(root, number)?;
        changing.number = number;
        self.set_stage(changing, number, Stage::Shown);
        Ok(shelf)
    }

    /// Shows these files, if they are not those that are shown. `asker` finds out what they hold.
    fn list_in(
        self: &Arc<Self>,
        changing: &mut Changing,
        listed: Listed,
        asker: &Arc<Asker>,
    ) -> Result<(), Error> {
        if changing.listed == listed {
            return Ok(());
        }
        let ask = Arc::clone(asker) as Arc<dyn Ask>;
        let made = edition::asked(changing.number.saturating_add(1), &listed, &ask, self.frame.hands_over)?;
        self.show_next(changing, made, (&[], &[]))?;
        changing.listed = listed;
        self.retire(changing);
        Ok(())
    }

    /// Has the next edition kept before anybody sees it, and what is to be withdrawn when it is shown: the next process
    /// finishes that.
    fn hand_over(
        &self,
        changing: &mut Changing,
        next: Option<Legacy>,
        withdrawn: &[&str],
    ) -> Result<(), Error> {
        let Some(next) = next else { return Ok(()) };
        self.keep(&next)?;
        for legacy in changing.legacies.values_mut() {
            if legacy.withdraw(withdrawn) {
                self.keep(legacy).inspect_err(|_| self.live.forget(next.number()))?;
            }
        }
        changing.legacies.insert(next.number(), next);
        Ok(())
    }

    fn keep(&self, legacy: &Legacy) -> Result<(), Error> {
        let (about, values) = legacy.to_keep()?;
        self.live.keep(legacy.number(), &about, values)
    }

    /// Notes how far an edition came. Where that cannot be kept, the next process repeats a step that nobody misses.
    fn set_stage(&self, changing: &mut Changing, number: u64, stage: Stage) {
        let Some(legacy) = changing.legacies.get_mut(&number) else { return };
        legacy.set_stage(stage);
        if let Err(error) = self.keep(legacy) {
            tracing::debug!(%error, "how far an edition came is not kept");
        }
    }

    fn withdraw(&self, withdrawn: &[&str]) {
        if withdrawn.is_empty() {
            return;
        }
        if let Err(error) = self.live.withdraw(withdrawn) {
            tracing::warn!(%error, "withdrawn files cannot be read, but programs may keep what they mapped");
        }
    }

    fn sweep_in(&self, changing: &mut Changing) {
        self.finish(changing);
        self.thin_out(changing);
        self.note_stale(changing);
        let now = Instant::now();
        let due = changing.retired.take_due(now);
        let mut numbers = due.iter().filter_map(|number| number.parse().ok());
        let removed = numbers.try_for_each(|number| self.remove(changing, number));
        if let Err(error) = removed {
            tracing::debug!(%error, "tried again later");
            changing.retired.put_back(due, now);
        }
        self.prune(changing);
    }
}

impl Swept for Shown {
    fn sweep(&self) -> Option<Instant> {
        let mut changing = self.lock();
        self.sweep_in(&mut changing);
        changing.retired.is_awaited = changing.retired.first_due().is_some();
        changing.retired.first_due()
    }
}

impl Mounted for Arc<Shown> {
    fn mode(&self) -> &'static str {
        NAME
    }

    fn mount_id(&self) -> Option<MountId> {
        self.live.mount_id()
    }

    fn replace(&self, snapshot: &Snapshot, withdrawn: &BTreeSet<ObjectPath>) -> Result<(), Error> {
        self.replace_in(&mut self.lock(), snapshot, withdrawn)
    }

    fn list(&self, listing: &Listing, door: &Arc<dyn Door>) -> Result<(), Error> {
        let asker = self.frame.asker.as_ref().ok_or_else(|| knows_contents(NAME))?;
        let listed = edition::listed(listing, &self.frame.appearance);
        self.list_in(&mut self.lock(), listed, asker)?;
        asker.set_door(door);
        Ok(())
    }

    fn confine(&self, confinement: Option<&Confinement>) -> Result<(), Error> {
        self.frame.guard.confine(confinement)
    }

    fn take_opens(&self, due: Due) -> Vec<Opening> {
        self.frame.guard.take_opens(due)
    }

    fn made_of(&self, made: &[snapshot::Made]) {
        self.frame.guard.explain(made);
    }

    fn knows_opens(&self) -> bool {
        self.frame.guard.knows_opens()
    }

    fn contents(&self) -> Result<Vec<ShownFile>, Error> {
        Ok(self.lock().shelf.read())
    }

    fn usage(&self) -> Result<Usage, Error> {
        let changing = self.lock();
        let files = changing.shelf.len().saturating_add(changing.listed.len());
        let inodes = OWN_INODES.saturating_add(files as u64);
        Ok(Usage {
            total_bytes: self.frame.max_bytes,
            used_bytes: changing.shelf.bytes(),
            total_inodes: inodes,
            used_inodes: inodes,
        })
    }
}
