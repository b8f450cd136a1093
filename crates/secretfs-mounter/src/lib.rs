//! The privileged program `secretfs-mounter`, and the verbs that it does for `secretfs node`.
//!
//! It takes its callers for hostile: each verb asks [`Driver`] whose the target is. Other programs that are root
//! themselves, such as `secretfs mount`, do the same verbs by way of crate `mounter` on a [`Ground`] of their own.

mod blobs;
mod confinement;
mod driver;
pub mod file_system;
mod kubelet;
mod ours;
mod place;
mod process;
pub mod removal;
mod server;
mod sockets;
mod verbs;

pub use driver::{Driver, is_csi_target};
pub use ours::{LENT, SOURCE, TABLE, is_mount_root, is_tmpfs_from, mount_number, unique_number};
pub use place::{Ground, Place, Reach, absent};
pub use process::{Process, Settings};
pub use verbs::Verbs;
