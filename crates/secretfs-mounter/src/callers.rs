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
    /// The control groups of its callers that are connected.
    groups: Mutex<Weak<String>>,
}

/// Who asks; root if nothing else is said.
#[derive(Debug, Default)]
pub struct Caller {
    uid: u32,
    namespace: Option<Arc<OwnedFd>>,
    /// Held while it is connected: others of its user have to be in the same.
    _groups: Option<Arc<String>>,
}

impl Users {
    /// These users: to be called while there is one thread that has all capabilities.
    pub(crate) fn of(uids: &[u32]) -> Self {
        let namespace = |uid| sys::user_namespace(uid).map(Arc::new);
        let user = |&uid: &u32| (uid, User { namespace: namespace(uid), groups: Mutex::default() });
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

    /// The callers of one user have to be in the same control groups: those of who came first, until all of these have gone.
    pub(crate) fn admit(&self, Peer { uid, pid }: Peer) -> Result<Caller, String> {
        if uid == 0 {
            return Ok(Caller::default());
        }
        let user = self.0.get(&uid).ok_or_else(|| format!("the user {uid} is not allowed"))?;
        // In the pid namespace of another container there is none.
        let unseen =
            |error| format!("process {pid} is not seen from here ({error}): the mounter needs hostPID");
        let own = fs::read_to_string(format!("/proc/{pid}/cgroup")).map_err(unseen)?;
        let mut held = locked(&user.groups);
        let groups = held.upgrade().unwrap_or_else(|| Arc::new(own.clone()));
        if *groups != own {
            return Err(format!("process {pid} of user {uid} is in another control group than its driver"));
        }
        *held = Arc::downgrade(&groups);
        let namespace = user.namespace.as_ref().ok().cloned();
        Ok(Caller { uid, namespace, _groups: Some(groups) })
    }
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
    pub(crate) fn writable(&self, root: BorrowedFd<'_>) -> io::Result<OwnedFd> {
        if self.owns(root)? { root.try_clone_to_owned() } else { self.own(file_system::clone_of(root)?) }
    }

    /// Has what root owns be the caller's, through this mount that nobody else sees.
    pub(crate) fn own(&self, root: OwnedFd) -> io::Result<OwnedFd> {
        if !self.owns(root.as_fd())? {
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
    fn a_caller_of_the_same_user_in_another_control_group_is_let_in_only_when_the_first_has_gone() {
        let mut users = Users::default();
        let user = User { namespace: Err(io::ErrorKind::Unsupported.into()), groups: Mutex::default() };
        users.0.insert(4711, user);
        let itself = Peer { uid: 4711, pid: std::process::id().cast_signed() };
        let elsewhere = Arc::new("0::/elsewhere\n".to_owned());
        *users.0[&4711].groups.lock().unwrap() = Arc::downgrade(&elsewhere);

        let reason = users.admit(itself).unwrap_err();
        drop(elsewhere);
        let first = users.admit(itself).unwrap();

        assert!(reason.contains("control group"), "{reason}");
        assert_eq!(first.uid, 4711);
        assert!(Arc::ptr_eq(&first._groups.unwrap(), &users.admit(itself).unwrap()._groups.unwrap()));
        assert!(users.admit(Peer { uid: 4711, pid: 0 }).unwrap_err().contains("hostPID"));
        assert!(users.admit(Peer { uid: 4712, ..itself }).unwrap_err().contains("not allowed"));
        assert_eq!(users.admit(Peer { uid: 0, pid: 0 }).unwrap().uid, 0);
    }
}
