//! The packets, in two tables.

use std::io;
use std::path::{Path, PathBuf};

use crate::fields::{Bounded, Field, Malformed};

/// Largest packet, in bytes.
pub const MAX_PACKET: usize = 128 << 10;
/// First byte of every packet.
const VERSION: u8 = 1;
/// Room in a packet for blobs and their names: the other fields take less than what is left.
const MAX_BLOBS: usize = MAX_PACKET - 64;

/// What a blob is kept under.
pub type Name = Bounded<String, 256>;
/// What is kept. The caller encrypts it.
pub type Blob = Bounded<Vec<u8>, { 64 << 10 }>;
/// Why something was not done.
type Reason = Bounded<String, 1024>;

/// Defines an enum whose variants are packets: the byte of each, and its fields in their order.
macro_rules! packets {
    ($(#[$of_all:meta])* $packets:ident {
        $($(#[$about:meta])* $byte:literal $variant:ident $(($($field:ident: $kind:ty),+))?;)+
    }) => {
        $(#[$of_all])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum $packets {
            $($(#[$about])* $variant $(($($kind),+))?),+
        }

        impl $packets {
            /// The packet that says it.
            pub fn encode(&self) -> Vec<u8> {
                match self {
                    $(Self::$variant $(($($field),+))? => {
                        #[allow(unused_mut, reason = "some packets have no field")]
                        let mut packet = vec![VERSION, $byte];
                        $($($field.put(&mut packet);)+)?
                        packet
                    })+
                }
            }

            /// What `packet` says.
            ///
            /// # Errors
            ///
            /// It is none of these.
            pub fn decode(packet: &[u8]) -> Result<Self, Malformed> {
                let (byte, mut left) = match packet {
                    [VERSION, byte, left @ ..] if packet.len() <= MAX_PACKET => (*byte, left),
                    _ => return Err(Malformed),
                };
                let said = match byte {
                    $($byte => Self::$variant $(($(<$kind as Field>::take(&mut left)?),+))?,)+
                    _ => return Err(Malformed),
                };
                if left.is_empty() { Ok(said) } else { Err(Malformed) }
            }
        }
    };
}

packets! {
    /// What a caller asks for. Crate `mounter` says what each verb does.
    Request {
        /// Make a tmpfs, and give its root.
        1 Create(tmpfs: Tmpfs);
        /// Mount the open root beside this packet.
        2 Attach(target: PathBuf);
        /// Give the root of a mount of ours.
        3 Enter(target: PathBuf);
        /// Bytes and inodes for the tmpfs of the open root beside this packet.
        4 Resize(size: u64, inodes: u64);
        /// Unmount.
        5 Detach(target: PathBuf);
        /// Give a socket that listens there.
        6 Listen(path: PathBuf);
        /// Keep a blob.
        7 Keep(name: Name, blob: Blob);
        /// As many blobs as one packet takes, of those whose names come after this one.
        8 Kept(after: Name);
        /// Wipe a blob.
        9 Forget(name: Name);
        /// Make and mount a tmpfs beside a target, and give its root.
        10 Lend(tmpfs: Tmpfs, target: PathBuf);
        /// Unmount it.
        11 TakeBack(target: PathBuf);
        /// Give the root of another driver's mount. A mounter from before this verb calls it malformed.
        12 TakeOver(target: PathBuf);
        /// Open `/dev/fuse`.
        13 OpenFuse;
        /// Make a FUSE file system that the open device beside this packet serves, with this SELinux label; give its root.
        14 CreateFuse(label: Option<String>);
        /// Give the root of a FUSE mount of ours.
        15 EnterFuse(target: PathBuf);
        /// Keep the open file beside this packet, and these words about it.
        16 KeepFile(name: Name, about: Blob);
        /// As many names of kept files, with the words about them, as one packet takes, of those that come after this one.
        17 KeptFiles(after: Name);
        /// Give a kept file.
        18 TakeFile(name: Name);
        /// Let a kept file go.
        19 ForgetFile(name: Name);
        /// Tell the kernel by a kept FUSE device that something changed. It may wait for who serves the volume.
        20 NotifyFile(name: Name, told: Blob);
        /// Make a link of this name, that leads there, in the open root beside this packet.
        21 Link(name: Name, leads: PathBuf);
        /// Rename in the open root beside this packet.
        22 Rename(from: Name, to: Name);
        /// Remove a name below the open root beside this packet: of a directory if the number is 1.
        23 Remove(path: PathBuf, is_directory: u32);
        /// Open `/proc`.
        24 Processes;
        /// Give the open root beside this packet again, where files are the caller's that are root's for all others.
        30 Write;
        /// Give the root of what is mounted there, as a place.
        31 Look(target: PathBuf);
        /// Connect to the provider that listens there.
        32 Connect(path: PathBuf);
        /// Give the socket file of a path that is listened at, as a place; remove it as well if the number is 1.
        33 SocketFile(path: PathBuf, removed: u32);
    }
}

packets! {
    /// What the mounter answers.
    Reply {
        /// Done; what was opened travels beside it.
        0 Done;
        /// Some of what is kept, in the order of names; none after the last.
        1 Kept(kept: Vec<(Name, Blob)>);
        /// Not done: the kernel's number of an error.
        2 Os(errno: i32);
        /// Not done, in words of the mounter.
        3 Said(kind: io::ErrorKind, reason: Reason);
    }
}

impl Request {
    /// What is asked for, as a verb and what it is about: for those who read that it could not be done.
    pub fn words(&self) -> (&'static str, &Path) {
        match self {
            Self::Create(_) => ("make", Path::new("a tmpfs")),
            Self::Attach(target) => ("mount", target),
            Self::Enter(target) => ("enter the mount at", target),
            Self::Resize(..) => ("resize", Path::new("a tmpfs")),
            Self::Detach(target) => ("unmount", target),
            Self::Listen(path) => ("listen at", path),
            Self::Keep(name, _) => ("keep", Path::new(name.as_str())),
            Self::KeepFile(name, _) => ("keep the file", Path::new(name.as_str())),
            Self::NotifyFile(name, _) => ("tell the kernel by", Path::new(name.as_str())),
            Self::Link(name, _) | Self::Rename(_, name) => ("make the name", Path::new(name.as_str())),
            Self::Remove(path, _) => ("remove the name", path),
            Self::TakeFile(name) => ("give the file", Path::new(name.as_str())),
            Self::Kept(_) | Self::KeptFiles(_) => ("read", Path::new("what is kept")),
            Self::Forget(name) | Self::ForgetFile(name) => ("forget", Path::new(name.as_str())),
            Self::Lend(_, target) => ("lend a directory beside", target),
            Self::TakeBack(target) => ("take back the directory beside", target),
            Self::TakeOver(target) => ("take over the mount at", target),
            Self::OpenFuse => ("open", Path::new("/dev/fuse")),
            Self::Processes => ("open", Path::new("/proc")),
            Self::CreateFuse(_) => ("make", Path::new("a FUSE file system")),
            Self::EnterFuse(target) => ("enter the mount at", target),
            Self::Write => ("enter", Path::new("a tmpfs")),
            Self::Look(target) => ("look at", target),
            Self::Connect(path) => ("connect to", path),
            Self::SocketFile(path, _) => ("look at", path),
        }
    }
}

impl Reply {
    /// The first of `kept`, as many as fit.
    pub fn first_of(kept: impl IntoIterator<Item = (Name, Blob)>) -> Self {
        let mut left = MAX_BLOBS;
        let fits = |(name, blob): &(Name, Blob)| {
            let taken = name.len() + blob.len() + 8;
            left.checked_sub(taken).map(|rest| left = rest).is_some()
        };
        Self::Kept(kept.into_iter().take_while(fits).collect())
    }

    /// Whether the other side did not understand the request: its version lacks the verb.
    pub fn is_not_understood(&self) -> bool {
        matches!(self, Self::Said(io::ErrorKind::InvalidInput, said) if **said == Malformed.to_string())
    }
}

impl From<Malformed> for io::Error {
    fn from(malformed: Malformed) -> Self {
        Self::new(io::ErrorKind::InvalidInput, malformed)
    }
}

impl From<io::Error> for Reply {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(errno) => Self::Os(errno),
            None => Self::Said(error.kind(), Reason::cut(error.to_string())),
        }
    }
}

/// A tmpfs to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tmpfs {
    /// Most bytes it may hold.
    pub size: u64,
    /// Most inodes it may hold.
    pub inodes: u64,
    /// Permission bits of its root.
    pub mode: u32,
    /// Group of its root.
    pub gid: u32,
    /// SELinux label of the whole mount.
    pub selinux_context: Option<String>,
}

impl Field for Tmpfs {
    fn put(&self, packet: &mut Vec<u8>) {
        self.size.put(packet);
        self.inodes.put(packet);
        self.mode.put(packet);
        self.gid.put(packet);
        self.selinux_context.put(packet);
    }

    fn take(left: &mut &[u8]) -> Result<Self, Malformed> {
        Ok(Self {
            size: Field::take(left)?,
            inodes: Field::take(left)?,
            mode: Field::take(left)?,
            gid: Field::take(left)?,
            selinux_context: Field::take(left)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt as _;

    use proptest::prelude::*;

    use super::*;
    use crate::fields::KINDS;

    /// Longest name and largest blob, in bytes.
    const MAX_NAME: usize = 256;
    const MAX_BLOB: usize = 64 << 10;

    fn paths() -> impl Strategy<Value = PathBuf> {
        proptest::collection::vec(any::<u8>(), 0..64)
            .prop_map(|bytes| PathBuf::from(OsString::from_vec(bytes)))
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

    fn names() -> impl Strategy<Value = Name> {
        r"\PC{0,30}".prop_map(|name| Name::of(name).unwrap())
    }

    fn blobs() -> impl Strategy<Value = Blob> {
        proptest::collection::vec(any::<u8>(), 0..200).prop_map(|blob| Blob::of(blob).unwrap())
    }

    fn requests() -> impl Strategy<Value = Request> {
        prop_oneof![
            tmpfses().prop_map(Request::Create),
            (tmpfses(), paths()).prop_map(|(tmpfs, target)| Request::Lend(tmpfs, target)),
            paths().prop_map(Request::TakeBack),
            Just(Request::Processes),
            paths().prop_map(Request::TakeOver),
            paths().prop_map(Request::Attach),
            paths().prop_map(Request::Enter),
            any::<(u64, u64)>().prop_map(|(size, inodes)| Request::Resize(size, inodes)),
            paths().prop_map(Request::Detach),
            paths().prop_map(Request::Listen),
            (names(), blobs()).prop_map(|(name, blob)| Request::Keep(name, blob)),
            names().prop_map(Request::Kept),
            names().prop_map(Request::Forget),
            (names(), blobs()).prop_map(|(name, about)| Request::KeepFile(name, about)),
            names().prop_map(Request::KeptFiles),
            names().prop_map(Request::TakeFile),
            (names(), paths()).prop_map(|(name, leads)| Request::Link(name, leads)),
            (names(), names()).prop_map(|(from, to)| Request::Rename(from, to)),
            (paths(), any::<u32>()).prop_map(|(path, kind)| Request::Remove(path, kind)),
            (names(), blobs()).prop_map(|(name, told)| Request::NotifyFile(name, told)),
            names().prop_map(Request::ForgetFile),
            Just(Request::Write),
            paths().prop_map(Request::Look),
            paths().prop_map(Request::Connect),
            (paths(), any::<u32>()).prop_map(|(path, removed)| Request::SocketFile(path, removed)),
        ]
    }

    fn replies() -> impl Strategy<Value = Reply> {
        prop_oneof![
            Just(Reply::Done),
            proptest::collection::vec((names(), blobs()), 0..10).prop_map(Reply::Kept),
            any::<i32>().prop_map(Reply::Os),
            (proptest::sample::select(KINDS.as_slice()), r"\PC{0,200}")
                .prop_map(|(kind, reason)| Reply::Said(kind, Reason::cut(reason))),
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
            mut packet in proptest::collection::vec(any::<u8>(), 0..300), verb in 0..35u8, framed in any::<bool>()
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
        let blob = |n| (Name::of(format!("blob-{n}")).unwrap(), Blob::of(vec![n; MAX_BLOB]).unwrap());

        let reply = Reply::first_of((0..10).map(blob));

        assert!(reply.encode().len() <= MAX_PACKET);
        assert!(matches!(reply, Reply::Kept(kept) if kept.len() == 1));
    }

    #[test]
    fn the_largest_blob_under_the_longest_name_fits_and_one_byte_more_is_no_blob_and_no_name() {
        let (name, blob) = (Name::of("n".repeat(MAX_NAME)), Blob::of(vec![1; MAX_BLOB]));
        let request = Request::Keep(name.unwrap(), blob.unwrap());

        assert!(request.encode().len() <= MAX_PACKET);
        assert_eq!(Request::decode(&request.encode()), Ok(request));
        assert!(Name::of("n".repeat(MAX_NAME + 1)).unwrap_err().to_string().contains("256"));
        assert!(Blob::of(vec![1; MAX_BLOB + 1]).unwrap_err().to_string().contains("65536"));
    }

    /// As mounters and callers of earlier versions write and read them, byte for byte.
    #[test]
    fn packets_are_what_they_were_when_the_protocol_was_fixed() {
        let tmpfs = Tmpfs { size: 1, inodes: 2, mode: 3, gid: 4, selinux_context: Some("l".to_owned()) };
        let told_tmpfs: &[u8] =
            &[1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, b'l'];
        let (text, told_text) = ("/t", &[2, 0, 0, 0, b'/', b't'][..]);
        let name = || Name::of("/t".to_owned()).unwrap();
        let requests: [(Request, Vec<u8>); 27] = [
            (Request::Create(tmpfs.clone()), [&[1, 1], told_tmpfs].concat()),
            (Request::Attach(text.into()), [&[1, 2], told_text].concat()),
            (Request::Enter(text.into()), [&[1, 3], told_text].concat()),
            (Request::Resize(5, 6), vec![1, 4, 5, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0]),
            (Request::Detach(text.into()), [&[1, 5], told_text].concat()),
            (Request::Listen(text.into()), [&[1, 6], told_text].concat()),
            (
                Request::Keep(name(), Blob::of(vec![9]).unwrap()),
                [&[1, 7], told_text, &[1, 0, 0, 0, 9]].concat(),
            ),
            (Request::Kept(name()), [&[1, 8], told_text].concat()),
            (Request::Forget(name()), [&[1, 9], told_text].concat()),
            (Request::Lend(tmpfs, text.into()), [&[1, 10], told_tmpfs, told_text].concat()),
            (Request::TakeBack(text.into()), [&[1, 11], told_text].concat()),
            (Request::TakeOver(text.into()), [&[1, 12], told_text].concat()),
            (Request::OpenFuse, vec![1, 13]),
            (Request::CreateFuse(Some(text.to_owned())), [&[1, 14], told_text].concat()),
            (Request::EnterFuse(text.into()), [&[1, 15], told_text].concat()),
            (
                Request::KeepFile(name(), Blob::of(vec![9]).unwrap()),
                [&[1, 16], told_text, &[1, 0, 0, 0, 9]].concat(),
            ),
            (Request::KeptFiles(name()), [&[1, 17], told_text].concat()),
            (Request::TakeFile(name()), [&[1, 18], told_text].concat()),
            (Request::ForgetFile(name()), [&[1, 19], told_text].concat()),
            (
                Request::NotifyFile(name(), Blob::of(vec![9]).unwrap()),
                [&[1, 20], told_text, &[1, 0, 0, 0, 9]].concat(),
            ),
            (Request::Link(name(), text.into()), [&[1, 21], told_text, told_text].concat()),
            (Request::Rename(name(), name()), [&[1, 22], told_text, told_text].concat()),
            (Request::Remove(text.into(), 1), [&[1, 23], told_text, &[1, 0, 0, 0]].concat()),
            (Request::Write, vec![1, 30]),
            (Request::Look(text.into()), [&[1, 31], told_text].concat()),
            (Request::Connect(text.into()), [&[1, 32], told_text].concat()),
            (Request::SocketFile(text.into(), 1), [&[1, 33], told_text, &[1, 0, 0, 0]].concat()),
        ];
        let replies: [(Reply, Vec<u8>); 4] = [
            (Reply::Done, vec![1, 0]),
            (
                Reply::Kept(vec![(name(), Blob::of(vec![9]).unwrap())]),
                [&[1, 1], told_text, &[1, 0, 0, 0, 9]].concat(),
            ),
            (Reply::Os(-2), vec![1, 2, 254, 255, 255, 255]),
            (
                Reply::Said(io::ErrorKind::NotFound, Reason::cut(text.to_owned())),
                [&[1, 3, 8, 0, 0, 0], told_text].concat(),
            ),
        ];

        requests.iter().for_each(|(request, packet)| assert_eq!(&request.encode(), packet));
        replies.iter().for_each(|(reply, packet)| assert_eq!(&reply.encode(), packet));
    }
}
