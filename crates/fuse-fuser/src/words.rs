//! What a tree says, in the words of `fuser`.
#![allow(clippy::disallowed_types, reason = "the crate tells times by it")]

use std::time::{Duration, SystemTime};

use fuse_tree::{Attributes, Caller, Errno, Kind, NodeId};
use fuser::{FileAttr, FileType, INodeNo, Request};

/// How long a kernel keeps what stays so until it is told otherwise.
const LASTING: Duration = Duration::from_secs(3600);
/// What `stat` tells as the best size of a read, in bytes.
const BLOCK: u32 = 4096;

pub(crate) fn node(number: INodeNo) -> NodeId {
    NodeId::from_raw(number.0)
}

pub(crate) fn number(node: NodeId) -> INodeNo {
    INodeNo(node.raw())
}

pub(crate) fn caller(request: &Request) -> Caller {
    Caller { tid: request.pid(), uid: request.uid(), gid: request.gid() }
}

pub(crate) fn errno(errno: Errno) -> fuser::Errno {
    fuser::Errno::from_i32(errno.raw_os_error())
}

pub(crate) fn kind(kind: Kind) -> FileType {
    match kind {
        Kind::Directory => FileType::Directory,
        Kind::Link => FileType::Symlink,
        Kind::File => FileType::RegularFile,
    }
}

pub(crate) fn lasting(attributes: &Attributes) -> Duration {
    if attributes.lasts { LASTING } else { Duration::ZERO }
}

pub(crate) fn attr(attributes: &Attributes) -> FileAttr {
    let changed = attributes.changed;
    let since = Duration::new(changed.seconds, changed.nanoseconds);
    let time = SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH);
    FileAttr {
        ino: number(attributes.node),
        size: attributes.size,
        blocks: attributes.size.div_ceil(512),
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind: kind(attributes.kind),
        // Permission bits have twelve.
        perm: u16::try_from(attributes.mode & 0o7777).unwrap_or_default(),
        nlink: attributes.links,
        uid: attributes.uid,
        gid: attributes.gid,
        rdev: 0,
        blksize: BLOCK,
        flags: 0,
    }
}
