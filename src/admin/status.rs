use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// How a volume is doing. Names, versions and times; no values.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct VolumeStatus {
    /// Id of the volume, as kubelet or `mount` gave it.
    pub volume: String,
    /// Where it is mounted.
    pub target: PathBuf,
    /// Its class, as `namespace/name`.
    pub class: String,
    /// Namespace of the pod, or the one that `mount` reads as.
    pub namespace: String,
    /// Service account of the pod, or the one that `mount` reads as.
    pub service_account: String,
    /// The pod it is for, where there is one.
    pub pod: Option<String>,
    /// Its provider, as the class names it, once the class is known.
    pub provider: Option<String>,
    /// The address of the store, or another name that is unique; known when the class is known.
    pub store: Option<String>,
    /// The identity that the store sees, after a login.
    pub identity: Option<String>,
    /// Number of files shown.
    pub files: u64,
    /// Bytes of all files that are shown.
    pub bytes: u64,
    /// Seconds since the store last confirmed all that is shown.
    pub confirmed_seconds_ago: Option<u64>,
    /// Seconds until the store is asked next, as far as is planned.
    pub next_try_in_seconds: Option<u64>,
    /// Whether it cannot be refreshed before kubelet brings the pod's tokens again.
    pub awaits_credentials: bool,
    /// Containers that mount single files of it by `subPath`, which no rotation reaches.
    #[serde(default)]
    pub sub_paths: Vec<String>,
    /// Why the volume is not as the store has it now.
    pub last_error: Option<String>,
    /// What else is not as its class wants it, in sentences: Kubernetes Secrets made of its files.
    #[serde(default)]
    pub remarks: Vec<String>,
    /// What it reads, in the class's order.
    pub objects: Vec<ObjectStatus>,
}

/// A volume that was asked for and is not mounted: its pod waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingStatus {
    /// Id of the volume, as kubelet gave it.
    pub volume: String,
    /// Its class, as `namespace/name`.
    pub class: String,
    /// Namespace of the pod.
    pub namespace: String,
    /// Service account of the pod.
    pub service_account: String,
    /// The pod it is for, where there is one.
    pub pod: Option<String>,
    /// How often it was refused.
    pub times: u64,
    /// Seconds since it was refused first.
    pub first_seconds_ago: u64,
    /// Seconds since it was refused last.
    pub last_seconds_ago: u64,
    /// Why, the last time.
    pub reason: String,
}

impl WaitingStatus {
    /// Whether `text` means this volume: its id or `namespace/pod`.
    pub fn is(&self, text: &str) -> bool {
        self.volume == text || self.pod_name().is_some_and(|pod| pod == text)
    }

    /// `namespace/pod`, where there is a pod.
    pub fn pod_name(&self) -> Option<String> {
        self.pod.as_ref().map(|pod| format!("{}/{pod}", self.namespace))
    }
}

/// How one object of a volume is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectStatus {
    /// The object's `objectName` in its class.
    pub name: String,
    /// Its file; where its class wants none of its own, the path that it would have.
    pub path: String,
    /// What the store is asked for, in the words of its provider.
    #[serde(default)]
    pub request: Option<String>,
    /// Path or name of the secret in its store, as far as it is known.
    #[serde(default)]
    pub secret: Option<String>,
    /// The one of the secret's keys.
    #[serde(default)]
    pub key: Option<String>,
    /// Composed files that hold it.
    #[serde(default)]
    pub composed: Vec<String>,
    /// The store's name for the version shown.
    pub version: Option<String>,
    /// Tells versions of this file apart.
    pub fingerprint: Option<String>,
    /// How it is doing.
    pub state: ObjectState,
    /// Seconds since the store last confirmed what is shown.
    pub confirmed_seconds_ago: Option<u64>,
    /// The store's last refusal or failure, while it lasts.
    pub last_error: Option<String>,
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
    /// The store revoked it. The last contents are shown, because the class says so or because it is not confirmed yet.
    Revoked,
    /// The store does not have it, and the class allows that.
    Missing,
    /// It was withdrawn from the volume.
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

#[cfg(test)]
pub(crate) mod samples {
    use super::*;

    /// A pod's volume whose store is away and has taken one object back before.
    pub(crate) fn ailing() -> VolumeStatus {
        let object = |name: &str, state, error: Option<&str>| ObjectStatus {
            name: name.to_owned(),
            path: name.replace('/', "-"),
            request: None,
            secret: None,
            key: None,
            composed: Vec::new(),
            version: Some("4".to_owned()),
            fingerprint: Some("00112233445566778899aabb".to_owned()),
            state,
            confirmed_seconds_ago: Some(300),
            last_error: error.map(str::to_owned),
        };
        VolumeStatus {
            volume: "csi-8d2ac6f1b0a94c53".to_owned(),
            target: "/var/lib/kubelet/pods/77/volumes/kubernetes.io~csi/db/mount".into(),
            class: "shop/db".to_owned(),
            namespace: "shop".to_owned(),
            service_account: "web".to_owned(),
            pod: Some("web-1".to_owned()),
            provider: Some("vault".to_owned()),
            store: Some("https://vault.example:8200".to_owned()),
            identity: Some("kubernetes role web, service account shop/web".to_owned()),
            files: 2,
            bytes: 420,
            confirmed_seconds_ago: Some(300),
            next_try_in_seconds: Some(12),
            awaits_credentials: false,
            sub_paths: Vec::new(),
            last_error: Some("the store is away; see that it can be reached from this node".to_owned()),
            remarks: vec!["Secret db is not made, for there is one that is not managed".to_owned()],
            objects: vec![
                object("db/user", ObjectState::Fresh, None),
                object("db/password", ObjectState::Stale, Some("connection refused")),
                object("api-key", ObjectState::Withdrawn, Some("version 4 was destroyed")),
            ],
        }
    }

    /// A volume on a plain host that shows what the store has.
    pub(crate) fn well() -> VolumeStatus {
        let mut volume = ailing();
        volume.volume = "mount-4711".to_owned();
        volume.target = "/mnt/app".into();
        volume.pod = None;
        volume.provider = Some("secretfs".to_owned());
        volume.store = None;
        volume.identity = None;
        volume.last_error = None;
        volume.remarks = Vec::new();
        volume.confirmed_seconds_ago = Some(3);
        volume.objects.truncate(1);
        volume
    }

    /// A pod that cannot start.
    pub(crate) fn refused() -> WaitingStatus {
        WaitingStatus {
            volume: "csi-77aa".to_owned(),
            class: "shop/db".to_owned(),
            namespace: "shop".to_owned(),
            service_account: "web".to_owned(),
            pod: Some("web-2".to_owned()),
            times: 4,
            first_seconds_ago: 185,
            last_seconds_ago: 12,
            reason: "object db/user: permission denied for role web; let its policy read secret/data/db"
                .to_owned(),
        }
    }

    /// A volume that was taken over by a new process before kubelet came with a token.
    pub(crate) fn waiting() -> VolumeStatus {
        VolumeStatus {
            provider: None,
            store: None,
            identity: None,
            confirmed_seconds_ago: None,
            next_try_in_seconds: None,
            awaits_credentials: true,
            last_error: None,
            remarks: Vec::new(),
            objects: Vec::new(),
            ..ailing()
        }
    }
}
