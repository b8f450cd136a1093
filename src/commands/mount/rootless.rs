//! `secretfs mount` for a user who may not mount.

use std::sync::Arc;

use engine::mode::Serving;
use mounter::{HostMounter, Mounter, UnprivilegedMounter};

use super::MountArgs;
use crate::exit::{Failure, Outcome};
use crate::host::Unprivileged;
use crate::process::Conduct;

/// Who mounts, and how this process serves what is mounted.
pub(super) fn by_whom(args: &MountArgs) -> (Arc<dyn Mounter>, Conduct) {
    let conduct = Conduct { fuse: Serving::Alone, ..Conduct::default() };
    if !args.rootless {
        return (Arc::new(HostMounter::default().allow_swap(args.allow_swap)), conduct);
    }
    tracing::info!("without root: fusermount3 mounts, and only this user can read the files");
    let mounter = Arc::new(UnprivilegedMounter::default());
    let front = Arc::new(Unprivileged::by(Arc::clone(&mounter)));
    (mounter, Conduct { unprivileged: Some(front), ..conduct })
}

/// Refuses what only root can do.
///
/// # Errors
///
/// The command line asks for it.
pub(super) fn refuse_what_needs_root(args: &MountArgs) -> Outcome {
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    if !args.rootless {
        return Ok(());
    }
    if args.once {
        return Err(Failure::usage(
            "--once needs root: without it the files are there as long as a process serves them",
        ));
    }
    if args.user.is_some_and(|wanted| wanted != user) || args.group.is_some_and(|wanted| wanted != group) {
        return Err(Failure::usage(
            "without root the files are yours alone: leave out --user and --group, or run this as root",
        ));
    }
    Ok(())
}
