//! One request, answered or given to those that wait.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use fuse_tree::{Asking, Attributes, Caller, Contents, Errno, NodeId, Notice, Opening, Reading};

use crate::scratch::Scratch;
use crate::served::Served;
use crate::wire::{Body, Header, Operation, RESENT, Request, RequestError};

/// `O_ACCMODE`, `O_TRUNC`: nobody opens a file for anything but reading.
const NOT_READING: u32 = 0o3 | 0o1000;

/// What is to be done when a request was looked at.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Nothing.
    Done,
    /// The kernel is to hear of this.
    Tell(Notice),
    /// It waits.
    Wait(Waits, Why),
    /// The caller of the request with this number gave up.
    GivenUp(u64),
}

/// A request that waits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waits {
    pub(crate) unique: u64,
    pub(crate) caller: Caller,
    pub(crate) node: NodeId,
    pub(crate) purpose: Purpose,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    Open,
    Read { handle: u64, offset: u64, size: u32 },
}

/// What a request waits for.
#[derive(Debug)]
pub(crate) enum Why {
    /// To be judged again.
    NotYet,
    /// An answer to this.
    Ask(Asking),
}

/// Looks at one request. If something in it panics, the request fails and nothing else.
pub(crate) fn answer(served: &Served, bytes: &[u8], scratch: &mut Scratch) -> io::Result<Outcome> {
    let request = match Request::parse(bytes) {
        Ok(request) => request,
        Err(RequestError::Nameless) => return Ok(Outcome::Done),
        Err(RequestError::Malformed(header, _)) => return refuse(served, header.unique, Errno::INVAL),
    };
    let unique = request.header.unique;
    catch_unwind(AssertUnwindSafe(|| operate(served, &request, scratch)))
        .unwrap_or_else(|_| refuse(served, unique, Errno::IO))
}

fn operate(served: &Served, request: &Request<'_>, scratch: &mut Scratch) -> io::Result<Outcome> {
    let (header, node) = (&request.header, NodeId::from_raw(request.header.node));
    let caller = Caller { tid: header.tid, uid: header.uid, gid: header.gid };
    match request.operation {
        Operation::Open(flags) if flags & NOT_READING != 0 => refuse(served, header.unique, Errno::ROFS),
        Operation::Open(_) => {
            try_again(served, Waits { unique: header.unique, caller, node, purpose: Purpose::Open }, scratch)
        }
        Operation::Read { handle, offset, size, is_fill } => {
            if is_fill {
                served.fill(node);
            }
            let purpose = Purpose::Read { handle, offset, size };
            try_again(served, Waits { unique: header.unique, caller, node, purpose }, scratch)
        }
        Operation::Release(handle) => {
            served.volume().release(node, handle);
            reply(served, header.unique, &[])?;
            Ok(served.released(node).map_or(Outcome::Done, Outcome::Tell))
        }
        Operation::Forget => Ok(Outcome::Done),
        Operation::Interrupt(unique) => Ok(Outcome::GivenUp(unique & !RESENT)),
        _ => from_memory(served, header, &request.operation, &mut scratch.body),
    }
}

/// What is answered at once, whatever it is.
fn from_memory(
    served: &Served,
    header: &Header,
    operation: &Operation<'_>,
    body: &mut Body,
) -> io::Result<Outcome> {
    body.clear();
    match write_body(served, header, operation, body) {
        Ok(()) => reply(served, header.unique, body.bytes()),
        Err(errno) => refuse(served, header.unique, errno),
    }
}

fn write_body(
    served: &Served,
    header: &Header,
    operation: &Operation<'_>,
    body: &mut Body,
) -> Result<(), Errno> {
    let (volume, node) = (served.volume(), NodeId::from_raw(header.node));
    match *operation {
        Operation::Lookup(name) => body.entry(&volume.lookup(node, name)?),
        Operation::GetAttributes(handle) => body.attributes(&volume.attributes(node, handle)?),
        Operation::ReadLink => body.text(&volume.read_link(node)?),
        Operation::OpenDirectory => volume.list(node, u64::MAX).map(|_| body.opened_directory())?,
        Operation::ReadDirectory { after, size } => list(served, node, after, size, body)?,
        Operation::StatFs => body.statfs(),
        Operation::ReleaseDirectory | Operation::Destroy => {}
        Operation::Link(name, target) => {
            let made: Attributes = volume.link(header.tid, node, name, target)?;
            body.entry(&made);
        }
        Operation::Unlink(name) => volume.remove_name(header.tid, node, name, false)?,
        Operation::RemoveDirectory(name) => volume.remove_name(header.tid, node, name, true)?,
        Operation::Rename { has_flags: true, .. } | Operation::Change => return Err(Errno::ROFS),
        Operation::Rename { from, to_directory, to, has_flags: false } => {
            volume.rename(header.tid, [node, NodeId::from_raw(to_directory)], [from, to])?;
        }
        Operation::Init(_) => return Err(Errno::INVAL),
        Operation::Open(_) | Operation::Read { .. } | Operation::Release(_) => return Err(Errno::IO),
        Operation::Interrupt(_) | Operation::Forget | Operation::Other => return Err(Errno::NOSYS),
    }
    Ok(())
}

fn list(served: &Served, node: NodeId, after: u64, size: u32, body: &mut Body) -> Result<(), Errno> {
    let room = usize::try_from(size).unwrap_or(usize::MAX).min(crate::wire::READ_MAX);
    let entries = served.volume().list(node, after)?;
    let _ = entries.iter().take_while(|entry| body.directory_entry(entry, room)).count();
    Ok(())
}

/// An open or read: for the first time, or after a policy did not know.
pub(crate) fn try_again(served: &Served, waits: Waits, scratch: &mut Scratch) -> io::Result<Outcome> {
    let why = match waits.purpose {
        Purpose::Open => match served.volume().open(waits.caller, waits.node) {
            Ok(Opening::Done(handle)) => return opened(served, &waits, handle, &mut scratch.body),
            Ok(Opening::NotYet) => Why::NotYet,
            Ok(Opening::Ask(asking)) => Why::Ask(asking),
            Err(errno) => return refuse(served, waits.unique, errno),
        },
        Purpose::Read { handle, offset, size } => {
            match served.volume().read(waits.caller, waits.node, handle) {
                // What was taken back this moment is asked for again when the request is judged again.
                Ok(Reading::From(contents)) => {
                    match send(served, waits.unique, &*contents, (offset, size), scratch)? {
                        Some(outcome) => return Ok(outcome),
                        None => Why::NotYet,
                    }
                }
                Ok(Reading::NotYet) => Why::NotYet,
                Ok(Reading::Ask(asking)) => Why::Ask(asking),
                Err(errno) => return refuse(served, waits.unique, errno),
            }
        }
    };
    Ok(Outcome::Wait(waits, why))
}

/// Answers a request that waited for these contents.
pub(crate) fn told(
    served: &Served,
    waits: &Waits,
    (version, contents): (u64, Arc<dyn Contents>),
    scratch: &mut Scratch,
) -> io::Result<Outcome> {
    match waits.purpose {
        Purpose::Open => match served.volume().opened(waits.node, version, contents) {
            Ok(handle) => opened(served, waits, handle, &mut scratch.body),
            Err(errno) => refuse(served, waits.unique, errno),
        },
        Purpose::Read { handle, offset, size } => {
            match served.volume().found_again(waits.node, handle, version, &contents) {
                Ok(()) => match send(served, waits.unique, &*contents, (offset, size), scratch)? {
                    Some(outcome) => Ok(outcome),
                    None => refuse(served, waits.unique, Errno::ACCESS),
                },
                Err(refusal) => refuse(served, waits.unique, refusal.errno()),
            }
        }
    }
}

fn opened(served: &Served, waits: &Waits, handle: u64, body: &mut Body) -> io::Result<Outcome> {
    body.clear();
    body.opened(handle);
    let is_taken = served.device.reply(waits.unique, body.bytes());
    if !matches!(is_taken, Ok(true)) {
        // Nobody has the handle, so nobody releases it.
        served.volume().release(waits.node, handle);
    }
    is_taken.map(|_| Outcome::Done)
}

/// Answers with a part of `contents`. `None` if they were taken back: nothing is answered then.
fn send(
    served: &Served,
    unique: u64,
    contents: &dyn Contents,
    (offset, size): (u64, u32),
    scratch: &mut Scratch,
) -> io::Result<Option<Outcome>> {
    scratch.bounce(
        size,
        |into| contents.copy(offset, into),
        |copied| copied.map(|bytes| served.device.reply(unique, bytes).map(|_| Outcome::Done)).transpose(),
    )
}

fn reply(served: &Served, unique: u64, body: &[u8]) -> io::Result<Outcome> {
    served.device.reply(unique, body).map(|_| Outcome::Done)
}

pub(crate) fn refuse(served: &Served, unique: u64, errno: Errno) -> io::Result<Outcome> {
    served.device.refuse(unique, errno).map(|_| Outcome::Done)
}
