//! What the kernel asks, and what a volume answers.
#![allow(clippy::disallowed_types, reason = "the crate tells times by it")]

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use fuse_tree::{Attributes, Contents, Errno, NodeId, Opening, Reading, Volume};
use fuser::{
    BsdFileFlags, FileHandle, Filesystem, FopenFlags, Generation, INodeNo, InitFlags, KernelConfig,
    LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty,
    ReplyEntry, ReplyOpen, Request, TimeOrNow,
};
use zeroize::Zeroizing;

use crate::asking::Waiting;
use crate::filled::Filled;
use crate::telling::Telling;
use crate::words::{attr, caller, errno, kind, lasting, node, number};

/// `O_ACCMODE`, `O_TRUNC`: nobody opens a file for anything but reading.
const NOT_READING: i32 = 0o3 | 0o1000;
/// What the kernel may do beyond the least that it does.
const WANTED: [InitFlags; 4] = [
    // Targets of links are kept: ours never change.
    InitFlags::FUSE_CACHE_SYMLINKS,
    // Cached pages go only when they are told to.
    InitFlags::FUSE_EXPLICIT_INVAL_DATA,
    // Lookups and listings of one directory at once.
    InitFlags::FUSE_PARALLEL_DIROPS,
    // Files that are read past the cache may be mapped. Linux 6.6.
    InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP,
];
/// The tree gives no number twice.
const GENERATION: Generation = Generation(1);

/// Answers for one volume.
#[derive(Debug)]
pub(crate) struct Answers {
    pub(crate) volume: Arc<Volume>,
    pub(crate) filled: Arc<Filled>,
    /// There is none before the first answer.
    pub(crate) telling: Arc<OnceLock<Telling>>,
    pub(crate) waiting: Arc<Waiting>,
}

/// Which part of a file is read.
#[derive(Debug, Clone, Copy)]
struct Part {
    offset: u64,
    size: u32,
}

/// If something in `answer` panics, that request fails and nothing else: an answer that is dropped is `EIO`.
fn unharmed(answer: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(answer));
}

fn found(found: Result<Attributes, Errno>, reply: ReplyEntry) {
    match found {
        Ok(found) => reply.entry(&lasting(&found), &attr(&found), GENERATION),
        Err(error) => reply.error(errno(error)),
    }
}

fn done(done: Result<(), Errno>, reply: ReplyEmpty) {
    match done {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(errno(error)),
    }
}

fn opened(handle: u64, reply: ReplyOpen) {
    reply.opened(FileHandle(handle), FopenFlags::FOPEN_DIRECT_IO | FopenFlags::FOPEN_NOFLUSH);
}

/// Sends a part of `contents`, by way of memory that is wiped: the kernel takes nothing out of `memfd_secret`.
fn send(contents: &dyn Contents, Part { offset, size }: Part, reply: ReplyData) {
    let rest = contents.len().saturating_sub(offset).min(u64::from(size));
    let mut bytes = Zeroizing::new(vec![0; usize::try_from(rest).unwrap_or_default()]);
    match contents.copy(offset, &mut bytes) {
        Some(count) => reply.data(bytes.get(..count).unwrap_or_default()),
        None => reply.error(fuser::Errno::EACCES),
    }
}

impl Answers {
    /// A policy that does not know yet says no: nobody is asked again.
    fn to_open(&self, request: &Request, node: NodeId, reply: ReplyOpen) {
        match self.volume.open(caller(request), node) {
            Ok(Opening::Done(handle)) => opened(handle, reply),
            Ok(Opening::NotYet) => reply.error(fuser::Errno::EACCES),
            Ok(Opening::Ask(asking)) => {
                let volume = Arc::clone(&self.volume);
                self.waiting.ask(asking, move |told| {
                    let told = told.map_err(fuse_tree::Refusal::errno);
                    let handle = told.and_then(|(version, contents)| volume.opened(node, version, contents));
                    match handle {
                        Ok(handle) => opened(handle, reply),
                        Err(error) => reply.error(errno(error)),
                    }
                });
            }
            Err(error) => reply.error(errno(error)),
        }
    }

    fn to_read(&self, request: &Request, (node, handle): (NodeId, u64), part: Part, reply: ReplyData) {
        match self.volume.read(caller(request), node, handle) {
            Ok(Reading::From(contents)) => send(&*contents, part, reply),
            Ok(Reading::NotYet) => reply.error(fuser::Errno::EACCES),
            Ok(Reading::Ask(asking)) => {
                let volume = Arc::clone(&self.volume);
                self.waiting.ask(asking, move |told| {
                    let again = told.and_then(|(version, contents)| {
                        volume.found_again(node, handle, version, &contents).map(|()| contents)
                    });
                    match again {
                        Ok(contents) => send(&*contents, part, reply),
                        Err(refusal) => reply.error(errno(refusal.errno())),
                    }
                });
            }
            Err(error) => reply.error(errno(error)),
        }
    }

    fn released(&self, node: NodeId, handle: u64) {
        self.volume.release(node, handle);
        if let (Some(notice), Some(telling)) = (self.filled.released(node), self.telling.get()) {
            // Where too much is to be told already, the page stays until the next handle goes.
            drop(telling.tell(vec![notice]));
        }
    }

    fn list(&self, directory: NodeId, after: u64, mut reply: ReplyDirectory) {
        match self.volume.list(directory, after) {
            Ok(entries) => {
                let add = |entry: &fuse_tree::Entry| {
                    reply.add(number(entry.node), entry.cookie, kind(entry.kind), &entry.name)
                };
                let _ = entries.iter().map(add).take_while(|is_full| !is_full).count();
                reply.ok();
            }
            Err(error) => reply.error(errno(error)),
        }
    }
}

impl Filesystem for Answers {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        for wanted in WANTED {
            // An older kernel does without.
            let _ = config.add_capabilities(wanted);
        }
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        unharmed(|| found(self.volume.lookup(node(parent), name.as_bytes()), reply));
    }

    fn getattr(&self, _: &Request, ino: INodeNo, fh: Option<FileHandle>, reply: ReplyAttr) {
        unharmed(|| match self.volume.attributes(node(ino), fh.map(|handle| handle.0)) {
            Ok(found) => reply.attr(&lasting(&found), &attr(&found)),
            Err(error) => reply.error(errno(error)),
        });
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        unharmed(|| match self.volume.read_link(node(ino)) {
            Ok(target) => reply.data(target.as_bytes()),
            Err(error) => reply.error(errno(error)),
        });
    }

    fn open(&self, request: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        if flags.0 & NOT_READING != 0 {
            return reply.error(fuser::Errno::EROFS);
        }
        unharmed(|| self.to_open(request, node(ino), reply));
    }

    fn read(
        &self,
        request: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let node = node(ino);
        // A read that fills a page has no owner; one of a program has.
        if owner.is_none() {
            self.filled.note(node);
        }
        unharmed(|| self.to_read(request, (node, fh.0), Part { offset, size }, reply));
    }

    fn release(
        &self,
        _: &Request,
        ino: INodeNo,
        fh: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        unharmed(|| self.released(node(ino), fh.0));
        reply.ok();
    }

    fn readdir(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, reply: ReplyDirectory) {
        unharmed(|| self.list(node(ino), offset, reply));
    }

    fn unlink(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let removed = || self.volume.remove_name(request.pid(), node(parent), name.as_bytes(), false);
        unharmed(|| done(removed(), reply));
    }

    fn rmdir(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let removed = || self.volume.remove_name(request.pid(), node(parent), name.as_bytes(), true);
        unharmed(|| done(removed(), reply));
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let target = target.as_os_str().as_bytes();
        unharmed(|| found(self.volume.link(request.pid(), node(parent), name.as_bytes(), target), reply));
    }

    fn rename(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if !flags.is_empty() {
            return reply.error(fuser::Errno::EROFS);
        }
        let (parents, names) = ([node(parent), node(newparent)], [name.as_bytes(), newname.as_bytes()]);
        unharmed(|| done(self.volume.rename(request.pid(), parents, names), reply));
    }

    fn setattr(
        &self,
        _: &Request,
        _: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        reply.error(fuser::Errno::EROFS);
    }

    fn mknod(&self, _: &Request, _: INodeNo, _: &OsStr, _: u32, _: u32, _: u32, reply: ReplyEntry) {
        reply.error(fuser::Errno::EROFS);
    }

    fn mkdir(&self, _: &Request, _: INodeNo, _: &OsStr, _: u32, _: u32, reply: ReplyEntry) {
        reply.error(fuser::Errno::EROFS);
    }

    fn link(&self, _: &Request, _: INodeNo, _: INodeNo, _: &OsStr, reply: ReplyEntry) {
        reply.error(fuser::Errno::EROFS);
    }

    fn create(&self, _: &Request, _: INodeNo, _: &OsStr, _: u32, _: u32, _: i32, reply: ReplyCreate) {
        reply.error(fuser::Errno::EROFS);
    }
}
