//! Volumes that are mounted on this host and that no process serves.

use std::path::Path;

use crate::admin::VolumeStatus;
use crate::commands::running::{Heard, Served};
use crate::exit::Failure;
use crate::host::{Left, left};

/// Adds to the answers of processes the volumes that `secretfs mount --once`, or a killed process, left mounted.
///
/// # Errors
///
/// No process answers, and nothing is left.
pub(super) fn with_left(told: Result<Heard, Failure>, state: &Path) -> Result<Heard, Failure> {
    let left = left(state);
    let mut heard = match told {
        Err(_) if !left.is_empty() => Heard::default(),
        told => told?,
    };
    for left in left {
        let is_told = heard.volumes.iter().any(|served| served.volume.volume == left.record.id.0)
            || heard.silent.iter().any(|silent| silent.target.as_ref() == Some(&left.record.target));
        if !is_told {
            heard.volumes.push(Served { socket: state.to_owned(), volume: status(left) });
        }
    }
    Ok(heard)
}

/// What it means that no process serves a volume of mode fuse.
const NOBODY_ANSWERS: &str =
    "its process has ended: whoever uses its files gets errors, until the same command runs again";
/// And of one that needs none.
const NOT_KEPT_FRESH: &str = "no process keeps it fresh: it is as it was mounted (`secretfs mount --once`)";

fn status(left: Left) -> VolumeStatus {
    let record = left.record;
    let (last_error, remarks) = if record.mode == manifest::Mode::Fuse.name() {
        (Some(NOBODY_ANSWERS.to_owned()), Vec::new())
    } else {
        (None, vec![NOT_KEPT_FRESH.to_owned()])
    };
    VolumeStatus {
        volume: record.id.0,
        target: record.target,
        class: record.class.to_string(),
        namespace: record.namespace,
        service_account: record.service_account,
        files: record.files.len() as u64,
        last_error,
        remarks,
        ..VolumeStatus::default()
    }
}
