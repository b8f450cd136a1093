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

use crate::ours::SOURCE;
use crate::verbs::locked;
use crate::{file_system, ours};

/// The users that are served beside root.
#[derive(Debug, Default)]
pub(crate) struct Users(BTreeMap<u32, User>);

#[derive(Debug)]
struct User {
    /// In which root is this user, or why there is none.
    namespace: Result<OwnedFd, io::Error>,
    /// The control groups of its callers that are connected.
    groups: Mutex<Weak<String>>,
}

/// Who asks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Caller<'a> {
    uid: u32,
    namespace: Option<BorrowedFd<'a>>,
}

impl Users {
    /// These users: to be called while there is one thread that has all capabilities.
    pub(crate) fn of(uids: &[u32]) -> Self {
        let user =
            |uid: &u32| (*uid, User { namespace: sys::user_namespace(*uid), groups: Mutex::default() });
        Self(uids.iter().map(user).collect())
    }

    pub(crate) fn are_there(&self) -> bool {
        !self.0.is_empty()
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
    /// What is returned holds the place.
    pub(crate) fn admit(&self, peer: sys::Peer) -> Result<Option<Arc<String>>, String> {
        let Some(user) = self.0.get(&peer.uid) else {
            return if peer.uid == 0 {
                Ok(None)
            } else {
                Err(format!("the user {} is not allowed", peer.uid))
            };
        };
        // In the pid namespace of another container there is none.
        let groups = fs::read_to_string(format!("/proc/{}/cgroup", peer.pid)).map_err(|error| {
            format!("process {} is not seen from here ({error}): the mounter needs hostPID", peer.pid)
        })?;
        let mut held = locked(&user.groups);
        let present = held.upgrade().unwrap_or_else(|| Arc::new(groups.clone()));
        if *present != groups {
            return Err(format!(
                "process {} of user {} is in another control group than its driver",
                peer.pid, peer.uid
            ));
        }
        *held = Arc::downgrade(&present);
        Ok(Some(present))
    }

    /// The caller that is `uid`.
    pub(crate) fn caller(&self, uid: u32) -> Caller<'_> {
        let namespace = self.0.get(&uid).and_then(|user| user.namespace.as_ref().ok());
        Caller { uid, namespace: namespace.map(|namespace| namespace.as_fd()) }
    }
}

impl Caller<'_> {
    /// A tmpfs that the caller can write to, by way of [`writable`](Self::writable).
    pub(crate) fn make(self, tmpfs: &Tmpfs, swap_allowed: bool) -> io::Result<OwnedFd> {
        let root = file_system::make(tmpfs, SOURCE, 0, swap_allowed)?;
        if self.uid == 0 || self.writable(root.as_fd()).is_ok() {
            return Ok(root);
        }
        // Before Linux 6.15, what is mounted nowhere has no second mount: there the files are the caller's.
        file_system::make(tmpfs, SOURCE, self.uid, swap_allowed)
    }

    /// The same root, where files are the caller's.
    pub(crate) fn writable(self, root: BorrowedFd<'_>) -> io::Result<OwnedFd> {
        if self.owns(root)? { root.try_clone_to_owned() } else { self.own(file_system::clone_of(root)?) }
    }

    /// Has what root owns be the caller's, through this mount that nobody else sees.
    pub(crate) fn own(self, root: OwnedFd) -> io::Result<OwnedFd> {
        if !self.owns(root.as_fd())? {
            let namespace = self.namespace.ok_or(io::ErrorKind::Unsupported)?;
            sys::show_owners_as(root.as_fd(), namespace)?;
        }
        Ok(root)
    }

    fn owns(self, root: BorrowedFd<'_>) -> io::Result<bool> {
        Ok(self.uid == 0 || ours::owner(root)? == self.uid)
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
        let itself = sys::Peer { uid: 4711, pid: std::process::id().cast_signed() };
        let elsewhere = Arc::new("0::/elsewhere\n".to_owned());
        *users.0[&4711].groups.lock().unwrap() = Arc::downgrade(&elsewhere);

        let reason = users.admit(itself).unwrap_err();
        drop(elsewhere);
        let first = users.admit(itself).unwrap();

        assert!(reason.contains("control group"), "{reason}");
        assert_eq!(first, users.admit(itself).unwrap());
        assert!(users.admit(sys::Peer { uid: 4711, pid: 0 }).unwrap_err().contains("hostPID"));
        assert!(users.admit(sys::Peer { uid: 4712, ..itself }).unwrap_err().contains("not allowed"));
        assert_eq!(users.admit(sys::Peer { uid: 0, pid: 0 }), Ok(None));
    }
}
