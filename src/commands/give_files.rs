//! `secretfs give-files`: gives what a `secretfs node` keeps on a node to the user that it runs as from now on.
//!
//! It runs as root in a directory that another user may write, so it trusts no name: what is given is the file that was
//! opened and looked at, which is no link and has one name only.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use crate::exit::Outcome;

/// Most files of one directory.
const MOST: usize = 100_000;
/// What is in a state directory, and in directories there.
const STATE: &[&str] =
    &["node.lock", "lease.key", "registered", "health.sock", "revocations.json", "revocations.partial"];
const BELOW: [(&str, &[&str]); 2] = [("volumes", &[".json", ".partial"]), ("admin", &[".sock"])];
/// What the names of files of an embedded store begin with.
const STORE: &[&str] = &["store.db", "queue.lock", "root.key"];

/// Give what a `secretfs node` left to the user that it runs as from now on
///
/// Changes the owner of the files and directories of a node's state directory, and of an embedded store, that are known by
/// name; in the state directory also the group. Follows no link. Run it while that `secretfs node` does not run.
#[derive(Debug, clap::Args)]
pub struct GiveFilesArgs {
    /// Number of the user; the group gets the same number
    #[arg(long, value_name = "UID")]
    to: u32,

    /// State directory of the node
    #[arg(long, value_name = "DIR")]
    state_dir: PathBuf,

    /// Directory of the embedded store
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
}

/// Runs `secretfs give-files`.
///
/// # Errors
///
/// A directory is missing or is a link, or the kernel refuses.
pub fn run(args: &GiveFilesArgs) -> Outcome {
    let to = Owner { user: args.to, group: Some(args.to) };
    let given = to.give_state(&args.state_dir);
    let mut count = given.with_context(|| format!("give away {}", args.state_dir.display()))?;
    if let Some(store) = &args.store {
        let is_ours = |name: &str| STORE.iter().any(|known| name.starts_with(known));
        // The group says who may put.
        let to = Owner { group: None, ..to };
        let given = open(store).and_then(|store| to.give_all(&store, is_ours));
        count = count.saturating_add(given.with_context(|| format!("give away {}", store.display()))?);
    }
    tracing::info!(uid = args.to, files = count, "given");
    Ok(())
}

/// To whom something is given.
#[derive(Debug, Clone, Copy)]
struct Owner {
    user: u32,
    /// The group stays if there is none.
    group: Option<u32>,
}

impl Owner {
    fn give_state(self, path: &Path) -> io::Result<usize> {
        let state = open(path)?;
        let mut count = 0_usize;
        for (name, endings) in BELOW {
            let is_ours = |file: &str| endings.iter().any(|ending| file.ends_with(ending));
            match open_at(state.as_fd(), name) {
                Ok(below) => count = count.saturating_add(self.give_all(&below, is_ours)?),
                Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(count.saturating_add(self.give_all(&state, |name| STATE.contains(&name))?))
    }

    /// Gives `directory` itself, and the files in it that are ours. Tells how many these are.
    fn give_all(self, directory: &OwnedFd, is_ours: impl Fn(&str) -> bool) -> io::Result<usize> {
        let mut count = 0_usize;
        for entry in Dir::read_from(directory)?.take(MOST) {
            let entry = entry?;
            if entry.file_name().to_str().is_ok_and(&is_ours) && self.give_file(directory, &entry)? {
                count = count.saturating_add(1);
            }
        }
        // The directory comes last: until then nobody else can change names in it.
        self.give(directory.as_fd())?;
        Ok(count)
    }

    fn give_file(self, directory: &OwnedFd, entry: &rustix::fs::DirEntry) -> io::Result<bool> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(directory, entry.file_name(), flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(false),
            file => file?,
        };
        let about = rustix::fs::fstat(&file)?;
        let kind = FileType::from_raw_mode(about.st_mode);
        if !matches!(kind, FileType::RegularFile | FileType::Socket) || about.st_nlink != 1 {
            tracing::warn!(name = ?entry.file_name(), "it stays as it is: it is a link, a directory, or has two names");
            return Ok(false);
        }
        self.give(file.as_fd()).map(|()| true)
    }

    fn give(self, file: BorrowedFd<'_>) -> io::Result<()> {
        let (user, group) = (Uid::from_raw(self.user), self.group.map(Gid::from_raw));
        Ok(rustix::fs::chownat(file, "", Some(user), group, AtFlags::EMPTY_PATH)?)
    }
}

fn open(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, directory(), Mode::empty())?)
}

fn open_at(parent: BorrowedFd<'_>, name: &str) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(parent, name, directory(), Mode::empty())
}

fn directory() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    const USER: u32 = 47_512;

    fn to(user: u32) -> Owner {
        Owner { user, group: Some(user) }
    }

    #[test]
    fn what_is_ours_by_name_is_given_and_back_and_nothing_else_is() {
        let (state, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = |name: &str| state.path().join(name);
        fs::create_dir(path("volumes")).unwrap();
        fs::create_dir(path("strange")).unwrap();
        for file in [
            "lease.key",
            "revocations.json",
            "volumes/a.json",
            "volumes/b.partial",
            "volumes/c.txt",
            "other",
            "strange/a.json",
        ] {
            fs::write(path(file), b"").unwrap();
        }
        let treasure = outside.path().join("treasure");
        fs::write(&treasure, b"").unwrap();
        std::os::unix::fs::symlink(&treasure, path("node.lock")).unwrap();
        fs::hard_link(&treasure, path("registered")).unwrap();
        let owner = |path: &Path| fs::symlink_metadata(path).unwrap().uid();

        assert_eq!(to(USER).give_state(state.path()).unwrap(), 4);

        for given in ["", "lease.key", "revocations.json", "volumes", "volumes/a.json", "volumes/b.partial"] {
            assert_eq!(owner(&path(given)), USER, "{given}");
        }
        for kept in ["node.lock", "registered", "volumes/c.txt", "other", "strange", "strange/a.json"] {
            assert_eq!(owner(&path(kept)), 0, "{kept}");
        }
        assert_eq!(owner(&treasure), 0);
        to(0).give_state(state.path()).unwrap();
        assert_eq!((owner(state.path()), owner(&path("volumes/a.json"))), (0, 0));
    }

    #[test]
    fn a_state_directory_that_is_a_link_is_refused() {
        let (state, beside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let link = beside.path().join("state");
        std::os::unix::fs::symlink(state.path(), &link).unwrap();

        assert!(to(USER).give_state(&link).is_err());
    }
}
