//! The records of volumes, which survive a restart of this process. They never hold a value or a token.
//!
//! Each volume has one JSON file in the state directory. That directory is on a tmpfs, so a reboot removes it.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use manifest::{AccessRules, Class};
use mounter::MountId;
use provider::{FileMode, Identity, Pod};
use serde::{Deserialize, Serialize};

use crate::mode::{Appearance, Confinement};
use crate::snapshot::{File, Fingerprint, Snapshot};
use crate::subject::Subject;
use crate::volume::{ClassName, Publish, VolumeId};

/// What a manifest with access rules contains.
const ACCESS: &str = "secretfs.dev/access\"";

/// What the next process must know of a published volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeRecord {
    /// The volume's id.
    pub id: VolumeId,
    /// The path where it is mounted.
    pub target: PathBuf,
    /// The identity of the mount, as the process saw it that made it. Records of earlier versions have none.
    #[serde(default)]
    pub mount: Option<MountId>,
    /// The name of the mode that shows the files. Records of earlier versions have none: their mode was tmpfs.
    #[serde(default = "earlier_mode")]
    pub mode: String,
    /// The class whose objects it shows.
    pub class: ClassName,
    /// Namespace of the workload.
    pub namespace: String,
    /// Service account of the workload.
    pub service_account: String,
    /// Uid of the service account, if it was known. Records of earlier versions have none.
    #[serde(default)]
    pub account_uid: Option<String>,
    /// Name and uid of the pod.
    pub pod: Option<(String, String)>,
    /// Whether the files are read when they are opened. Records of earlier versions do not say: their files were read
    /// before.
    #[serde(default)]
    pub on_open: bool,
    /// Whether the workload came with tokens or credentials. These themselves are not recorded.
    pub had_credentials: bool,
    /// The pod author's volume attributes.
    pub attributes: BTreeMap<String, String>,
    /// The manifest of the class that this volume followed last. The next process uses it if it cannot learn of the
    /// class, or if the class is gone. Records of earlier versions have none.
    #[serde(default)]
    pub manifest: Option<String>,
    /// Group of the files.
    pub fs_group: Option<u32>,
    /// Owner of the files, if only the owner may read them.
    #[serde(default)]
    pub owner: Option<u32>,
    /// SELinux label of the mount.
    pub selinux_context: Option<String>,
    /// The files that are shown, by path.
    pub files: BTreeMap<String, RecordedFile>,
}

/// The version of a file that is shown, never its contents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedFile {
    /// Identifies the contents without telling them.
    pub fingerprint: Fingerprint,
    /// Permission bits, if the class sets them.
    pub mode: Option<u32>,
    /// The store's name for the version, if it has one.
    #[serde(default)]
    pub version: Option<String>,
}

impl VolumeRecord {
    /// The record of `publish`, whose mode `mode` shows `snapshot` through `mount`. `class` is `None` if it is not
    /// known. Says that no credentials came; see [`with_credentials`](Self::with_credentials).
    pub fn new(
        publish: &Publish,
        class: Option<&Class>,
        snapshot: &Snapshot,
        mode: &str,
        mount: Option<MountId>,
    ) -> Self {
        let Subject { identity, pod } = &publish.subject;
        Self {
            id: publish.id.clone(),
            target: publish.target.clone(),
            mount,
            mode: mode.to_owned(),
            class: publish.class.clone(),
            namespace: identity.namespace.clone(),
            service_account: identity.name.clone(),
            account_uid: identity.uid.clone(),
            pod: pod.as_ref().map(|pod| (pod.name.clone(), pod.uid.clone())),
            on_open: false,
            had_credentials: false,
            attributes: publish.attributes.clone(),
            manifest: class.map(Class::manifest),
            fs_group: publish.appearance.fs_group,
            owner: publish.appearance.owner,
            selinux_context: publish.appearance.selinux_context.clone(),
            files: files(snapshot),
        }
    }

    /// The same record, which says whether the volume came with tokens or credentials, now or earlier.
    #[must_use]
    pub fn with_credentials(self, came: bool) -> Self {
        Self { had_credentials: came, ..self }
    }

    /// The same record, which says whether the volume's files are read when they are opened.
    #[must_use]
    pub fn read_on_open(self, they_are: bool) -> Self {
        Self { on_open: they_are, ..self }
    }

    /// The class that the volume followed last.
    pub fn last_class(&self) -> Option<Class> {
        Class::read(self.manifest.as_ref()?).ok()?.pop()
    }

    /// The access rules that the volume followed last. Nobody may open anything where they cannot be read.
    pub fn confinement(&self) -> Option<Confinement> {
        let rules = match self.last_class() {
            Some(class) => class.settings.access,
            None if self.manifest.as_ref().is_some_and(|text| text.contains(ACCESS)) => AccessRules::nobody(),
            None => return None,
        };
        let pod = self.pod.as_ref().map(|(_, uid)| uid.clone()).unwrap_or_default();
        (!rules.is_empty()).then_some(Confinement { pod, rules })
    }

    /// Owner, group and SELinux label of the files.
    pub fn appearance(&self) -> Appearance {
        Appearance {
            fs_group: self.fs_group,
            owner: self.owner,
            selinux_context: self.selinux_context.clone(),
            ..Appearance::default()
        }
    }

    /// The request that made the volume. Its timeout is zero.
    pub fn publish(&self) -> Publish {
        let pod = self.pod.as_ref().map(|(name, uid)| Pod { name: name.clone(), uid: uid.clone() });
        Publish {
            id: self.id.clone(),
            target: self.target.clone(),
            class: self.class.clone(),
            subject: Subject {
                identity: Identity {
                    namespace: self.namespace.clone(),
                    name: self.service_account.clone(),
                    uid: self.account_uid.clone(),
                },
                pod,
            },
            attributes: self.attributes.clone(),
            appearance: self.appearance(),
            timeout: std::time::Duration::ZERO,
        }
    }
}

/// The mode of records of earlier versions, which did not name it.
fn earlier_mode() -> String {
    manifest::Mode::Tmpfs.name().to_owned()
}

fn files(snapshot: &Snapshot) -> BTreeMap<String, RecordedFile> {
    let recorded = |file: &File| RecordedFile {
        fingerprint: file.fingerprint.clone(),
        mode: file.mode.map(FileMode::bits),
        version: file.version.clone(),
    };
    snapshot.iter().map(|(path, file)| (path.to_string(), recorded(file))).collect()
}

/// The directory of records.
#[derive(Debug, Clone)]
pub struct Records(PathBuf);

impl Records {
    /// Opens the records below `state`. Only this user may read them.
    ///
    /// # Errors
    ///
    /// The directory cannot be made.
    pub fn open(state: &Path) -> io::Result<Self> {
        let directory = state.join("volumes");
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        Ok(Self(directory))
    }

    /// Writes a record atomically.
    ///
    /// # Errors
    ///
    /// The file system refuses. The old record stays.
    pub fn save(&self, record: &VolumeRecord) -> io::Result<()> {
        let path = self.path(&record.id);
        let partial = path.with_extension("partial");
        let text = serde_json::to_vec(record)?;
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
        io::Write::write_all(&mut file, &text)?;
        std::fs::rename(partial, path)
    }

    /// Removes a record, if there is one.
    ///
    /// # Errors
    ///
    /// The file system refuses.
    pub fn remove(&self, id: &VolumeId) -> io::Result<()> {
        match std::fs::remove_file(self.path(id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The record of one volume. `None` if there is none or it cannot be read.
    pub fn of(&self, id: &VolumeId) -> Option<VolumeRecord> {
        read(&self.path(id)).ok()
    }

    /// Every record that can be read. Other records are logged and removed: kubelet's next call finds those volumes
    /// again.
    ///
    /// # Errors
    ///
    /// The directory cannot be read, or a broken record cannot be removed.
    pub fn load(&self) -> io::Result<Vec<VolumeRecord>> {
        let mut records = Vec::new();
        for entry in std::fs::read_dir(&self.0)? {
            let path = entry?.path();
            match read(&path) {
                Ok(record) => records.push(record),
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "a volume record cannot be read and is dropped");
                    std::fs::remove_file(&path)?;
                }
            }
        }
        Ok(records)
    }

    /// The file of a record. Its name is a digest, because a volume id is a text from outside and might name another
    /// directory.
    fn path(&self, id: &VolumeId) -> PathBuf {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, id.0.as_bytes());
        let name: String = digest.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        self.0.join(name).with_extension("json")
    }
}

/// Every record below `state` that can be read. Changes nothing, for commands that only look.
pub fn all_of(state: &Path) -> Vec<VolumeRecord> {
    let Ok(entries) = std::fs::read_dir(state.join("volumes")) else { return Vec::new() };
    entries.flatten().filter_map(|entry| read(&entry.path()).ok()).collect()
}

fn read(path: &Path) -> io::Result<VolumeRecord> {
    if path.extension().is_none_or(|extension| extension != "json") {
        return Err(io::Error::other("it was not finished"));
    }
    Ok(serde_json::from_slice(&std::fs::read(path)?)?)
}

#[cfg(test)]
mod tests {
    use provider::ObjectPath;

    use super::*;
    use crate::snapshot::FingerprintKey;

    fn class() -> Class {
        let class = "{apiVersion: secrets-store.csi.x-k8s.io/v1, kind: SecretProviderClass, \
            metadata: {name: c, namespace: ns}, spec: {provider: fake, parameters: {a: b}}}";
        Class::read(class).unwrap().remove(0)
    }

    fn record(id: &str) -> VolumeRecord {
        let key = FingerprintKey::new(&[7; 32]);
        let path = ObjectPath::try_from("db/pass").unwrap();
        let fingerprint = key.fingerprint(&path, b"hunter2");
        let file = File { contents: b"hunter2".to_vec().into(), mode: None, fingerprint, version: None };
        let publish = VolumeRecord {
            id: VolumeId(id.to_owned()),
            target: "/t".into(),
            mount: None,
            mode: earlier_mode(),
            class: ClassName { namespace: "ns".to_owned(), name: "c".to_owned() },
            namespace: "ns".to_owned(),
            service_account: "sa".to_owned(),
            account_uid: Some("sa-uid".to_owned()),
            pod: Some(("p".to_owned(), "u".to_owned())),
            on_open: false,
            had_credentials: true,
            attributes: BTreeMap::new(),
            manifest: None,
            fs_group: Some(7),
            owner: None,
            selinux_context: None,
            files: BTreeMap::new(),
        }
        .publish();
        let shown = [(path, file)].into_iter().collect();
        VolumeRecord::new(&publish, Some(&class()), &shown, "tmpfs", None).with_credentials(true)
    }

    #[test]
    fn a_record_comes_back_as_it_was_saved_and_holds_no_value() {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::open(dir.path()).unwrap();
        records.save(&record("csi-1")).unwrap();

        assert_eq!(records.load().unwrap(), [record("csi-1")]);
        assert_eq!(record("csi-1").last_class(), Some(class()));
        let file = std::fs::read_dir(dir.path().join("volumes")).unwrap().next().unwrap().unwrap();
        let text = std::fs::read_to_string(file.path()).unwrap();
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    fn an_id_that_looks_like_a_path_stays_in_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::open(dir.path()).unwrap();
        records.save(&record("../../escaped")).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        records.remove(&VolumeId("../../escaped".to_owned())).unwrap();
        assert!(records.load().unwrap().is_empty());
    }

    #[test]
    fn a_record_of_an_earlier_version_is_one_of_a_tmpfs_without_its_class_and_its_mount() {
        let mut text = serde_json::to_value(record("csi-1")).unwrap();
        for later in ["manifest", "mount", "mode", "owner", "on_open"] {
            text.as_object_mut().unwrap().remove(later);
        }

        let record = serde_json::from_value::<VolumeRecord>(text).unwrap();

        assert_eq!((record.last_class(), record.mount, record.mode.as_str()), (None, None, "tmpfs"));
    }

    #[test]
    fn a_half_written_record_is_dropped_and_the_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::open(dir.path()).unwrap();
        records.save(&record("whole")).unwrap();
        std::fs::write(dir.path().join("volumes/ab.partial"), b"{").unwrap();
        std::fs::write(dir.path().join("volumes/cd.json"), b"{").unwrap();

        assert_eq!(records.load().unwrap().len(), 1);
        assert_eq!(std::fs::read_dir(dir.path().join("volumes")).unwrap().count(), 1);
    }
}
