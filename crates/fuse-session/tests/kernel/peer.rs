//! The crate `fuser`, serving the same volumes: what our own layer is compared with.
#![allow(clippy::disallowed_types, reason = "the crate tells times by it")]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fuse_tree::{Attributes, Caller, Errno, Kind, NodeId, Opening, Reading, Volume};
use fuser::{
    BackgroundSession, BsdFileFlags, Config, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, InitFlags, KernelConfig, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr,
    ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, Request, SessionACL,
    TimeOrNow,
};

const LASTING: Duration = Duration::from_secs(3600);

#[derive(Debug)]
struct Peer(Arc<Volume>);

pub(crate) fn serve(volume: Arc<Volume>, directory: &Path) -> BackgroundSession {
    let mut config = Config::default();
    config.acl = SessionACL::All;
    config.mount_options = vec![
        MountOption::FSName("fuser-test".to_owned()),
        MountOption::DefaultPermissions,
        MountOption::NoSuid,
        MountOption::NoDev,
        MountOption::NoExec,
    ];
    fuser::spawn_mount(Peer(volume), directory, &config).unwrap()
}

fn node(number: INodeNo) -> NodeId {
    NodeId::from_raw(number.0)
}

fn caller(request: &Request) -> Caller {
    Caller { tid: request.pid(), uid: request.uid(), gid: request.gid() }
}

fn errno(errno: Errno) -> fuser::Errno {
    fuser::Errno::from_i32(errno.raw_os_error())
}

fn kind(kind: Kind) -> FileType {
    match kind {
        Kind::Directory => FileType::Directory,
        Kind::Link => FileType::Symlink,
        Kind::File => FileType::RegularFile,
    }
}

fn lasting(attributes: &Attributes) -> Duration {
    if attributes.lasts { LASTING } else { Duration::ZERO }
}

fn attr(attributes: &Attributes) -> FileAttr {
    let changed = attributes.changed;
    let time = SystemTime::UNIX_EPOCH + Duration::new(changed.seconds, changed.nanoseconds);
    FileAttr {
        ino: INodeNo(attributes.node.raw()),
        size: attributes.size,
        blocks: attributes.size.div_ceil(512),
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind: kind(attributes.kind),
        perm: u16::try_from(attributes.mode).unwrap(),
        nlink: attributes.links,
        uid: attributes.uid,
        gid: attributes.gid,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

impl Filesystem for Peer {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        let _ = config.add_capabilities(InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP);
        let _ = config.add_capabilities(InitFlags::FUSE_CACHE_SYMLINKS);
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.0.lookup(node(parent), name.as_bytes()) {
            Ok(found) => reply.entry(&lasting(&found), &attr(&found), Generation(1)),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, fh: Option<FileHandle>, reply: ReplyAttr) {
        match self.0.attributes(node(ino), fh.map(|handle| handle.0)) {
            Ok(found) => reply.attr(&lasting(&found), &attr(&found)),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        match self.0.read_link(node(ino)) {
            Ok(target) => reply.data(target.as_bytes()),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn open(&self, request: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        if flags.0 & 0o1003 != 0 {
            return reply.error(fuser::Errno::EROFS);
        }
        let flags = FopenFlags::FOPEN_DIRECT_IO | FopenFlags::FOPEN_NOFLUSH;
        match self.0.open(caller(request), node(ino)) {
            Ok(Opening::Done(handle)) => reply.opened(FileHandle(handle), flags),
            Ok(Opening::NotYet | Opening::Ask(_)) => reply.error(fuser::Errno::EIO),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn read(
        &self,
        request: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.0.read(caller(request), node(ino), fh.0) {
            Ok(Reading::From(contents)) => {
                let mut bytes = vec![0; usize::try_from(size).unwrap()];
                let count = contents.copy(offset, &mut bytes).unwrap();
                reply.data(&bytes[..count]);
            }
            Ok(Reading::NotYet | Reading::Ask(_)) => reply.error(fuser::Errno::EIO),
            Err(error) => reply.error(errno(error)),
        }
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
        self.0.release(node(ino), fh.0);
        reply.ok();
    }

    fn readdir(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        match self.0.list(node(ino), offset) {
            Ok(entries) => {
                let add = |entry: &fuse_tree::Entry| {
                    reply.add(INodeNo(entry.node.raw()), entry.cookie, kind(entry.kind), &entry.name)
                };
                let _ = entries.iter().map(add).take_while(|is_full| !is_full).count();
                reply.ok();
            }
            Err(error) => reply.error(errno(error)),
        }
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

    fn unlink(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        match self.0.remove_name(request.pid(), node(parent), name.as_bytes(), false) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn rmdir(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        match self.0.remove_name(request.pid(), node(parent), name.as_bytes(), true) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let target = target.as_os_str().as_bytes();
        match self.0.link(request.pid(), node(parent), name.as_bytes(), target) {
            Ok(found) => reply.entry(&lasting(&found), &attr(&found), Generation(1)),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn rename(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        _: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let (parents, names) = ([node(parent), node(newparent)], [name.as_bytes(), newname.as_bytes()]);
        match self.0.rename(request.pid(), parents, names) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn link(&self, _: &Request, _: INodeNo, _: INodeNo, _: &OsStr, reply: ReplyEntry) {
        reply.error(fuser::Errno::EROFS);
    }

    fn create(&self, _: &Request, _: INodeNo, _: &OsStr, _: u32, _: u32, _: i32, reply: ReplyCreate) {
        reply.error(fuser::Errno::EROFS);
    }
}
