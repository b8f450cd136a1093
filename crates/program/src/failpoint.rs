//! Named places where a test may kill the process, to show that it can die anywhere.
//!
//! Without the cargo feature `failpoints`, [`hit`] does nothing. With it, the environment variable
//! `SECRETFS_FAILPOINT=NAME[:N]` makes the process send itself SIGKILL at the N-th hit of NAME.

/// Every place while a volume is mounted, and what is true if the process dies there.
pub const MOUNT_PATH: &[(&str, &str)] = &[
    ("mount.created", "the tmpfs exists, empty and mounted nowhere"),
    ("mount.written", "the tmpfs is complete and mounted nowhere"),
    ("attach.directory", "the target directory exists; nothing is mounted on it"),
    ("attach.moved", "the volume is mounted; the caller does not know"),
    ("rotate.written", "the new directory is complete beside the old; `..data` names the old one"),
    ("rotate.staged", "everything that the swap needs exists under names that nobody reads"),
    ("rotate.hidden", "names that the new set lacks are gone; `..data` names the old directory"),
    ("rotate.swapped", "`..data` names the new directory; names that the old set lacked are not there yet"),
    ("rotate.shown", "the new set is shown; the old directory is still there"),
    ("rotate.truncated", "withdrawn files are empty; the old directory is still there"),
    ("detach.unmounted", "nothing is mounted; the target directory is still there"),
    ("detach.removed", "the target directory is gone; the caller does not know"),
];

/// Every place while a directory is lent to a store on the node, and what is true if the process dies there.
pub const LENDING: &[(&str, &str)] = &[
    ("lend.directory", "the directory to lend exists; nothing is mounted on it"),
    ("lend.mounted", "the directory is lent; the caller does not know"),
    ("site.lent", "the directory is lent; the store was not asked"),
    ("site.answered", "the store has answered, and perhaps written; nothing of it is shown"),
    ("lend.unmounted", "nothing is mounted on the directory; it is still there, if it was"),
];

/// Every place in the volume table, and what is true if the process dies there.
pub const VOLUME_TABLE: &[(&str, &str)] = &[
    ("publish.fetched", "everything was read; nothing is recorded or mounted"),
    ("publish.recorded", "the volume is recorded; nothing is mounted"),
    ("publish.mounted", "the volume is mounted; the caller does not know"),
    ("refresh.read", "something new was read; the old set is shown"),
    ("refresh.shown", "the new set is shown; the record tells of the old"),
    ("unpublish.stopped", "the volume is mounted and refreshed no more"),
    ("unpublish.detached", "nothing is mounted; the record and the volume's logins are still there"),
];

/// Whether this build has failpoints.
pub const ARMED: bool = cfg!(feature = "failpoints");

/// Does nothing in this build.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn hit(_name: &str) {}

#[cfg(feature = "failpoints")]
pub use armed::hit;

#[cfg(feature = "failpoints")]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    struct Armed {
        name: String,
        left: AtomicU64,
    }

    /// Kills the process if `SECRETFS_FAILPOINT` names this hit of `name`.
    pub fn hit(name: &str) {
        static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
        if let Some(armed) = ARMED.get_or_init(Armed::from_environment)
            && armed.name == name
            && armed.left.fetch_sub(1, Ordering::Relaxed) == 1
        {
            die();
        }
    }

    impl Armed {
        fn from_environment() -> Option<Self> {
            let setting = std::env::var("SECRETFS_FAILPOINT").ok()?;
            let (name, nth) = setting.split_once(':').unwrap_or((&setting, "1"));
            Some(Self { name: name.to_owned(), left: AtomicU64::new(nth.parse().unwrap_or(1)) })
        }
    }

    fn die() -> ! {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        loop {
            std::thread::park();
        }
    }
}
