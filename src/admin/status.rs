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
    /// The pod that it is for, if there is one.
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
    /// Whether it cannot be refreshed before kubelet sends tokens of the pod again.
    pub awaits_credentials: bool,
    /// Containers that mount single files of it by `subPath`, which no rotation reaches.
    #[serde(default)]
    pub sub_paths: Vec<String>,
    /// Why the volume is not as the store has it now.
    pub last_error: Option<String>,
    /// Other differences from what its class asks for, in sentences, for example about Kubernetes Secrets made from its
    /// files.
    #[serde(default)]
    pub remarks: Vec<String>,
    /// The objects that it reads, in the class's order.
    pub objects: Vec<ObjectStatus>,
    /// What its containers opened last since the process serves it. Missing where nobody knows who opens what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened: Option<Vec<OpenedStatus>>,
}

/// What one container opened last of one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenedStatus {
    /// Name of the container; `None` where there is none or it is not known.
    pub container: Option<String>,
    /// The object's `objectName`.
    pub object: String,
    /// The store's name for the version, or else its fingerprint.
    pub version: String,
    /// Seconds since it was opened last.
    pub last_seconds_ago: u64,
    /// How often it was opened, in all versions.
    pub count: u64,
}

/// A volume that was asked for and is not mounted. Its pod waits.
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
    /// The pod that it is for, if there is one.
    pub pod: Option<String>,
    /// How often it was refused.
    pub times: u64,
    /// Seconds since it was refused first.
    pub first_seconds_ago: u64,
    /// Seconds since it was refused last.
    pub last_seconds_ago: u64,
    /// The reason of the last refusal.
    pub reason: String,
}

impl WaitingStatus {
    /// Whether `text` names this volume: its id or `namespace/pod`.
    pub fn is(&self, text: &str) -> bool {
        self.volume == text || self.pod_name().is_some_and(|pod| pod == text)
    }

    /// `namespace/pod`, if there is a pod.
    pub fn pod_name(&self) -> Option<String> {
        self.pod.as_ref().map(|pod| format!("{}/{pod}", self.namespace))
    }
}

/// How one object of a volume is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectStatus {
    /// The object's `objectName` in its class.
    pub name: String,
    /// The path of its file. If the class wants no file for it, the path that the file would have.
    pub path: String,
    /// What the store is asked for, as the provider writes it.
    #[serde(default)]
    pub request: Option<String>,
    /// Path or name of the secret in its store, if it is known.
    #[serde(default)]
    pub secret: Option<String>,
    /// The key inside the secret.
    #[serde(default)]
    pub key: Option<String>,
    /// Composed files that hold it.
    #[serde(default)]
    pub composed: Vec<String>,
    /// The store's name for the version shown.
    pub version: Option<String>,
    /// Distinguishes versions of this file.
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
    /// The store does not answer. The file shows the last good contents.
    Stale,
    /// The store refuses it. The file shows the last good contents.
    Denied,
    /// The store revoked it. The file shows the last contents, because the class says so or because a second answer has
    /// not confirmed it yet.
    Revoked,
    /// The store does not have it, and the class allows that.
    Missing,
    /// It was removed from the volume.
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

    /// Whether it is in the state that the class wants.
    pub fn is_well(self) -> bool {
        matches!(self, Self::Fresh | Self::Missing)
    }
}

impl VolumeStatus {
    /// Whether `text` names this volume: its id, its target path, or `namespace/pod`.
    pub fn is(&self, text: &str) -> bool {
        self.volume == text
            || self.target == Path::new(text)
            || self.pod_name().is_some_and(|pod| pod == text)
    }

    /// Whether `text` is the beginning of this volume's id.
    pub fn begins_with(&self, text: &str) -> bool {
        !text.is_empty() && self.volume.starts_with(text)
    }

    /// `namespace/pod`, if there is a pod.
    pub fn pod_name(&self) -> Option<String> {
        self.pod.as_ref().map(|pod| format!("{}/{pod}", self.namespace))
    }

    /// Whether it shows exactly what the store has.
    pub fn is_well(&self) -> bool {
        self.last_error.is_none() && self.objects.iter().all(|object| object.state.is_well())
    }
}

#[cfg(test)]
pub(crate) mod samples {
    use super::*;

    /// A pod's volume whose store is away and had revoked one object before.
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
            opened: None,
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

    /// A volume that a new process took over before kubelet sent a token.
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
