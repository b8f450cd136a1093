use std::fmt;
use std::sync::Arc;

/// Who asks, as the kernel tells it with the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// The thread, as counted in the process namespace of who mounted the volume; 0 if it is not to be seen there. It
    /// lives until its request is answered.
    pub tid: u32,
    /// User. `u32::MAX` where the kernel does not tell: of opens and reads it never does if the mount may be idmapped. Then
    /// only the thread tells.
    pub uid: u32,
    /// Group, likewise.
    pub gid: u32,
}

/// What a caller wants to do with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Open it.
    Open,
    /// Read from a handle that was opened, by the same caller or another.
    Read,
}

/// Who a caller is, as far as its policy asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// The policy does not ask.
    Anybody,
    /// Nobody that the policy knows.
    Stranger,
    /// Somebody who could not be recognised at this moment.
    NotYet,
    /// The policy knows it by this name.
    Named(Arc<str>),
}

/// One use of a file that is to be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access<'a> {
    /// Who, as the kernel tells it.
    pub caller: Caller,
    /// Who, as the policy [recognised](Policy::recognise) it.
    pub who: &'a Who,
    /// Which file, by its path in the edition.
    pub path: &'a str,
    /// The number of that edition; of a read, the handle.
    pub edition: u64,
    /// What for.
    pub purpose: Purpose,
    /// Whether the contents are here. If not, somebody is asked for them next, who may still refuse.
    pub is_here: bool,
}

/// What a policy says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ruling {
    /// The caller may.
    Allow,
    /// The caller may not: `EACCES`.
    Deny,
    /// Not known yet, since who the caller is takes time to learn. The caller waits, and is judged again until its
    /// deadline; then it may not.
    NotYet,
}

/// Judges each open and each read. It is asked by threads that others wait for, so it never waits itself.
pub trait Policy: fmt::Debug + Send + Sync {
    /// Who asks, for this. It may make system calls that wait for nobody: nothing of the volume is locked meanwhile.
    fn recognise(&self, _caller: Caller, _purpose: Purpose) -> Who {
        Who::Anybody
    }

    /// Whether this may be. The volume is locked meanwhile. An open that may be, of a file that is here, is done.
    fn judge(&self, access: &Access<'_>) -> Ruling;
}

/// The policy of volumes without rules.
#[derive(Debug, Clone, Copy)]
pub struct AllowAll;

impl Policy for AllowAll {
    fn judge(&self, _access: &Access<'_>) -> Ruling {
        Ruling::Allow
    }
}
