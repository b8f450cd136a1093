//! The same random operations on two mounts of the same tree: ours, and one that the crate `fuser` serves.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;

use fuse_tree::{AllowAll, Edition, Volume};
use rustix::fs::{FlockOperation, OFlags};

use super::mapper::Mapper;
use super::mounted::Mounted;
use super::peer::Peer;
use super::shown::{edition, showing};

const OPERATIONS: usize = 6000;
const HANDLES: usize = 6;

/// A generator that needs no crate (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(end).unwrap()).unwrap()
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

const PATHS: [&str; 18] = [
    "",
    "a",
    "d",
    "d/b",
    "d/e/f",
    "large",
    "empty",
    "none",
    "d/none",
    "a/b",
    "..data",
    "..data/a",
    "..v1",
    "..v1/d",
    "..v1/a",
    "..v2/a",
    "..data_tmp",
    "d/..",
];
const OFFSETS: [u64; 8] = [0, 1, 5, 4095, 4096, 65_536, 131_072, 1 << 40];
const SIZES: [usize; 7] = [0, 1, 7, 4096, 5000, 70_000, 300_000];
const FLAGS: [OFlags; 10] = [
    OFlags::empty(),
    OFlags::WRONLY,
    OFlags::RDWR,
    OFlags::TRUNC,
    OFlags::APPEND,
    OFlags::NOFOLLOW,
    OFlags::DIRECTORY,
    OFlags::PATH,
    OFlags::DIRECT,
    OFlags::CREATE,
];

/// One operation: the same for both mounts.
#[derive(Debug, Clone, Copy)]
enum Operation {
    Stat(&'static str),
    StatLink(&'static str),
    ReadLink(&'static str),
    List(&'static str),
    Open(usize, &'static str, OFlags),
    Read(usize, u64, usize),
    StatHandle(usize),
    Seek(usize, i64),
    Map(usize),
    Lock(usize),
    Sync(usize),
    Close(usize),
    Rename(&'static str, &'static str),
    Unlink(&'static str),
    RemoveDirectory(&'static str),
    MakeDirectory(&'static str),
    Link(&'static str, &'static str),
    Symlink(&'static str),
    Mode(&'static str),
    Attribute(&'static str),
    Truncate(&'static str),
    StatFs,
}

impl Operation {
    fn any(random: &mut Random) -> Self {
        let (path, other) = (random.of(&PATHS), random.of(&PATHS));
        let handle = random.below(HANDLES);
        match random.below(32) {
            0..=2 => Self::Stat(path),
            3 => Self::StatLink(path),
            4 => Self::ReadLink(path),
            5 => Self::List(path),
            6..=11 => Self::Open(handle, path, random.of(&FLAGS)),
            12..=17 => Self::Read(handle, random.of(&OFFSETS), random.of(&SIZES)),
            18 => Self::StatHandle(handle),
            19 => Self::Seek(handle, i64::try_from(random.below(9000)).unwrap() - 4500),
            20 => Self::Map(handle),
            21 => Self::Lock(handle),
            22 => Self::Close(handle),
            23 => Self::Rename(path, other),
            24 => Self::Unlink(path),
            25 => Self::RemoveDirectory(path),
            26 => Self::MakeDirectory(path),
            27 => Self::Link(path, other),
            28 => Self::Symlink(path),
            29 => Self::Mode(path),
            30 => random.of(&[Self::Attribute(path), Self::StatFs, Self::Sync(handle)]),
            _ => Self::Truncate(path),
        }
    }
}

/// One of the mounts, with what is open in it.
struct Side<'a> {
    root: &'a Path,
    handles: [Option<File>; HANDLES],
    mapper: Mapper,
}

impl<'a> Side<'a> {
    fn new(root: &'a Path) -> Self {
        Self { root, handles: Default::default(), mapper: Mapper::start() }
    }

    /// What a program gets, as text.
    fn answer(&mut self, operation: Operation) -> String {
        let at = |path: &str| self.root.join(path);
        match operation {
            Operation::Stat(path) => told(fs::metadata(at(path)).map(|about| all(&about))),
            Operation::StatLink(path) => told(fs::symlink_metadata(at(path)).map(|about| all(&about))),
            Operation::ReadLink(path) => told(fs::read_link(at(path))),
            Operation::List(path) => told(fs::read_dir(at(path)).map(|entries| {
                entries
                    .map(|entry| entry.map(|entry| (entry.file_name(), entry.file_type().unwrap())).unwrap())
                    .collect::<Vec<_>>()
            })),
            Operation::Rename(from, to) => told(fs::rename(at(from), at(to))),
            Operation::Unlink(path) => told(fs::remove_file(at(path))),
            Operation::RemoveDirectory(path) => told(fs::remove_dir(at(path))),
            Operation::MakeDirectory(path) => told(fs::create_dir(at(path))),
            Operation::Link(from, to) => told(fs::hard_link(at(from), at(to))),
            Operation::Symlink(path) => told(symlink("x", at(path))),
            Operation::Mode(path) => told(fs::set_permissions(at(path), PermissionsExt::from_mode(0o600))),
            Operation::Attribute(path) => told(rustix::fs::listxattr_query(at(path)).map_err(Into::into)),
            Operation::Truncate(path) => {
                told(OpenOptions::new().write(true).truncate(true).open(at(path)).map(drop))
            }
            Operation::StatFs => told(
                rustix::fs::statfs(self.root)
                    .map(|fs| (fs.f_type, fs.f_blocks, fs.f_namelen))
                    .map_err(Into::into),
            ),
            Operation::Open(handle, path, flags) => {
                let flags = i32::try_from(flags.bits()).unwrap();
                let is_writing = flags & 1 != 0;
                let opened = OpenOptions::new()
                    .read(!is_writing)
                    .write(is_writing || flags & 2 != 0)
                    .custom_flags(flags & !3)
                    .open(at(path));
                let is_open =
                    told(opened.as_ref().map(drop).map_err(|error| {
                        std::io::Error::from_raw_os_error(error.raw_os_error().unwrap_or(0))
                    }));
                self.handles[handle] = opened.ok();
                is_open
            }
            Operation::Close(handle) => told(Ok(self.handles[handle].take().map(drop))),
            Operation::Read(handle, offset, size) => self.by(handle, |file| {
                let mut into = vec![0; size];
                file.read_at(&mut into, offset).map(|count| into[..count].to_vec())
            }),
            Operation::StatHandle(handle) => self.by(handle, |file| file.metadata().map(|about| all(&about))),
            Operation::Seek(handle, by) => self.by(handle, |mut file| file.seek(SeekFrom::End(by))),
            Operation::Map(handle) => self.by(handle, |file| {
                let len = usize::try_from(file.metadata()?.len()).unwrap();
                self.mapper.map(file, len).map(|()| self.mapper.read())
            }),
            Operation::Lock(handle) => self
                .by(handle, |file| Ok(rustix::fs::fcntl_lock(file, FlockOperation::NonBlockingLockShared)?)),
            Operation::Sync(handle) => self.by(handle, |file| file.sync_all()),
        }
    }

    fn by<T: std::fmt::Debug>(&self, handle: usize, act: impl Fn(&File) -> std::io::Result<T>) -> String {
        self.handles[handle].as_ref().map_or_else(|| "closed".to_owned(), |file| told(act(file)))
    }
}

fn told<T: std::fmt::Debug>(result: std::io::Result<T>) -> String {
    match result {
        Ok(value) => format!("{value:?}"),
        Err(error) => format!("errno {:?}", error.raw_os_error()),
    }
}

/// All but the device and the time of the last access.
fn all(about: &fs::Metadata) -> impl std::fmt::Debug + use<> {
    let times = (about.mtime(), about.mtime_nsec(), about.ctime());
    let owner = (about.uid(), about.gid(), about.mode(), about.nlink());
    (about.ino(), about.len(), about.blocks(), about.blksize(), owner, times)
}

fn volume(edition: Edition) -> Arc<Volume> {
    showing("difference", Arc::new(AllowAll), edition)
}

fn files() -> Edition {
    let large: Vec<u8> = (0..200_000_u32).map(|at| u8::try_from(at % 251).unwrap()).collect();
    edition(1, &[("a", b"text"), ("d/b", b"more"), ("d/e/f", b"deep"), ("empty", b""), ("large", &large)])
}

#[test]
fn programs_get_the_same_answers_as_from_fuser() {
    let ours = Mounted::new(volume(files()));
    let peer = Peer::new(volume(files()));
    let seed = u64::from(std::process::id()) << 20 | 1;
    println!("seed {seed}");
    let mut random = Random(seed);
    {
        let (mut one, mut other) = (Side::new(ours.place.path()), Side::new(peer.path()));
        for number in 0..OPERATIONS {
            let operation = Operation::any(&mut random);
            let (told, expected) = (one.answer(operation), other.answer(operation));
            assert!(
                told == expected,
                "seed {seed}, {number}: {operation:?}: ours {told:.300}, fuser's {expected:.300}"
            );
        }
    }
}
