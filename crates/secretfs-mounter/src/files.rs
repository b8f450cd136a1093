//! Open files that callers want to find again after their own end: the kernel's end of each FUSE volume, and memory files.
//! Kept only. What is in memory files is read by nobody here.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use mounter_protocol::{Blob, Name, Reply};
use rustix::fs::FileType;

use crate::kept::{Kept, full};
use crate::waiting::{ALONE, Device};

/// Most files of one volume: of names that are the same before the first `/`.
const MAX_OF_ONE: usize = 32;
/// `f_type` of memory files, which are in a tmpfs, and of those that only their owner can read (`memfd_secret`).
const MEMORY: [u64; 2] = [0x0102_1994, 0x5345_434d];

/// What is kept, bounded: a volume has three or four files.
#[derive(Debug)]
pub(crate) struct Files {
    kept: Kept<File, 16_384>,
    /// When somebody last spoke of files. Who serves volumes does so every few seconds.
    heard: Instant,
    /// Whether requests that were read and not answered were asked for again, since then.
    is_resent: bool,
}

#[derive(Debug)]
struct File {
    file: OwnedFd,
    is_device: bool,
}

impl Default for Files {
    fn default() -> Self {
        Self { kept: Kept::default(), heard: Instant::now(), is_resent: false }
    }
}

impl Files {
    pub(crate) fn keep(&mut self, name: &Name, about: &Blob, file: BorrowedFd<'_>) -> io::Result<()> {
        self.hear();
        let volume = name.split('/').next();
        let others = self.kept.all().filter(|(kept, _)| *kept != name && kept.split('/').next() == volume);
        if others.count() >= MAX_OF_ONE {
            return full(format!("{MAX_OF_ONE} files of one volume are kept already"));
        }
        let is_device = is_device(file)?;
        self.kept.keep(name, about, File { file: file.try_clone_to_owned()?, is_device })
    }

    pub(crate) fn take(&mut self, name: &Name) -> io::Result<OwnedFd> {
        self.hear();
        self.kept.get(name).ok_or(io::ErrorKind::NotFound)?.file.try_clone()
    }

    pub(crate) fn forget(&mut self, name: &Name) {
        self.hear();
        self.kept.forget(name);
    }

    pub(crate) fn reply_after(&mut self, name: &Name) -> Reply {
        self.hear();
        self.kept.reply_after(name)
    }

    fn hear(&mut self) {
        (self.heard, self.is_resent) = (Instant::now(), false);
    }

    /// Ends the requests to volumes by errors, if nobody has spoken of files for long. So no process waits for good, and
    /// each can be killed.
    pub(crate) fn end_waiting(&mut self) {
        if self.heard.elapsed() < ALONE {
            return;
        }
        let devices = self.kept.all().filter(|(_, kept)| kept.is_device);
        let ended: usize =
            devices.map(|(_, kept)| Device(kept.file.as_fd()).end_waiting(!self.is_resent)).sum();
        if ended > 0 {
            tracing::warn!(requests = ended, "nobody serves FUSE volumes: who waited for them got errors");
        }
        self.is_resent = true;
    }
}

/// Whether `file` is the kernel's end of a FUSE file system. Memory files are the only others that are kept: to close one
/// never waits.
fn is_device(file: BorrowedFd<'_>) -> io::Result<bool> {
    let stat = rustix::fs::fstat(file)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::CharacterDevice if stat.st_rdev == rustix::fs::makedev(10, 229) => Ok(true),
        FileType::RegularFile if MEMORY.contains(&(rustix::fs::fstatfs(file)?.f_type as u64)) => Ok(false),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "only memory files and FUSE devices are kept")),
    }
}

#[cfg(test)]
mod tests {
    use rustix::fs::MemfdFlags;

    use super::*;

    fn name(text: &str) -> Name {
        Name::of(text.to_owned()).unwrap()
    }

    fn blob(bytes: &[u8]) -> Blob {
        Blob::of(bytes.to_vec()).unwrap()
    }

    fn memory() -> OwnedFd {
        rustix::fs::memfd_create("test", MemfdFlags::CLOEXEC).unwrap()
    }

    #[test]
    fn a_file_is_given_again_as_often_as_it_is_asked_for_until_it_is_forgotten() {
        let (mut files, file) = (Files::default(), memory());
        rustix::io::pwrite(&file, b"text", 0).unwrap();

        files.keep(&name("v/1"), &blob(b"first"), memory().as_fd()).unwrap();
        files.keep(&name("v/1"), &blob(b"second"), file.as_fd()).unwrap();

        for _ in 0..2 {
            let mut text = [0; 4];
            rustix::io::pread(files.take(&name("v/1")).unwrap(), &mut text, 0).unwrap();
            assert_eq!(&text, b"text");
        }
        assert_eq!(files.reply_after(&name("")), Reply::Kept(vec![(name("v/1"), blob(b"second"))]));
        files.forget(&name("v/1"));
        assert_eq!(files.take(&name("v/1")).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!((files.reply_after(&name("")), files.kept.all().count()), (Reply::Kept(Vec::new()), 0));
    }

    #[test]
    fn what_is_kept_is_bounded_for_each_volume_and_in_all_and_the_refusal_says_how() {
        let (mut files, file) = (Files::default(), memory());
        let refused = |kept: io::Result<()>| kept.unwrap_err().to_string();

        for n in 0..MAX_OF_ONE {
            files.keep(&name(&format!("v/{n}")), &blob(b""), file.as_fd()).unwrap();
        }
        assert!(refused(files.keep(&name("v/more"), &blob(b""), file.as_fd())).contains("of one volume"));
        files.keep(&name("v/0"), &blob(b"replaced"), file.as_fd()).unwrap();
        let large = blob(&[0; 64 << 10]);
        let kept = (0..300).take_while(|n| files.keep(&name(&n.to_string()), &large, file.as_fd()).is_ok());
        assert_eq!(kept.count(), (16 << 20) / large.len() - 1);
        assert!(refused(files.keep(&name("more"), &large, file.as_fd())).contains("bytes are kept in all"));
        assert!(refused(files.keep(&name(""), &blob(b""), file.as_fd())).contains("without a name"));
    }

    #[test]
    fn files_of_other_kinds_are_refused() {
        let (pipe, _) = rustix::pipe::pipe().unwrap();
        let (null, disk) =
            (std::fs::File::open("/dev/null").unwrap(), std::fs::File::open("/proc/self/stat").unwrap());

        for file in [pipe.as_fd(), null.as_fd(), disk.as_fd()] {
            let refused = Files::default().keep(&name("x"), &blob(b""), file).unwrap_err();
            assert!(refused.to_string().contains("only memory files"), "{refused}");
        }
    }
}
