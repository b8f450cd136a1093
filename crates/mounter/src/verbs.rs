//! The verbs, for whoever answers requests: a mounter in another process or one in this.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use mounter_protocol::{Blob, Name, Reply, Request};

use secretfs_mounter::{Answer, absent};

use crate::{Error, Mounter, Tmpfs, identity};

/// Answers requests.
pub(crate) trait Ask: std::fmt::Debug + Send + Sync {
    /// The answer to `request`, with the open `file` beside it.
    fn ask(&self, request: &Request, file: Option<BorrowedFd<'_>>) -> io::Result<Answer>;

    /// Whether the process that asks is root.
    fn is_of_root(&self) -> bool {
        true
    }
}

/// Asks for what gives an open file, or none.
fn done(by: &impl Ask, request: &Request, file: Option<BorrowedFd<'_>>) -> Result<Option<OwnedFd>, Error> {
    let answer = by.ask(request, file).and_then(|(reply, file)| match reply {
        Reply::Done => Ok(file),
        reply => Err(failure(reply)),
    });
    answer.map_err(failed(request))
}

/// Asks for what gives an open file.
fn opened(by: &impl Ask, request: &Request) -> Result<OwnedFd, Error> {
    done(by, request, None)?.ok_or_else(|| failed(request)(strange("no open file beside its answer")))
}

fn failed(request: &Request) -> impl FnOnce(io::Error) -> Error {
    let (action, target) = request.words();
    Error::of(action, target)
}

fn failure(reply: Reply) -> io::Error {
    match reply {
        _ if reply.is_not_understood() => io::Error::new(
            io::ErrorKind::Unsupported,
            "the mounter is of an earlier version and does not know this request; update secretfs-mounter first",
        ),
        Reply::Os(errno) => io::Error::from_raw_os_error(errno),
        Reply::Said(kind, reason) => io::Error::new(kind, reason.into_inner()),
        Reply::Done | Reply::Kept(_) => strange("an answer to another question"),
    }
}

/// The mounter said what it has no reason to say.
pub(crate) fn strange(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the mounter gave {what}"))
}

fn name(text: &str, action: &'static str) -> Result<Name, Error> {
    Name::of(text.to_owned()).map_err(Error::of(action, Path::new(text)))
}

/// All of what `request` asks for a part of: what comes after a name.
fn listed(by: &impl Ask, request: impl Fn(Name) -> Request) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let (mut kept, mut after) = (Vec::new(), name("", "read")?);
    loop {
        let request = request(after);
        let more = by.ask(&request, None).and_then(|(reply, _)| match reply {
            Reply::Kept(more) => Ok(more),
            reply => Err(failure(reply)),
        });
        let more = more.map_err(failed(&request))?;
        let Some((last, _)) = more.last() else { return Ok(kept) };
        after = last.clone();
        kept.extend(more.into_iter().map(|(name, blob)| (name.into_inner(), blob.into_inner())));
    }
}

impl<A: Ask> Mounter for A {
    fn create(&self, tmpfs: &Tmpfs) -> Result<OwnedFd, Error> {
        opened(self, &Request::Create(tmpfs.clone()))
    }

    fn attach(&self, root: BorrowedFd<'_>, target: &Path) -> Result<(), Error> {
        done(self, &Request::Attach(target.to_owned()), Some(root)).map(drop)
    }

    fn makes_files_of_root(&self) -> bool {
        self.is_of_root()
    }

    fn writable(&self, root: BorrowedFd<'_>) -> Result<Option<OwnedFd>, Error> {
        if self.is_of_root() { Ok(None) } else { done(self, &Request::Write, Some(root)) }
    }

    fn look(&self, target: &Path) -> Result<Option<OwnedFd>, Error> {
        if self.is_of_root() {
            return identity::root_at(target).map_err(Error::of("look at", target));
        }
        // Kubelet's directories are for root.
        done(self, &Request::Look(target.to_owned()), None)
    }

    fn socket_at(&self, path: &Path) -> Result<Option<(u64, u64)>, Error> {
        const LOOK: &str = "look at";
        if self.is_of_root() {
            return identity::file_at(path).map_err(Error::of(LOOK, path));
        }
        let place = done(self, &Request::SocketFile(path.to_owned(), 0), None)?;
        let stat = place.map(rustix::fs::fstat).transpose().map_err(io::Error::from);
        Ok(stat.map_err(Error::of(LOOK, path))?.map(|stat| (stat.st_dev, stat.st_ino)))
    }

    fn remove_socket(&self, path: &Path) -> Result<(), Error> {
        if self.is_of_root() {
            return absent(std::fs::remove_file(path))
                .map(drop)
                .map_err(Error::of("remove the socket", path));
        }
        done(self, &Request::SocketFile(path.to_owned(), 1), None).map(drop)
    }

    fn connect(&self, path: &Path) -> Result<UnixStream, Error> {
        opened(self, &Request::Connect(path.to_owned())).map(UnixStream::from)
    }

    fn open_fuse(&self) -> Result<OwnedFd, Error> {
        opened(self, &Request::OpenFuse)
    }

    fn processes(&self) -> Result<OwnedFd, Error> {
        opened(self, &Request::Processes)
    }

    fn create_fuse(&self, device: BorrowedFd<'_>, label: Option<&str>) -> Result<OwnedFd, Error> {
        let request = Request::CreateFuse(label.map(str::to_owned));
        done(self, &request, Some(device))?
            .ok_or_else(|| failed(&request)(strange("no open file beside its answer")))
    }

    fn enter_fuse(&self, target: &Path) -> Result<Option<OwnedFd>, Error> {
        done(self, &Request::EnterFuse(target.to_owned()), None)
    }

    fn enter(&self, target: &Path) -> Result<Option<OwnedFd>, Error> {
        done(self, &Request::Enter(target.to_owned()), None)
    }

    fn take_over(&self, target: &Path) -> Result<Option<OwnedFd>, Error> {
        let request = Request::TakeOver(target.to_owned());
        match self.ask(&request, None).map_err(failed(&request))? {
            (Reply::Done, file) => Ok(file),
            // An earlier mounter enters whatever tmpfs is there.
            (reply, _) if reply.is_not_understood() => self.enter(target),
            (reply, _) => Err(failed(&request)(failure(reply))),
        }
    }

    fn resize(&self, root: BorrowedFd<'_>, size: u64, inodes: u64) -> Result<(), Error> {
        done(self, &Request::Resize(size, inodes), Some(root)).map(drop)
    }

    fn lend(&self, tmpfs: &Tmpfs, target: &Path) -> Result<OwnedFd, Error> {
        opened(self, &Request::Lend(tmpfs.clone(), target.to_owned()))
    }

    fn take_back(&self, target: &Path) -> Result<(), Error> {
        done(self, &Request::TakeBack(target.to_owned()), None).map(drop)
    }

    fn detach(&self, target: &Path) -> Result<(), Error> {
        done(self, &Request::Detach(target.to_owned()), None).map(drop)
    }

    fn listen(&self, path: &Path) -> Result<UnixListener, Error> {
        opened(self, &Request::Listen(path.to_owned())).map(UnixListener::from)
    }

    fn keep(&self, name: &str, blob: &[u8]) -> Result<(), Error> {
        const KEEP: &str = "keep";
        let blob = Blob::of(blob.to_vec()).map_err(Error::of(KEEP, Path::new(name)))?;
        done(self, &Request::Keep(self::name(name, KEEP)?, blob), None).map(drop)
    }

    fn kept(&self) -> Result<Vec<(String, Vec<u8>)>, Error> {
        listed(self, Request::Kept)
    }

    fn forget(&self, name: &str) -> Result<(), Error> {
        done(self, &Request::Forget(self::name(name, "forget")?), None).map(drop)
    }

    fn keep_file(&self, name: &str, about: &[u8], file: BorrowedFd<'_>) -> Result<(), Error> {
        const KEEP: &str = "keep the file";
        let about = Blob::of(about.to_vec()).map_err(Error::of(KEEP, Path::new(name)))?;
        done(self, &Request::KeepFile(self::name(name, KEEP)?, about), Some(file)).map(drop)
    }

    fn kept_files(&self) -> Result<Vec<(String, Vec<u8>)>, Error> {
        listed(self, Request::KeptFiles)
    }

    fn take_file(&self, name: &str) -> Result<OwnedFd, Error> {
        opened(self, &Request::TakeFile(self::name(name, "give the file")?))
    }

    fn notify_file(&self, name: &str, told: &[u8]) -> Result<(), Error> {
        const TELL: &str = "tell the kernel by";
        let told = Blob::of(told.to_vec()).map_err(Error::of(TELL, Path::new(name)))?;
        done(self, &Request::NotifyFile(self::name(name, TELL)?, told), None).map(drop)
    }

    fn link(&self, root: BorrowedFd<'_>, name: &str, leads: &str) -> Result<(), Error> {
        let request = Request::Link(self::name(name, "make the name")?, leads.into());
        done(self, &request, Some(root)).map(drop)
    }

    fn rename(&self, root: BorrowedFd<'_>, from: &str, to: &str) -> Result<(), Error> {
        const MAKE: &str = "make the name";
        let request = Request::Rename(self::name(from, MAKE)?, self::name(to, MAKE)?);
        done(self, &request, Some(root)).map(drop)
    }

    fn remove(&self, root: BorrowedFd<'_>, path: &str, is_directory: bool) -> Result<(), Error> {
        let request = Request::Remove(path.into(), u32::from(is_directory));
        done(self, &request, Some(root)).map(drop)
    }

    fn forget_file(&self, name: &str) -> Result<(), Error> {
        done(self, &Request::ForgetFile(self::name(name, "forget")?), None).map(drop)
    }
}
