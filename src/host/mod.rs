//! What replaces kubelet on a host without Kubernetes: one name and one owner for each target, and the mounts that a
//! process leaves behind.

mod ids;
mod left;
mod owner;
mod target;
mod unprivileged;

pub use ids::{group_id, user_id};
pub use left::{Left, left, none_hidden};
pub use owner::{NotOwned, Owner};
pub use target::{MadeDirectories, resolve};
pub use unprivileged::{Unprivileged, is_root, mounter};

use std::path::{Path, PathBuf};

/// The directory below the host's state directory for everything that must survive the process that mounts at `target`.
/// `target` is as [`resolve`] returns it.
pub fn state_of(state: &Path, target: &Path) -> PathBuf {
    state.join("mounts").join(name_of(target))
}

/// A name for files that belong to the mount at `target`.
pub fn name_of(target: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, target.as_os_str().as_bytes());
    digest.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
