//! Every rule for kubelet's requests, in one place. A request that passes is never checked again.

mod claims;
mod target;
mod tokens;

#[cfg(feature = "external")]
pub(crate) use tokens::own as own_tokens;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use class::ClassName;
use csi_proto::csi::volume_capability::{AccessType, MountVolume};
use csi_proto::csi::{NodeGetVolumeStatsRequest, NodePublishVolumeRequest, NodeUnpublishVolumeRequest};
use engine::mode::Appearance;
use engine::subject::Subject;
use engine::volume::{Credentials, Publish, VolumeId};
use provider::{Identity, Pod, SecretBytes};
use target::Target;

/// The prefix of attributes that kubelet sets.
const KUBELET: &str = "csi.storage.k8s.io/";
const EPHEMERAL: &str = "csi.storage.k8s.io/ephemeral";
pub(super) const POD_NAME: &str = "csi.storage.k8s.io/pod.name";
pub(super) const POD_NAMESPACE: &str = "csi.storage.k8s.io/pod.namespace";
const POD_UID: &str = "csi.storage.k8s.io/pod.uid";
const SERVICE_ACCOUNT: &str = "csi.storage.k8s.io/serviceAccount.name";
const TOKENS: &str = "csi.storage.k8s.io/serviceAccount.tokens";

/// The attribute that names the class.
const CLASS: &str = "secretProviderClass";

/// The most bytes of all attributes together, keys and values.
const MAX_ATTRIBUTES: usize = 64 * 1024;

/// A request that breaks a rule. Nothing was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// No such request can ever succeed.
    #[error("{0}")]
    Invalid(String),

    /// The pod information from kubelet is missing, so the pod's author could have written these attributes.
    #[error("{0}: the CSIDriver object lacks podInfoOnMount: true, or lists no Ephemeral lifecycle mode")]
    NoPodInfo(String),
}

type Result<T> = std::result::Result<T, Refusal>;

fn invalid<T>(message: impl Into<String>) -> Result<T> {
    Err(Refusal::Invalid(message.into()))
}

/// The rules, for one kubelet.
#[derive(Debug, Clone)]
pub struct Requests {
    /// Kubelet's directory of pods, in kubelet's own spelling: `<root>/pods`.
    pub pods: PathBuf,
}

impl Requests {
    /// Checks every rule. Returns what to publish, and the tokens and credentials that came with the request.
    pub(super) fn publish(
        &self,
        request: NodePublishVolumeRequest,
        timeout: Duration,
    ) -> Result<(Publish, Credentials)> {
        required("volume_id", &request.volume_id)?;
        required("target_path", &request.target_path)?;
        let appearance = appearance(mount_capability(&request)?)?;
        if !request.staging_target_path.is_empty() {
            return invalid("staging_target_path is set, but this driver has no stages");
        }
        if !request.readonly {
            return invalid("the volume is writable; set readOnly: true in the pod's csi volume");
        }
        let (mut attributes, mut secrets) = (request.volume_context, request.secrets);
        let raw_tokens = attributes.remove(TOKENS);
        bounded(&attributes)?;
        let told = PodInfo::take(&mut attributes)?;
        let target = Target::below(&self.pods, &request.target_path)?;
        target.belongs_to(&told.pod.uid, &request.volume_id)?;
        let tokens = secrets.remove(TOKENS).or(raw_tokens);
        let class = ClassName { namespace: told.namespace.clone(), name: take_class(&mut attributes)? };
        let (subject, tokens) = told.subject(tokens);
        let publish = Publish {
            id: VolumeId(request.volume_id),
            target: target.path,
            class,
            subject,
            attributes,
            appearance,
            timeout,
        };
        Ok((publish, Credentials { tokens, named: credentials(secrets) }))
    }

    /// Checks every rule. Returns what to unpublish.
    pub(super) fn unpublish(&self, request: NodeUnpublishVolumeRequest) -> Result<(VolumeId, PathBuf)> {
        required("volume_id", &request.volume_id)?;
        required("target_path", &request.target_path)?;
        let target = Target::below(&self.pods, &request.target_path)?;
        Ok((VolumeId(request.volume_id), target.path))
    }
}

/// The volume whose statistics are asked for. A volume that is not mounted has no statistics, so any path is accepted.
pub(super) fn stats(request: NodeGetVolumeStatsRequest) -> Result<(VolumeId, PathBuf)> {
    required("volume_id", &request.volume_id)?;
    required("volume_path", &request.volume_path)?;
    Ok((VolumeId(request.volume_id), PathBuf::from(request.volume_path)))
}

fn required(field: &str, value: &str) -> Result<()> {
    if value.is_empty() { invalid(format!("{field} is missing")) } else { Ok(()) }
}

fn mount_capability(request: &NodePublishVolumeRequest) -> Result<&MountVolume> {
    let Some(capability) = &request.volume_capability else { return invalid("volume_capability is missing") };
    match &capability.access_type {
        Some(AccessType::Mount(mount)) => Ok(mount),
        Some(AccessType::Block(_)) => invalid("block volumes are not served: a secret is a file"),
        None => invalid("volume_capability has no access type"),
    }
}

fn appearance(mount: &MountVolume) -> Result<Appearance> {
    let (fs_group, selinux_context) = (fs_group(mount)?, selinux_context(mount)?);
    Ok(Appearance { fs_group, selinux_context, ..Appearance::default() })
}

fn fs_group(mount: &MountVolume) -> Result<Option<u32>> {
    match mount.volume_mount_group.as_str() {
        "" => Ok(None),
        group => match group.parse() {
            Ok(group) => Ok(Some(group)),
            Err(_) => invalid(format!("volume_mount_group {group:?} is not a group's number")),
        },
    }
}

/// The SELinux label in `context=`, which kubelet quotes. Kubelet sends no other mount flag.
fn selinux_context(mount: &MountVolume) -> Result<Option<String>> {
    match mount.mount_flags.as_slice() {
        [] => Ok(None),
        [flag] => match flag.strip_prefix("context=").map(|label| label.trim_matches('"')) {
            Some(label) if is_label(label) => Ok(Some(label.to_owned())),
            _ => invalid(format!("mount flag {flag:?} is not served; only context=LABEL is")),
        },
        _ => invalid("more than one mount flag; only context=LABEL is served"),
    }
}

fn is_label(label: &str) -> bool {
    !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\')
}

fn bounded(attributes: &BTreeMap<String, String>) -> Result<()> {
    let bytes: usize = attributes.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes > MAX_ATTRIBUTES {
        return invalid(format!(
            "the volume's attributes have {bytes} bytes; at most {MAX_ATTRIBUTES} are allowed"
        ));
    }
    Ok(())
}

fn take_class(attributes: &mut BTreeMap<String, String>) -> Result<String> {
    match attributes.remove(CLASS) {
        Some(name) if !name.is_empty() => Ok(name),
        _ => invalid(
            "volumeAttributes lack secretProviderClass; name a SecretProviderClass of the pod's namespace",
        ),
    }
}

fn credentials(secrets: BTreeMap<String, String>) -> BTreeMap<String, SecretBytes> {
    secrets.into_iter().map(|(key, value)| (key, SecretBytes::from(value))).collect()
}

/// Kubelet's information about the pod.
struct PodInfo {
    pod: Pod,
    namespace: String,
    service_account: String,
}

impl PodInfo {
    /// Takes kubelet's keys out of `attributes`. Only those of the pod's author are left.
    fn take(attributes: &mut BTreeMap<String, String>) -> Result<Self> {
        if attributes.remove(EPHEMERAL).as_deref() != Some("true") {
            return Err(Refusal::NoPodInfo(format!("attribute {EPHEMERAL} is not \"true\"")));
        }
        let mut take = |key: &str| match attributes.remove(key) {
            Some(value) if !value.is_empty() => Ok(value),
            _ => Err(Refusal::NoPodInfo(format!("attribute {key} is missing"))),
        };
        let info = Self {
            pod: Pod { name: take(POD_NAME)?, uid: take(POD_UID)? },
            namespace: take(POD_NAMESPACE)?,
            service_account: take(SERVICE_ACCOUNT)?,
        };
        match attributes.keys().find(|key| key.starts_with(KUBELET)) {
            Some(key) => invalid(format!("kubelet does not set attribute {key:?}; remove it from the pod")),
            None => Ok(info),
        }
    }

    /// The subject of the request, and the tokens in `tokens` that belong to it.
    fn subject(self, tokens: Option<String>) -> (Subject, BTreeMap<String, SecretBytes>) {
        let identity = Identity::named(self.namespace, self.service_account);
        let (identity, tokens) = tokens::own(tokens, identity, &self.pod);
        (Subject { identity, pod: Some(self.pod) }, tokens)
    }
}

#[cfg(test)]
mod tests;
