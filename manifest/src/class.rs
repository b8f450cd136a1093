use std::collections::BTreeMap;

use provider::Parameters;

use crate::Settings;

/// A SecretProviderClass (`secrets-store.csi.x-k8s.io`, v1 or v1alpha1), as far as a node needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Class {
    /// `metadata.namespace`; `default` where the file says none.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `spec.provider`.
    pub provider: String,
    /// `spec.parameters` without the keys of ours, save those in [`SHARED_WITH_PROVIDERS`](crate::SHARED_WITH_PROVIDERS).
    pub parameters: Parameters,
    /// The keys of ours, understood.
    pub settings: Settings,
    /// `spec.secretObjects`.
    pub secret_objects: Vec<SecretObject>,
}

/// A Kubernetes Secret to be made of mounted files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretObject {
    /// `secretName`.
    pub secret_name: String,
    /// `type`; `Opaque` where the class says none.
    pub kind: String,
    /// Labels of the Secret.
    pub labels: BTreeMap<String, String>,
    /// Annotations of the Secret.
    pub annotations: BTreeMap<String, String>,
    /// Its keys.
    pub data: Vec<SecretObjectData>,
}

/// One key of a [`SecretObject`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretObjectData {
    /// The file's path in the volume.
    pub object_name: String,
    /// The key in the Secret.
    pub key: String,
}
