use std::io::{self, Read as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{Access, AtFlags, Mode, OFlags};
use rustix::io::Errno;

/// Most bytes of the name of a thread. The kernel cuts it at 16, and those of its own threads at 64.
const NAME_MAX: u64 = 256;
/// Most bytes that are read of a list of cgroups: a line for each hierarchy, each as long as a path may be.
const CGROUPS_MAX: u64 = 128 << 10;
/// Most bytes that are read of a table of mounts. Each has some hundred bytes, and containers have less than a hundred mounts.
const MOUNTS_MAX: u64 = 512 << 10;
const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// All threads of one process namespace: its `/proc`.
#[derive(Debug)]
pub struct Processes(OwnedFd);

impl Processes {
    /// The threads that the directory shows, which is the root of a `/proc`.
    pub fn new(root: OwnedFd) -> Self {
        Self(root)
    }

    /// The thread of this number.
    ///
    /// # Errors
    ///
    /// There is none, or no descriptor is left.
    pub fn thread(&self, tid: u32) -> io::Result<Thread> {
        Ok(Thread(rustix::fs::openat(&self.0, tid.to_string(), DIRECTORY, Mode::empty())?))
    }
}

/// One thread, and never another one, whatever becomes of its number.
#[derive(Debug)]
pub struct Thread(OwnedFd);

impl Thread {
    /// Whether it has not ended. Costs one system call that opens nothing.
    pub fn is_alive(&self) -> bool {
        // The kernel looks for the thread when it judges whether the directory may be entered.
        rustix::fs::accessat(&self.0, ".", Access::EXISTS, AtFlags::EACCESS).is_ok()
    }

    /// Its user, as this process's user namespace counts.
    ///
    /// # Errors
    ///
    /// The thread has ended.
    pub fn uid(&self) -> io::Result<u32> {
        Ok(rustix::fs::statat(&self.0, "", AtFlags::EMPTY_PATH)?.st_uid)
    }

    /// The program that it runs at this moment. `None` if this process may not know.
    pub fn executable(&self) -> Option<PathBuf> {
        use std::os::unix::ffi::OsStringExt as _;
        let link = rustix::fs::readlinkat(&self.0, "exe", Vec::new()).ok()?;
        Some(PathBuf::from(std::ffi::OsString::from_vec(link.into_bytes())))
    }

    /// The name that it gave itself, or the first letters of its program's name. Any process may know it. `None` if the
    /// thread has ended.
    pub fn name(&self) -> Option<String> {
        let name = self.read("comm", NAME_MAX).ok()?;
        Some(String::from_utf8_lossy(name.strip_suffix(b"\n").unwrap_or(&name)).into_owned())
    }

    /// Its cgroups.
    ///
    /// # Errors
    ///
    /// The thread has ended, or no descriptor is left; the list is longer than any that is read.
    pub fn cgroups(&self) -> io::Result<Vec<u8>> {
        self.read("cgroup", CGROUPS_MAX)
    }

    /// The table of the mounts that it can reach.
    ///
    /// # Errors
    ///
    /// The thread has ended, or no descriptor is left; the table is longer than any that is read.
    pub fn mounts(&self) -> io::Result<Vec<u8>> {
        self.read("mountinfo", MOUNTS_MAX)
    }

    fn read(&self, name: &str, longest: u64) -> io::Result<Vec<u8>> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(self.0.as_fd(), name, flags, Mode::empty())?;
        let mut text = Vec::with_capacity(4096);
        std::fs::File::from(file).take(longest).read_to_end(&mut text)?;
        // A table that was cut may lack what contradicts the rest.
        if text.len() as u64 == longest { Err(Errno::FBIG.into()) } else { Ok(text) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "what a test arranges has to fail it loudly")]

    use std::process::{Command, Stdio};

    use super::*;

    fn processes() -> Processes {
        Processes::new(rustix::fs::open("/proc", DIRECTORY, Mode::empty()).unwrap())
    }

    #[test]
    fn a_thread_is_read_while_it_lives_and_is_nobody_when_it_has_ended() {
        let mut child = Command::new("sleep").arg("60").stdout(Stdio::null()).spawn().unwrap();
        let thread = processes().thread(child.id()).unwrap();

        assert!(thread.is_alive());
        assert_eq!(thread.uid().unwrap(), rustix::process::geteuid().as_raw());
        assert!(!thread.cgroups().unwrap().is_empty() && !thread.mounts().unwrap().is_empty());
        child.kill().unwrap();
        child.wait().unwrap();

        assert!(!thread.is_alive() && thread.cgroups().is_err() && thread.executable().is_none());
        assert!(processes().thread(child.id()).is_err());
    }

    #[test]
    fn the_name_is_the_one_that_the_thread_gave_itself() {
        let look = || {
            let number = rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs();
            processes().thread(number).unwrap().name()
        };

        let named = std::thread::Builder::new().name("a reader".to_owned()).spawn(look).unwrap();

        assert_eq!(named.join().unwrap().as_deref(), Some("a reader"));
    }

    #[test]
    fn the_program_is_the_one_that_runs_now() {
        let own = processes().thread(rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs()).unwrap();

        assert_eq!(own.executable(), std::env::current_exe().ok());
    }
}
