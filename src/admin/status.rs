use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// How a volume is doing. Names, versions and times; no values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeStatus {
    /// Its id.
    pub volume: String,
    /// Where it is mounted.
    pub target: PathBuf,
    /// Its class, as `namespace/name`.
    pub class: String,
    /// Namespace of whom it is for.
    pub namespace: String,
    /// Service account of whom it is for.
    pub service_account: String,
    /// The pod it is for, where there is one.
    pub pod: Option<String>,
    /// Its provider, as the class names it.
    pub provider: String,
    /// The store's address, or what else tells it from others.
    pub store: String,
    /// As whom the store knows the reader, once there was a login.
    pub identity: Option<String>,
    /// How the files are shown: `tmpfs`.
    pub mode: String,
    /// Number of files shown.
    pub files: u64,
    /// Bytes shown.
    pub bytes: u64,
    /// Seconds since the store was last asked.
    pub last_refresh_seconds_ago: Option<u64>,
    /// Seconds until the store is asked next, as far as is planned.
    pub next_refresh_in_seconds: Option<u64>,
    /// Why the volume is not as the store has it now.
    pub last_error: Option<String>,
    /// What it reads, in the class's order.
    pub objects: Vec<ObjectStatus>,
}

/// How one object of a volume is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectStatus {
    /// `objectName`.
    pub name: String,
    /// Its file.
    pub path: String,
    /// The store's name for the version shown.
    pub version: Option<String>,
    /// Tells versions of this file apart.
    pub fingerprint: Option<String>,
    /// How it is doing.
    pub state: ObjectState,
    /// Seconds since the store last confirmed what is shown.
    pub age_seconds: Option<u64>,
    /// The store's last refusal or failure, while it lasts.
    pub last_error: Option<String>,
    /// Seconds until the store is asked for it next, as far as is planned.
    pub next_try_in_seconds: Option<u64>,
}

/// How an object is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ObjectState {
    /// The store confirmed it at the last try.
    Fresh,
    /// The store does not answer; the last good contents are shown.
    Stale,
    /// The store refuses it; the last good contents are shown.
    Denied,
    /// The store took it back; the last contents are shown, for the class says so or it is not confirmed yet.
    Revoked,
    /// The store has none, and the class allows that.
    Missing,
    /// It was taken back from the volume.
    Withdrawn,
}

impl ObjectState {
    /// The state in one word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Stale => "stale",
            Self::Denied => "denied",
            Self::Revoked => "revoked",
            Self::Missing => "missing",
            Self::Withdrawn => "withdrawn",
        }
    }

    /// Whether it is as the class wants it.
    pub fn is_well(self) -> bool {
        matches!(self, Self::Fresh | Self::Missing)
    }
}

impl VolumeStatus {
    /// Whether `text` means this volume: its id, its target path, or `namespace/pod`.
    pub fn is(&self, text: &str) -> bool {
        self.volume == text
            || self.target == Path::new(text)
            || self.pod_name().is_some_and(|pod| pod == text)
    }

    /// Whether `text` is the beginning of this volume's id.
    pub fn begins_with(&self, text: &str) -> bool {
        !text.is_empty() && self.volume.starts_with(text)
    }

    /// `namespace/pod`, where there is a pod.
    pub fn pod_name(&self) -> Option<String> {
        self.pod.as_ref().map(|pod| format!("{}/{pod}", self.namespace))
    }

    /// Whether everything it shows is what the store has.
    pub fn is_well(&self) -> bool {
        self.last_error.is_none() && self.objects.iter().all(|object| object.state.is_well())
    }
}
