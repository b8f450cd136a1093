//! Turns a snapshot into an answer of the protocol.

use csi_proto::provider::{File, MountResponse, ObjectVersion};
use engine::snapshot::{self, Snapshot};
use provider::{FileMode, ObjectPath};

/// Every file with its contents and a version. `mode` is for files whose class sets none.
pub(super) fn reply(snapshot: &Snapshot, mode: FileMode) -> MountResponse {
    MountResponse {
        object_version: snapshot.iter().map(version).collect(),
        error: None,
        files: snapshot.iter().map(|file| with_contents(file, mode)).collect(),
    }
}

/// The store's own name for the version. If it has none, a fingerprint that differs for different contents and reveals
/// nothing about them.
fn version((path, file): (&ObjectPath, &snapshot::File)) -> ObjectVersion {
    let version = file.version.clone().unwrap_or_else(|| file.fingerprint.to_string());
    ObjectVersion { id: path.to_string(), version }
}

fn with_contents((path, file): (&ObjectPath, &snapshot::File), mode: FileMode) -> File {
    let mode = i32::try_from(file.mode.unwrap_or(mode).bits()).unwrap_or(0);
    File { path: path.to_string(), mode, contents: file.contents.expose().to_vec() }
}
