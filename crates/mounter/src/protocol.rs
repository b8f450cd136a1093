//! What the mounter and its callers say to each other: a request, a reply, one packet each.
//!
//! A packet is a version byte, a verb or outcome byte, and fields in a fixed order: numbers little-endian,
//! texts and blobs behind their length. An open file travels beside the packet. Nothing here touches a socket.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::Tmpfs;
use crate::blobs::{MAX_BLOB, MAX_NAME};

/// Largest packet, in bytes.
pub(crate) const MAX_PACKET: usize = 128 << 10;
/// First byte of every packet.
const VERSION: u8 = 1;
/// Longest path (`PATH_MAX`) or label, in bytes.
const MAX_TEXT: usize = 4096;
/// Longest reason, in bytes.
const MAX_REASON: usize = 1024;
/// Room in a packet for blobs and their names: the other fields take less than what is left.
const MAX_BLOBS: usize = MAX_PACKET - 64;

/// What a caller asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Request {
    Create(Tmpfs),
    /// An open root beside it.
    Attach(PathBuf),
    Enter(PathBuf),
    /// An open root beside it.
    Resize {
        size: u64,
        inodes: u64,
    },
    Detach(PathBuf),
    Listen(PathBuf),
    Keep {
        name: String,
        blob: Vec<u8>,
    },
    /// As many as one packet takes, of those whose names come after this one.
    Kept {
        after: String,
    },
    Forget(String),
    Lend(Tmpfs, PathBuf),
    TakeBack(PathBuf),
    /// A mounter from before this verb calls it malformed.
    TakeOver(PathBuf),
}

/// What the mounter answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    /// Done; what was opened travels beside it.
    Done,
    /// Some of what is kept, in the order of names; none after the last.
    Kept(Vec<(String, Vec<u8>)>),
    Failed(Failure),
}

/// Why it was not done: the kernel's word, or ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    Os(i32),
    Said(io::ErrorKind, String),
}

/// A packet that is none of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the packet is none of this protocol; both sides have to be the same version of secretfs")]
pub(crate) struct Malformed;

/// Kinds that mean something to callers, by their byte. Others travel as the first.
const KINDS: [io::ErrorKind; 9] = [
    io::ErrorKind::Other,
    io::ErrorKind::PermissionDenied,
    io::ErrorKind::AlreadyExists,
    io::ErrorKind::AddrInUse,
    io::ErrorKind::ResourceBusy,
    io::ErrorKind::InvalidInput,
    io::ErrorKind::Unsupported,
    io::ErrorKind::QuotaExceeded,
    io::ErrorKind::NotFound,
];

impl Request {
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Create(tmpfs) => Packet::new(1).tmpfs(tmpfs),
            Self::Attach(target) => Packet::new(2).path(target),
            Self::Enter(target) => Packet::new(3).path(target),
            Self::Resize { size, inodes } => Packet::new(4).u64(*size).u64(*inodes),
            Self::Detach(target) => Packet::new(5).path(target),
            Self::Listen(path) => Packet::new(6).path(path),
            Self::Keep { name, blob } => Packet::new(7).bytes(name.as_bytes()).bytes(blob),
            Self::Kept { after } => Packet::new(8).bytes(after.as_bytes()),
            Self::Forget(name) => Packet::new(9).bytes(name.as_bytes()),
            Self::Lend(tmpfs, target) => Packet::new(10).tmpfs(tmpfs).path(target),
            Self::TakeBack(target) => Packet::new(11).path(target),
            Self::TakeOver(target) => Packet::new(12).path(target),
        }
        .0
    }

    pub(crate) fn decode(packet: &[u8]) -> Result<Self, Malformed> {
        let (verb, mut fields) = Fields::of(packet)?;
        let request = match verb {
            1 => Self::Create(fields.tmpfs()?),
            2 => Self::Attach(fields.path()?),
            3 => Self::Enter(fields.path()?),
            4 => Self::Resize { size: fields.u64()?, inodes: fields.u64()? },
            5 => Self::Detach(fields.path()?),
            6 => Self::Listen(fields.path()?),
            7 => Self::Keep { name: fields.text(MAX_NAME)?, blob: fields.bytes(MAX_BLOB)?.to_vec() },
            8 => Self::Kept { after: fields.text(MAX_NAME)? },
            9 => Self::Forget(fields.text(MAX_NAME)?),
            10 => Self::Lend(fields.tmpfs()?, fields.path()?),
            11 => Self::TakeBack(fields.path()?),
            12 => Self::TakeOver(fields.path()?),
            _ => return Err(Malformed),
        };
        fields.end(request)
    }
}

impl Reply {
    /// The first of `kept`, as many as fit.
    pub(crate) fn first_of(kept: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        let mut left = MAX_BLOBS;
        let fits = |(name, blob): &(String, Vec<u8>)| {
            let taken = name.len() + blob.len() + 8;
            left.checked_sub(taken).map(|rest| left = rest).is_some()
        };
        Self::Kept(kept.into_iter().take_while(fits).collect())
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Done => Packet::new(0),
            Self::Kept(kept) => kept
                .iter()
                .fold(Packet::new(1), |packet, (name, blob)| packet.bytes(name.as_bytes()).bytes(blob)),
            Self::Failed(Failure::Os(errno)) => Packet::new(2).u32(errno.cast_unsigned()),
            Self::Failed(Failure::Said(kind, reason)) => {
                let kind = KINDS.iter().position(|known| known == kind).unwrap_or(0);
                let reason = reason.get(..reason.floor_char_boundary(MAX_REASON)).unwrap_or_default();
                Packet::new(3).u32(u32::try_from(kind).unwrap_or(0)).bytes(reason.as_bytes())
            }
        }
        .0
    }

    pub(crate) fn decode(packet: &[u8]) -> Result<Self, Malformed> {
        let (outcome, mut fields) = Fields::of(packet)?;
        let reply = match outcome {
            0 => Self::Done,
            1 => Self::Kept(fields.blobs()?),
            2 => Self::Failed(Failure::Os(fields.u32()?.cast_signed())),
            3 => Self::Failed(Failure::Said(fields.kind()?, fields.text(MAX_REASON)?)),
            _ => return Err(Malformed),
        };
        fields.end(reply)
    }
}

impl Reply {
    /// Whether the other side did not understand the request: its version lacks the verb.
    pub(crate) fn is_not_understood(&self) -> bool {
        matches!(self, Self::Failed(Failure::Said(io::ErrorKind::InvalidInput, said)) if *said == Malformed.to_string())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(errno) => Self::Os(errno),
            None => Self::Said(error.kind(), error.to_string()),
        }
    }
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Os(errno) => Self::from_raw_os_error(errno),
            Failure::Said(kind, reason) => Self::new(kind, reason),
        }
    }
}

/// A packet that is being written.
struct Packet(Vec<u8>);

impl Packet {
    fn new(verb: u8) -> Self {
        Self(vec![VERSION, verb])
    }

    fn u32(mut self, number: u32) -> Self {
        self.0.extend(number.to_le_bytes());
        self
    }

    fn u64(mut self, number: u64) -> Self {
        self.0.extend(number.to_le_bytes());
        self
    }

    fn bytes(self, bytes: &[u8]) -> Self {
        // A length that does not fit is refused by who reads it: no field may be that long.
        let mut packet = self.u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        packet.0.extend_from_slice(bytes);
        packet
    }

    fn tmpfs(self, tmpfs: &Tmpfs) -> Self {
        let packet = self.u64(tmpfs.size).u64(tmpfs.inodes).u32(tmpfs.mode).u32(tmpfs.gid);
        // A label is never empty.
        packet.bytes(tmpfs.selinux_context.as_deref().unwrap_or_default().as_bytes())
    }

    fn path(self, path: &Path) -> Self {
        self.bytes(path.as_os_str().as_bytes())
    }
}

/// What is left to read of a packet.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// The verb or outcome, and what follows it.
    fn of(packet: &'a [u8]) -> Result<(u8, Self), Malformed> {
        match packet {
            [VERSION, verb, fields @ ..] if packet.len() <= MAX_PACKET => Ok((*verb, Self(fields))),
            _ => Err(Malformed),
        }
    }

    fn end<T>(self, value: T) -> Result<T, Malformed> {
        if self.0.is_empty() { Ok(value) } else { Err(Malformed) }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.take(4)?.try_into().map_err(|_| Malformed)?))
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.take(8)?.try_into().map_err(|_| Malformed)?))
    }

    fn bytes(&mut self, max: usize) -> Result<&'a [u8], Malformed> {
        let len = usize::try_from(self.u32()?).map_err(|_| Malformed)?;
        if len > max { Err(Malformed) } else { self.take(len) }
    }

    fn text(&mut self, max: usize) -> Result<String, Malformed> {
        String::from_utf8(self.bytes(max)?.to_vec()).map_err(|_| Malformed)
    }

    fn path(&mut self) -> Result<PathBuf, Malformed> {
        Ok(PathBuf::from(OsStr::from_bytes(self.bytes(MAX_TEXT)?)))
    }

    fn kind(&mut self) -> Result<io::ErrorKind, Malformed> {
        let kind = usize::try_from(self.u32()?).map_err(|_| Malformed)?;
        KINDS.get(kind).copied().ok_or(Malformed)
    }

    fn tmpfs(&mut self) -> Result<Tmpfs, Malformed> {
        Ok(Tmpfs {
            size: self.u64()?,
            inodes: self.u64()?,
            mode: self.u32()?,
            gid: self.u32()?,
            selinux_context: Some(self.text(MAX_TEXT)?).filter(|label| !label.is_empty()),
        })
    }

    fn blobs(&mut self) -> Result<Vec<(String, Vec<u8>)>, Malformed> {
        let mut blobs = Vec::new();
        while !self.0.is_empty() {
            blobs.push((self.text(MAX_NAME)?, self.bytes(MAX_BLOB)?.to_vec()));
        }
        Ok(blobs)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn paths() -> impl Strategy<Value = PathBuf> {
        proptest::collection::vec(any::<u8>(), 0..64)
            .prop_map(|bytes| PathBuf::from(OsStr::from_bytes(&bytes)))
    }

    fn tmpfses() -> impl Strategy<Value = Tmpfs> {
        let fields =
            (any::<u64>(), any::<u64>(), any::<u32>(), any::<u32>(), proptest::option::of("[a-z:]{1,40}"));
        fields.prop_map(|(size, inodes, mode, gid, selinux_context)| Tmpfs {
            size,
            inodes,
            mode,
            gid,
            selinux_context,
        })
    }

    fn requests() -> impl Strategy<Value = Request> {
        prop_oneof![
            tmpfses().prop_map(Request::Create),
            (tmpfses(), paths()).prop_map(|(tmpfs, target)| Request::Lend(tmpfs, target)),
            paths().prop_map(Request::TakeBack),
            paths().prop_map(Request::TakeOver),
            paths().prop_map(Request::Attach),
            paths().prop_map(Request::Enter),
            any::<(u64, u64)>().prop_map(|(size, inodes)| Request::Resize { size, inodes }),
            paths().prop_map(Request::Detach),
            paths().prop_map(Request::Listen),
            (r"\PC{0,30}", proptest::collection::vec(any::<u8>(), 0..200))
                .prop_map(|(name, blob)| Request::Keep { name, blob }),
            r"\PC{0,30}".prop_map(|after| Request::Kept { after }),
            r"\PC{0,30}".prop_map(Request::Forget),
        ]
    }

    fn replies() -> impl Strategy<Value = Reply> {
        let blob = (r"\PC{0,30}", proptest::collection::vec(any::<u8>(), 0..200));
        prop_oneof![
            Just(Reply::Done),
            proptest::collection::vec(blob, 0..10).prop_map(Reply::Kept),
            any::<i32>().prop_map(|errno| Reply::Failed(Failure::Os(errno))),
            (proptest::sample::select(KINDS.as_slice()), r"\PC{0,200}")
                .prop_map(|(kind, reason)| Reply::Failed(Failure::Said(kind, reason))),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn what_is_said_is_what_is_understood(request in requests(), reply in replies()) {
            prop_assert_eq!(Request::decode(&request.encode()), Ok(request));
            prop_assert_eq!(Reply::decode(&reply.encode()), Ok(reply));
        }

        #[test]
        fn garbage_is_refused_or_understood_and_never_more(
            mut packet in proptest::collection::vec(any::<u8>(), 0..300), verb in 0..15u8, framed in any::<bool>()
        ) {
            if let (true, [version, said, ..]) = (framed, packet.as_mut_slice()) {
                (*version, *said) = (VERSION, verb);
            }
            if let Ok(request) = Request::decode(&packet) {
                prop_assert_eq!(request.encode(), packet.clone());
            }
            if let Ok(reply) = Reply::decode(&packet) {
                prop_assert_eq!(reply.encode(), packet);
            }
        }

        #[test]
        fn a_request_with_a_byte_too_few_or_too_many_is_refused(request in requests()) {
            let mut packet = request.encode();
            packet.push(0);
            prop_assert_eq!(Request::decode(&packet), Err(Malformed));
            packet.truncate(packet.len() - 2);
            prop_assert_eq!(Request::decode(&packet), Err(Malformed));
        }
    }

    #[test]
    fn a_reply_takes_as_many_blobs_as_fit_into_a_packet() {
        let blobs = (0..10).map(|n| (format!("blob-{n}"), vec![n; MAX_BLOB]));

        let reply = Reply::first_of(blobs);

        assert!(reply.encode().len() <= MAX_PACKET);
        assert!(matches!(reply, Reply::Kept(kept) if kept.len() == 1));
    }

    #[test]
    fn the_largest_blob_under_the_longest_name_fits() {
        let request = Request::Keep { name: "n".repeat(MAX_NAME), blob: vec![1; MAX_BLOB] };

        assert!(request.encode().len() <= MAX_PACKET);
        assert_eq!(Request::decode(&request.encode()), Ok(request));
    }
}
