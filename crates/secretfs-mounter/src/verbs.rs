//! The verbs: each request is done where its caller may have it done.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mounter_protocol::{Reply, Request, Tmpfs};
use mountinfo::FuseDevice;
use program::failpoint;
use rustix::fs::AtFlags;

use crate::callers::Caller;
use crate::files::Files;
use crate::kept::Blobs;
use crate::ours::{LENT, SOURCE, is_our_fuse, is_our_tmpfs, is_ours};
use crate::place::{Ground, Place, Reach, absent};
use crate::sockets::{Sockets, connect, file_of_socket};
use crate::{file_system, kubelet, ours, removal};

/// What a request leads to: the reply, and an open file beside it.
pub type Answer = (Reply, Option<OwnedFd>);

/// Does what is asked for, on its ground and nowhere else.
#[derive(Debug)]
pub struct Verbs<G> {
    ground: G,
    swap_allowed: bool,
    sockets: Mutex<Sockets>,
    blobs: Mutex<Blobs>,
    files: Mutex<Files>,
}

impl<G: Ground> Verbs<G> {
    /// A mounter on `ground` that keeps file systems out of swap.
    pub fn new(ground: G) -> Self {
        let (sockets, blobs, files) = Default::default();
        Self { ground, swap_allowed: false, sockets, blobs, files }
    }

    /// Makes file systems that may be swapped, where the kernel (before 6.4) cannot keep them out of it.
    #[must_use]
    pub fn allow_swap(self, allowed: bool) -> Self {
        Self { swap_allowed: allowed, ..self }
    }

    /// Does what `request` of `caller` asks for, with the open `root` beside it. Gives the reply and an open file beside that.
    ///
    /// # Errors
    ///
    /// It may not be done here, or the kernel refuses.
    pub fn act(
        &self,
        request: &Request,
        root: Option<BorrowedFd<'_>>,
        caller: &Caller,
    ) -> io::Result<Answer> {
        let file = match request {
            Request::Create(tmpfs) => Some(caller.make(tmpfs, self.swap_allowed)?),
            Request::Attach(target) => none(attach(given(root)?, &self.to_mount_at(target)?))?,
            Request::Enter(target) => caller.own(self.enter(target, is_our_tmpfs)?)?,
            Request::Write => caller.writable(ours(root)?)?,
            Request::Look(target) => self.there(target)?.map_or(Ok(None), |place| seen(&place, SOURCE))?,
            Request::Connect(path) => Some(connect(&self.ground.provider(path)?)?),
            Request::TakeOver(target) => {
                let directory = absent(self.to_mount_at(target).and_then(|place| place.open()))?;
                let root = directory.map_or(Ok(None), |directory| file_system::writable_tmpfs(&directory))?;
                caller.own(root)?
            }
            Request::OpenFuse => Some(file_system::open_fuse()?),
            // Who asks for a file of a volume has its number there.
            Request::Processes => Some(File::open("/proc")?.into()),
            Request::CreateFuse(label) => {
                Some(file_system::make_fuse(given(root)?, SOURCE, label.as_deref())?)
            }
            Request::EnterFuse(target) => self.enter(target, is_our_fuse)?,
            Request::Link(name, leads) => {
                let (parent, name) = file_system::below(ours(root)?, name.as_ref())?;
                none(rustix::fs::symlinkat(leads, parent, name))?
            }
            Request::Rename(from, to) => {
                let root = ours(root)?;
                let (above, from) = file_system::below(root, from.as_ref())?;
                let (parent, to) = file_system::below(root, to.as_ref())?;
                none(rustix::fs::renameat(above, from, parent, to))?
            }
            Request::Remove(path, is_directory) => {
                let flags = if *is_directory == 1 { AtFlags::REMOVEDIR } else { AtFlags::empty() };
                let (parent, name) = file_system::below(ours(root)?, path)?;
                none(rustix::fs::unlinkat(parent, name, flags))?
            }
            Request::Resize(size, inodes) => none(file_system::resize(ours(root)?, *size, *inodes))?,
            Request::Detach(target) => self.there(target)?.map_or(Ok(None), |place| none(detach(&place)))?,
            Request::Lend(tmpfs, target) => self.lend(tmpfs, &self.to_mount_at(target)?, caller)?,
            Request::TakeBack(target) => {
                self.there(target)?.map_or(Ok(None), |place| none(take_back(&place.beside()?)))?
            }
            Request::Listen(path) => {
                Some(locked(&self.sockets).listen(path, &self.ground.socket(path)?)?.into())
            }
            Request::SocketFile(path, removed) => file_of_socket(&self.ground.socket(path)?, *removed == 1)?,
            Request::Keep(name, blob) => none(locked(&self.blobs).keep(name, blob, ()))?,
            Request::Kept(after) => return Ok((locked(&self.blobs).reply_after(after), None)),
            Request::Forget(name) => {
                locked(&self.blobs).forget(name);
                None
            }
            Request::KeepFile(name, about) => none(locked(&self.files).keep(name, about, given(root)?))?,
            Request::KeptFiles(after) => return Ok((locked(&self.files).reply_after(after), None)),
            Request::NotifyFile(name, told) => {
                // Nobody else waits for files meanwhile.
                let device = locked(&self.files).take(name)?;
                none(FuseDevice(device.as_fd()).notify(told))?
            }
            Request::TakeFile(name) => Some(locked(&self.files).take(name)?),
            Request::ForgetFile(name) => {
                locked(&self.files).forget(name);
                None
            }
        };
        Ok((Reply::Done, file))
    }

    /// Ends the requests of FUSE volumes by errors while nobody serves them; to be called every second.
    pub(crate) fn end_waiting(&self) {
        locked(&self.files).end_waiting();
    }

    /// A place where anything may be done.
    fn to_mount_at(&self, target: &Path) -> io::Result<Place> {
        let place = self.ground.target(target)?;
        if place.reach == Reach::Ours { Err(kubelet::unnamed()) } else { Ok(place) }
    }

    /// A place to take something away from, as far as its [`Reach`] goes; `None` if nothing can be there.
    fn there(&self, target: &Path) -> io::Result<Option<Place>> {
        absent(self.ground.target(target))
    }

    /// The root of what is mounted at `target`, writable, if it `is_ours`.
    fn enter(&self, target: &Path, is_ours: fn(&OwnedFd) -> io::Result<bool>) -> io::Result<Option<OwnedFd>> {
        match absent(self.ground.target(target).and_then(|place| place.open()))? {
            Some(directory) if is_ours(&directory)? => file_system::writable_clone(&directory),
            _ => Ok(None),
        }
    }

    /// Shows a new tmpfs beside `place`, in the stead of what lay there.
    fn lend(&self, tmpfs: &Tmpfs, place: &Place, caller: &Caller) -> io::Result<Option<OwnedFd>> {
        let beside = place.beside()?;
        take_back(&beside)?;
        let root = file_system::make_lent(tmpfs, self.swap_allowed)?;
        beside.make_directory()?;
        file_system::show_lent(&root, &beside)?;
        caller.writable(root.as_fd())
    }
}

/// Done, and nothing is opened.
fn none<E: Into<io::Error>>(done: Result<(), E>) -> io::Result<Option<OwnedFd>> {
    done.map(|()| None).map_err(Into::into)
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn attach(root: BorrowedFd<'_>, place: &Place) -> io::Result<()> {
    let made = place.make_directory()?;
    file_system::show(root, place, made)
}

/// Unmounts all that is stacked at `place`; or only what came from `source`, where no more is in reach.
fn unmount_in_reach(place: &Place, source: &str) -> io::Result<()> {
    while is_in_reach(place, source)? && file_system::unmount_one(place)? {}
    Ok(())
}

/// Whether what is on top at `place` may go; `false` if nothing is mounted. Refuses what is somebody else's.
fn is_in_reach(place: &Place, source: &str) -> io::Result<bool> {
    Ok(place.reach != Reach::Ours || seen(place, source)?.is_some())
}

/// What is on top at `place`, as a place; `None` if nothing is mounted. Refuses what is somebody else's.
fn seen(place: &Place, source: &str) -> io::Result<Option<OwnedFd>> {
    match absent(place.open())? {
        Some(directory) if !mountinfo::is_mount_root(&directory)? => Ok(None),
        Some(directory) if place.reach != Reach::Ours || is_ours(&directory, source)? => Ok(Some(directory)),
        Some(_) => Err(kubelet::unnamed()),
        None => Ok(None),
    }
}

/// Unmounts all that is stacked at `place`, then removes the directory, and takes back what was lent beside it.
fn detach(place: &Place) -> io::Result<()> {
    unmount_in_reach(place, SOURCE)?;
    failpoint::hit("detach.unmounted");
    removal::remove_target(place)?;
    failpoint::hit("detach.removed");
    take_back(&place.beside()?)
}

/// What was put there by who did not see the mount lies on the node's disk: it is removed as well.
fn take_back(beside: &Place) -> io::Result<()> {
    unmount_in_reach(beside, LENT)?;
    failpoint::hit("lend.unmounted");
    match beside.reach {
        Reach::Ours => beside.remove_directory().map(drop),
        Reach::Volume | Reach::Mounts => removal::remove(beside).map(drop),
    }
}

/// The open file that came with a request.
fn given(root: Option<BorrowedFd<'_>>) -> io::Result<BorrowedFd<'_>> {
    root.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no open file came with the request"))
}

/// The same, if a mounter gave it.
fn ours(root: Option<BorrowedFd<'_>>) -> io::Result<BorrowedFd<'_>> {
    let root = given(root)?;
    ours::is_given(root).map(|()| root)
}
