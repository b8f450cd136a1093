//! The examples of this crate, as programs of tests: what must not happen in the process of a test happens there.

use std::ffi::OsStr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::packet;

/// How long a test waits for what a program says.
const PATIENCE: Duration = Duration::from_secs(30);

/// A program that says and hears packets over its standard input. It is killed with this.
#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
    socket: OwnedFd,
}

impl Program {
    pub(crate) fn start<A: AsRef<OsStr>>(name: &str, arguments: impl IntoIterator<Item = A>) -> Self {
        let (socket, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        for timeout in [Timeout::Recv, Timeout::Send] {
            set_socket_timeout(&socket, timeout, Some(PATIENCE)).unwrap();
        }
        let child = Command::new(example(name)).args(arguments).stdin(theirs).spawn().unwrap();
        Self { child, socket }
    }

    pub(crate) fn send(&self, text: &str, fd: Option<BorrowedFd<'_>>) {
        packet::send(&self.socket, text, fd).unwrap();
    }

    pub(crate) fn receive(&self) -> (String, Option<OwnedFd>) {
        packet::receive(&self.socket).unwrap()
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
    }

    /// Whether the kernel has buried it in time.
    pub(crate) fn has_ended(&mut self) -> bool {
        let start = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            if start.elapsed() > PATIENCE {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        true
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let has_ended = self.has_ended();
        assert!(has_ended || std::thread::panicking(), "{:?} was killed and does not end", self.child);
    }
}

/// Built with the tests.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.ancestors().nth(2).unwrap().join("examples").join(name);
    assert!(program.exists(), "cargo build -p fuse-session --examples");
    program
}
