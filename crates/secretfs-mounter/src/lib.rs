//! The privileged program `secretfs-mounter`, and the verbs that it does for `secretfs node`.
//!
//! It takes its callers for hostile: each verb asks [`Driver`] whose the target is. Other programs that are root
//! themselves, such as `secretfs mount`, do the same verbs by way of crate `mounter` on a [`Ground`] of their own.
//!
//! Somebody has to read all of it, so it is small. Lines of code, without comments and tests:
//!
//! | concern | files | lines |
//! |---|---|---|
//! | which verb may be done where | `verbs` | 175 |
//! | file systems, tmpfs and FUSE: make, show, enter, resize, unmount; names in FUSE volumes | `file_system` | 180 |
//! | a path as a directory that is held open, without links | `place` | 85 |
//! | whose a target is, by kubelet's record, and whose a mount, by the kernel | `driver` `kubelet` `ours` | 160 |
//! | files of others on the disk below a target | `removal` | 70 |
//! | sockets that outlive `node`, and connections to providers | `sockets` | 90 |
//! | what outlives `node` under a name: bounded and wiped | `kept` | 60 |
//! | open files of FUSE volumes that outlive `node`; no program waits for these for good | `files` | 75 |
//! | an earlier mounter that was killed and cannot end | `predecessor` | 60 |
//! | who may ask, how many at once, and as whose they see files | `server` `callers` | 205 |
//! | which capabilities it keeps, and which system calls | `confinement` `confinement/calls` | 95 |
//! | from the settings to a process that serves | `process` `lib` | 100 |
//! | command line, environment, exit codes | `bin/secretfs-mounter/main` `bin/secretfs-mounter/arguments` | 145 |
//!
//! The crates `mounter-protocol` (390 lines), `program`, `sys` and `mountinfo` are linked too; other programs use them as
//! well. `tests/lines.rs` compares the table with the files, and does not let this crate and the protocol grow.

mod callers;
mod confinement;
mod driver;
pub mod file_system;
mod files;
mod kept;
mod kubelet;
mod ours;
mod place;
mod predecessor;
mod process;
pub mod removal;
mod server;
mod sockets;
mod verbs;

pub use callers::Caller;
pub use driver::{Driver, is_csi_target};
pub use ours::{LENT, SOURCE, is_file_system_of_ours};
pub use place::{Ground, Place, Reach, absent};
pub use process::{Process, Settings};
pub use verbs::{Answer, Verbs};
