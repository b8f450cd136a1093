use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::io::Errno;

use crate::answer::{Attributes, Entry, Notice};
use crate::contents::{Answer, Ask, Contents, Question, Refusal};
use crate::edition::{Edition, Invalid};
use crate::handles::{asked_handle, asked_version, is_same_version};
use crate::node::NodeId;
use crate::policy::{Access, Caller, Policy, Purpose, Ruling};
use crate::resolve::Supply;
use crate::swap::{Step, Swap};
use crate::tree::Tree;

/// Owner, group and mode of what has none of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Owner of everything.
    pub uid: u32,
    /// Group of everything.
    pub gid: u32,
    /// Permission bits of directories.
    pub directory_mode: u32,
}

/// One volume: what it shows, and who may open it.
#[derive(Debug)]
pub struct Volume {
    tree: Mutex<Tree>,
    policy: Arc<dyn Policy>,
}

/// What becomes of an open.
#[derive(Debug)]
pub enum Opening {
    /// The file is open, with this handle.
    Done(u64),
    /// The policy does not know yet: the same is to be asked again.
    NotYet,
    /// Somebody has to be asked.
    Ask(Asking),
}

/// What becomes of a read.
#[derive(Debug)]
pub enum Reading {
    /// These are the contents.
    From(Arc<dyn Contents>),
    /// The policy does not know yet: the same is to be asked again.
    NotYet,
    /// Somebody has to be asked again, since the contents were let go.
    Ask(Asking),
}

/// A question that is to be put to somebody.
#[derive(Debug)]
pub struct Asking {
    ask: Arc<dyn Ask>,
    caller: Caller,
    path: String,
    wanted: Option<u64>,
}

impl Asking {
    /// Asks, on behalf of a caller who waits so long.
    pub fn ask(self, patience: Duration, answer: Answer) {
        let Self { ask, caller, path, wanted } = self;
        ask.ask(Question { caller, path, wanted, patience }, answer);
    }
}

impl Volume {
    /// A volume without files. Its name is a part of all its numbers: each process that serves it gives the same.
    pub fn new(name: &str, look: Look, policy: Arc<dyn Policy>) -> Self {
        Self { tree: Mutex::new(Tree::new(name, look)), policy }
    }

    fn tree(&self) -> MutexGuard<'_, Tree> {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // === what a kernel asks ===

    /// What a name in a directory leads to.
    ///
    /// # Errors
    ///
    /// `ENOENT`, `ENOTDIR`; `ESTALE` for a number that leads nowhere.
    pub fn lookup(&self, parent: NodeId, name: &[u8]) -> Result<Attributes, Errno> {
        let name = std::str::from_utf8(name).map_err(|_| Errno::NOENT)?;
        let tree = self.tree();
        tree.attributes(tree.lookup(parent, name)?, None)
    }

    /// What `stat` tells; of the handle, where it is told by one.
    ///
    /// # Errors
    ///
    /// `ESTALE` for a number that leads nowhere.
    pub fn attributes(&self, node: NodeId, handle: Option<u64>) -> Result<Attributes, Errno> {
        self.tree().attributes(node, handle)
    }

    /// Where a link leads.
    ///
    /// # Errors
    ///
    /// `EINVAL` where it is no link; `ESTALE`.
    pub fn read_link(&self, node: NodeId) -> Result<String, Errno> {
        self.tree().read_link(node)
    }

    /// The entries of a directory after the one with this cookie; from the beginning, after 0.
    ///
    /// # Errors
    ///
    /// `ENOTDIR`, `ESTALE`.
    pub fn list(&self, directory: NodeId, after: u64) -> Result<Vec<Entry>, Errno> {
        self.tree().list(directory, after)
    }

    /// Opens a file for reading. Each handle is to be [released](Self::release).
    ///
    /// # Errors
    ///
    /// `EACCES` by the policy, `ENOENT` where it was withdrawn, `EISDIR`, `ELOOP` for a link, `ESTALE`.
    pub fn open(&self, caller: Caller, node: NodeId) -> Result<Opening, Errno> {
        let who = &self.policy.recognise(caller, Purpose::Open);
        let mut tree = self.tree();
        let (layout, path, supply) = tree.to_open(node)?;
        let number = layout.edition.number;
        let (is_here, purpose) = (supply.is_here(), Purpose::Open);
        match self.policy.judge(&Access { caller, who, path, edition: number, purpose, is_here }) {
            Ruling::Deny => return Err(Errno::ACCESS),
            Ruling::NotYet => return Ok(Opening::NotYet),
            Ruling::Allow => {}
        }
        match supply {
            Supply::Ask(ask) => {
                let path = path.to_owned();
                Ok(Opening::Ask(Asking { ask, caller, path, wanted: None }))
            }
            Supply::Here(_) => {
                tree.by_number_mut(number).into_iter().for_each(|layout| layout.handles += 1);
                Ok(Opening::Done(number))
            }
        }
    }

    /// Takes what was answered to the question of an open, and says the handle.
    ///
    /// # Errors
    ///
    /// `ENOENT` where the file was withdrawn meanwhile; `ESTALE`.
    pub fn opened(&self, node: NodeId, version: u64, contents: Arc<dyn Contents>) -> Result<u64, Errno> {
        let mut tree = self.tree();
        tree.to_open(node)?;
        let handle = asked_handle(version);
        tree.handles.opened(node, handle, contents);
        Ok(handle)
    }

    /// What a handle shows to who reads from it.
    ///
    /// # Errors
    ///
    /// `EACCES` by the policy or where the file was withdrawn, `EISDIR`; `ESTALE` where the edition is not kept.
    pub fn read(&self, caller: Caller, node: NodeId, handle: u64) -> Result<Reading, Errno> {
        let who = &self.policy.recognise(caller, Purpose::Read);
        let tree = self.tree();
        let (path, supply) = tree.to_read(node, handle)?;
        let (is_here, purpose) = (supply.is_here(), Purpose::Read);
        match self.policy.judge(&Access { caller, who, path, edition: handle, purpose, is_here }) {
            Ruling::Deny => return Err(Errno::ACCESS),
            Ruling::NotYet => return Ok(Reading::NotYet),
            Ruling::Allow => {}
        }
        Ok(match supply {
            Supply::Here(contents) => Reading::From(contents),
            Supply::Ask(ask) => {
                let (path, wanted) = (path.to_owned(), asked_version(handle));
                Reading::Ask(Asking { ask, caller, path, wanted })
            }
        })
    }

    /// Takes what was answered to the question of a read.
    ///
    /// # Errors
    ///
    /// [`Refusal::Replaced`] where it is another version than the handle shows, or the file was withdrawn meanwhile.
    pub fn found_again(
        &self,
        node: NodeId,
        handle: u64,
        version: u64,
        contents: &Arc<dyn Contents>,
    ) -> Result<(), Refusal> {
        let mut tree = self.tree();
        let is_same = asked_version(handle).is_some_and(|wanted| is_same_version(wanted, version));
        if !is_same || tree.to_read(node, handle).is_err() {
            return Err(Refusal::Replaced);
        }
        tree.handles.found_again(node, handle, contents.clone());
        Ok(())
    }

    /// Forgets a handle.
    pub fn release(&self, node: NodeId, handle: u64) {
        let mut tree = self.tree();
        if asked_version(handle).is_some() {
            tree.handles.released(node, handle);
        } else if let Some(layout) = tree.by_number_mut(handle) {
            layout.handles = layout.handles.saturating_sub(1);
            tree.tidy();
        }
    }

    /// `unlink` and `rmdir` by a thread.
    ///
    /// # Errors
    ///
    /// `EROFS`, unless it is the next step of the [armed](Self::arm) thread.
    pub fn remove_name(
        &self,
        tid: u32,
        parent: NodeId,
        name: &[u8],
        is_directory: bool,
    ) -> Result<(), Errno> {
        let name = std::str::from_utf8(name).map_err(|_| Errno::ROFS)?;
        let mut tree = self.tree();
        let path = tree.path_of(parent, name).map_err(|_| Errno::ROFS)?;
        tree.step(
            tid,
            &if is_directory { Step::RemoveDirectory { name: path } } else { Step::Unlink { path } },
        )
    }

    /// `symlink` by a thread.
    ///
    /// # Errors
    ///
    /// `EROFS`, unless it is the next step of the [armed](Self::arm) thread.
    pub fn link(&self, tid: u32, parent: NodeId, name: &[u8], target: &[u8]) -> Result<Attributes, Errno> {
        let text = |bytes| std::str::from_utf8(bytes).map_err(|_| Errno::ROFS);
        let (name, target) = (text(name)?.to_owned(), text(target)?.to_owned());
        let mut tree = self.tree();
        if parent != NodeId::ROOT {
            return Err(Errno::ROFS);
        }
        tree.step(tid, &Step::Link { name: name.clone(), target })?;
        tree.attributes(tree.lookup(parent, &name)?, None)
    }

    /// `rename` by a thread.
    ///
    /// # Errors
    ///
    /// `EROFS`, unless it is the next step of the [armed](Self::arm) thread.
    pub fn rename(&self, tid: u32, parents: [NodeId; 2], names: [&[u8]; 2]) -> Result<(), Errno> {
        let text = |bytes| std::str::from_utf8(bytes).map_err(|_| Errno::ROFS);
        if !Tree::is_data_rename(parents, [text(names[0])?, text(names[1])?]) {
            return Err(Errno::ROFS);
        }
        self.tree().step(tid, &Step::Rename)
    }

    // === what its owner changes ===

    /// The numbers by which a kernel may know the file at `path`, one for each edition.
    pub fn nodes_of(&self, path: &str) -> Vec<NodeId> {
        self.tree().nodes_of(path)
    }

    /// Adds an edition, which nobody is shown yet, though its directory has a name.
    ///
    /// # Errors
    ///
    /// It cannot be shown, or not beside the others.
    pub fn add(&self, edition: Edition) -> Result<(), Invalid> {
        self.tree().add(edition).map(drop)
    }

    /// Adds an edition of an earlier process, in which files may be open. If its name is gone already, it is kept for
    /// handles alone.
    ///
    /// # Errors
    ///
    /// As of [`Self::add`].
    pub fn inherit(&self, edition: Edition, is_named: bool) -> Result<(), Invalid> {
        let mut tree = self.tree();
        let layout = tree.add(edition)?;
        (layout.is_inherited, layout.is_named) = (true, is_named);
        tree.tidy();
        Ok(())
    }

    /// Shows an edition at once. Who watches by inotify sees nothing of it: [`Self::steps_to_show`] is for them.
    ///
    /// # Errors
    ///
    /// There is none with this number and a name.
    pub fn show(&self, number: u64) -> Result<Vec<Notice>, Invalid> {
        self.tree().show(number)
    }

    /// The edition that is shown.
    pub fn shown(&self) -> Option<u64> {
        self.tree().shown
    }

    /// Editions that are kept: their numbers, and whether they have names.
    pub fn editions(&self) -> Vec<(u64, bool)> {
        self.tree().layouts.iter().map(|layout| (layout.edition.number, layout.is_named)).collect()
    }

    /// Takes the name of an edition away, which is not shown any more. Who watches by inotify sees it go only by
    /// [`Self::steps_to_remove`].
    pub fn unname(&self, number: u64) -> Vec<Notice> {
        let mut tree = self.tree();
        let name = tree.by_number(number).map(|layout| layout.edition.name.clone());
        let is_gone = tree.unname(number);
        let gone = name.filter(|_| is_gone);
        gone.map(|name| Notice::Entry { parent: NodeId::ROOT, name }).into_iter().collect()
    }

    /// Lets go of an edition without a name, whatever handles show it: those get `ESTALE`.
    pub fn forget(&self, number: u64) {
        self.tree().layouts.retain(|layout| layout.is_named || layout.edition.number != number);
    }

    /// Withdraws files from all editions. Nobody reads them from now on, but what a kernel keeps for mappings goes only
    /// when it has heard the notices.
    pub fn withdraw<'a>(&self, paths: impl IntoIterator<Item = &'a str>) -> Vec<Notice> {
        let mut tree = self.tree();
        paths.into_iter().flat_map(|path| tree.withdraw(path)).collect()
    }

    /// The system calls that show an edition to those who watch.
    ///
    /// # Errors
    ///
    /// There is none with this number and a name.
    pub fn steps_to_show(&self, number: u64) -> Result<Vec<Step>, Invalid> {
        self.tree().steps_to_show(number)
    }

    /// The system calls that take an edition away before those who watch.
    ///
    /// # Errors
    ///
    /// There is none with this number and a name, or it is shown.
    pub fn steps_to_remove(&self, number: u64) -> Result<Vec<Step>, Invalid> {
        self.tree().steps_to_remove(number)
    }

    /// Lets one thread take these steps, in this order, and nobody else any. The thread is counted as in
    /// [`Caller::tid`].
    pub fn arm(&self, tid: u32, steps: Vec<Step>) {
        self.tree().swap = Some(Swap { tid: Some(tid), steps: steps.into() });
    }

    /// The same for whoever has the volume writable: who takes the steps may be in another process namespace, where the
    /// kernel does not tell its number. Nobody gets more than these steps by it.
    pub fn arm_all(&self, steps: Vec<Step>) {
        self.tree().swap = Some(Swap { tid: None, steps: steps.into() });
    }

    /// Lets nobody take steps any more, and says how many were left.
    pub fn disarm(&self) -> usize {
        let mut tree = self.tree();
        tree.next = None;
        tree.swap.take().map_or(0, |swap| swap.steps.len())
    }
}
