use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{LazyLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

type Order = (Command, mpsc::Sender<io::Result<Child>>);

// The kernel sends the parent-death signal when the *thread* that forked ends, and a test's thread ends with the test.
// So one thread that never ends starts all children.
static NURSERY: LazyLock<mpsc::Sender<Order>> = LazyLock::new(|| {
    let (orders, inbox) = mpsc::channel::<Order>();
    thread::spawn(move || {
        for (mut command, reply) in inbox {
            let _ = reply.send(command.spawn());
        }
    });
    orders
});

/// A command that gets `signal` when this process ends, however it ends.
pub(crate) fn mortal(signal: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", signal]);
    command
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    last_word: Signal,
}

impl Server {
    /// Starts `command`. Dropping the server sends it `last_word`.
    pub(crate) fn start(command: Command, last_word: Signal) -> Self {
        let (reply, child) = mpsc::channel();
        NURSERY.send((command, reply)).expect("the thread that forks");
        let child = child.recv().expect("the thread that forks");
        Self { child: child.expect("`setpriv` (Debian package util-linux) to start a server"), last_word }
    }

    /// Starts `command` with its output appended to the file `log`. Dropping the server kills it.
    pub(crate) fn logging(mut command: Command, log: &Path) -> Self {
        let log = File::options().create(true).append(true).open(log).expect("a log file");
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a log file")).stderr(log);
        Self::start(command, Signal::KILL)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a pid");
        kill_process(pid, signal).expect("to signal a server of our own");
    }

    /// Whether all of its threads are stopped (`T` in proc_pid_stat(5)).
    pub(crate) fn stands_still(&self) -> bool {
        let threads =
            std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("a server of our own");
        threads.flatten().all(|thread| {
            let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            stat.rsplit(") ").next().is_some_and(|state| state.starts_with('T'))
        })
    }

    /// How it ended; `None` if it still runs.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("to wait for a server of our own")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.ended().is_none() {
            self.signal(self.last_word);
            // A stopped process handles other signals only after this one.
            self.signal(Signal::CONT);
        }
        let patience = Instant::now() + Duration::from_secs(5);
        while self.ended().is_none() && Instant::now() < patience {
            thread::sleep(Duration::from_millis(2));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Calls `ready` until it returns true. After 30 seconds, panics with the text of `why`.
pub fn until(mut ready: impl FnMut() -> bool, why: impl Fn() -> String) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !ready() {
        assert!(Instant::now() < deadline, "{}", why());
        thread::sleep(Duration::from_millis(10));
    }
}
