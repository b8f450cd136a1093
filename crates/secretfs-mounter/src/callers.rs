//! Who may ask, and through whose eyes each caller sees the files of volumes.
//!
//! What a user other than root writes into a volume is root's there: a mount of the same file system, which nobody else sees,
//! shows root's files as that user's.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, Weak};

use mounter_protocol::Tmpfs;
use rustix::fs::{AtFlags, StatxFlags};
use sys::Peer;

use crate::file_system;
use crate::ours::SOURCE;
use crate::verbs::locked;

/// The users that are served beside root.
#[derive(Debug, Default)]
pub(crate) struct Users(pub(crate) BTreeMap<u32, User>);

#[derive(Debug)]
pub(crate) struct User {
    /// In which root is this user, or why there is none.
    namespace: io::Result<Arc<OwnedFd>>,
    callers: Mutex<Vec<Weak<Process>>>,
}

/// Who has connected: its process id, and its control groups then.
#[derive(Debug)]
struct Process(i32, String);

/// Who asks; root if nothing else is said.
#[derive(Debug, Default)]
pub struct Caller {
    uid: u32,
    namespace: Option<Arc<OwnedFd>>,
    /// Held while it is connected: others of its user have to be in the same control groups.
    _process: Option<Arc<Process>>,
}

impl Users {
    /// These users: to be called while there is one thread that has all capabilities.
    pub(crate) fn of(uids: &[u32]) -> Self {
        let namespace = |uid| sys::user_namespace(uid).map(Arc::new);
        let user = |&uid: &u32| (uid, User { namespace: namespace(uid), callers: Mutex::default() });
        Self(uids.iter().map(user).collect())
    }

    /// Tells whose files are not made into root's.
    pub(crate) fn tell(&self) {
        for (uid, user) in &self.0 {
            if let Err(error) = &user.namespace {
                tracing::warn!(uid, %error, "no user namespace: files of volumes will be this user's, not root's");
            }
        }
    }

    /// The callers of one user have to be in the same control groups: those of who came first, until all of these have gone
    /// or are dead. What a dead one asked for last may still be going on.
    pub(crate) fn admit(&self, Peer { uid, pid }: Peer) -> Result<Caller, String> {
        if uid == 0 {
            return Ok(Caller::default());
        }
        let user = self.0.get(&uid).ok_or_else(|| format!("the user {uid} is not allowed"))?;
        // In the pid namespace of another container there is none.
        let unseen =
            |error| format!("process {pid} is not seen from here ({error}): the mounter needs hostPID");
        let groups = groups_of(pid).map_err(unseen)?;
        let mut callers = locked(&user.callers);
        callers.retain(|caller| caller.strong_count() > 0);
        if any_elsewhere(&callers, &groups, groups_of) {
            return Err(format!("process {pid} of user {uid} is in another control group than its driver"));
        }
        let process = Arc::new(Process(pid, groups));
        callers.push(Arc::downgrade(&process));
        Ok(Caller { uid, namespace: user.namespace.as_ref().ok().cloned(), _process: Some(process) })
    }
}

/// Whether one of these lives and is in other control groups than `own`, where `now` tells those of a process.
fn any_elsewhere(callers: &[Weak<Process>], own: &str, now: impl Fn(i32) -> io::Result<String>) -> bool {
    let lives = |Process(pid, groups): &Process| now(*pid).is_ok_and(|now| now == *groups);
    callers.iter().filter_map(Weak::upgrade).any(|other| other.1 != own && lives(&other))
}

fn groups_of(pid: i32) -> io::Result<String> {
    fs::read_to_string(format!("/proc/{pid}/cgroup"))
}

impl Caller {
    /// A tmpfs that the caller can write to, by way of [`writable`](Self::writable).
    pub(crate) fn make(&self, tmpfs: &Tmpfs, swap_allowed: bool) -> io::Result<OwnedFd> {
        let root = file_system::make(tmpfs, SOURCE, 0, swap_allowed)?;
        if self.writable(root.as_fd()).is_ok() {
            return Ok(root);
        }
        // Before Linux 6.15, what is mounted nowhere has no second mount: there the files are the caller's.
        file_system::make(tmpfs, SOURCE, self.uid, swap_allowed)
    }

    /// The same root, where files are the caller's.
    pub(crate) fn writable(&self, root: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
        let is_own = self.owns(root)?;
        self.own(Some(if is_own { root.try_clone_to_owned()? } else { file_system::clone_of(root)? }))
    }

    /// Has what root owns be the caller's, through this mount that nobody else sees.
    pub(crate) fn own(&self, root: Option<OwnedFd>) -> io::Result<Option<OwnedFd>> {
        if let Some(root) = &root
            && !self.owns(root.as_fd())?
        {
            let namespace = self.namespace.as_ref().ok_or(io::ErrorKind::Unsupported)?;
            sys::show_owners_as(root.as_fd(), namespace.as_fd())?;
        }
        Ok(root)
    }

    /// Whether it is root's or the caller's already. Who serves the file system is not asked.
    fn owns(&self, root: BorrowedFd<'_>) -> io::Result<bool> {
        let kernel_only = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
        Ok(self.uid == 0 || rustix::fs::statx(root, "", kernel_only, StatxFlags::UID)?.stx_uid == self.uid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_in_another_control_group_waits_until_the_first_has_gone_or_is_dead() {
        let first = Arc::new(Process(7, "0::/node".to_owned()));
        let callers = [Arc::downgrade(&first)];
        let lives = |_| Ok("0::/node".to_owned());
        let dead = |_| Err(io::ErrorKind::NotFound.into());
        let is_other_by_now = |_| Ok("0::/other".to_owned());

        assert!(!any_elsewhere(&callers, "0::/node", lives));
        assert!(any_elsewhere(&callers, "0::/thief", lives));
        assert!(!any_elsewhere(&callers, "0::/next", dead));
        assert!(!any_elsewhere(&callers, "0::/next", is_other_by_now));
        drop(first);
        assert!(!any_elsewhere(&callers, "0::/next", lives));
    }

    #[test]
    fn root_and_the_users_that_are_named_are_let_in_as_far_as_they_are_seen() {
        let mut users = Users::default();
        let user = User { namespace: Err(io::ErrorKind::Unsupported.into()), callers: Mutex::default() };
        users.0.insert(4711, user);
        let itself = Peer { uid: 4711, pid: std::process::id().cast_signed() };

        assert_eq!(users.admit(itself).unwrap().uid, 4711);
        assert!(users.admit(Peer { uid: 4711, pid: 0 }).unwrap_err().contains("hostPID"));
        assert!(users.admit(Peer { uid: 4712, ..itself }).unwrap_err().contains("not allowed"));
        assert_eq!(users.admit(Peer { uid: 0, pid: 0 }).unwrap().uid, 0);
    }
}
