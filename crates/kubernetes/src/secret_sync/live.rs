//! A Secret as the API server has it, and who wrote which part of it. Pure.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, OwnerReference};
use provider::SecretBytes;
use serde_json::Value;

/// Label of Secrets that may be written. The upstream driver uses the same.
pub(super) const MANAGED: &str = "secrets-store.csi.k8s.io/managed";

/// A Secret as the API server has it.
#[derive(Debug, Clone, Default)]
pub(super) struct Live {
    /// `metadata.uid`.
    pub(super) uid: String,
    /// `metadata.resourceVersion`.
    pub(super) version: String,
    /// Whether its label says that it may be written.
    pub(super) managed: bool,
    /// `type` of the Secret, which is never changed.
    pub(super) kind: String,
    /// All labels, no matter who wrote them.
    pub(super) labels: BTreeMap<String, String>,
    /// All annotations, no matter who wrote them.
    pub(super) annotations: BTreeMap<String, String>,
    /// Its keys and their values.
    pub(super) data: BTreeMap<String, SecretBytes>,
    /// All owners, no matter who wrote them.
    pub(super) owners: Vec<OwnerReference>,
    /// The field managers that wrote it.
    pub(super) writers: Vec<Writer>,
}

/// A field manager that wrote fields of a Secret.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Writer {
    /// The field manager's name.
    pub(super) name: String,
    /// Whether it writes by server-side apply, which removes the fields that it leaves out.
    pub(super) applies: bool,
    /// The data keys that it owns, perhaps together with others.
    pub(super) keys: BTreeSet<String>,
    /// The owner references that it owns, by uid.
    pub(super) owners: BTreeSet<String>,
}

impl Live {
    /// What `manager` applied to the Secret, if anything.
    pub(super) fn applied_by(&self, manager: &str) -> Option<&Writer> {
        self.writers.iter().find(|writer| writer.applies && writer.name == manager)
    }

    /// Whether another field manager than `manager` owns this key too.
    pub(super) fn shares(&self, key: &str, manager: &str) -> bool {
        let other = |writer: &&Writer| !(writer.applies && writer.name == manager);
        self.writers.iter().filter(other).any(|writer| writer.keys.contains(key))
    }
}

impl From<Secret> for Live {
    fn from(secret: Secret) -> Self {
        let meta = secret.metadata;
        let labels = meta.labels.unwrap_or_default();
        let data = secret.data.unwrap_or_default().into_iter();
        Self {
            uid: meta.uid.unwrap_or_default(),
            version: meta.resource_version.unwrap_or_default(),
            managed: labels.get(MANAGED).is_some_and(|value| value == "true"),
            kind: secret.type_.unwrap_or_default(),
            labels,
            annotations: meta.annotations.unwrap_or_default(),
            data: data.map(|(key, value)| (key, SecretBytes::new(value.0))).collect(),
            owners: meta.owner_references.unwrap_or_default(),
            writers: meta.managed_fields.unwrap_or_default().into_iter().map(Writer::from).collect(),
        }
    }
}

impl From<ManagedFieldsEntry> for Writer {
    fn from(entry: ManagedFieldsEntry) -> Self {
        let fields = entry.fields_v1.map(|fields| fields.0).unwrap_or_default();
        let owners = children(&fields["f:metadata"]["f:ownerReferences"], "k:").filter_map(uid_of);
        Self {
            name: entry.manager.unwrap_or_default(),
            applies: entry.operation.is_some_and(|operation| operation == "Apply"),
            keys: children(&fields["f:data"], "f:").map(str::to_owned).collect(),
            owners: owners.collect(),
        }
    }
}

/// The members of a set of fields, which `FieldsV1` writes as object keys with a prefix.
fn children<'a>(fields: &'a Value, prefix: &'static str) -> impl Iterator<Item = &'a str> {
    fields
        .as_object()
        .into_iter()
        .flat_map(serde_json::Map::keys)
        .filter_map(move |key| key.strip_prefix(prefix))
}

/// The uid in `{"uid":"…"}`, which identifies an owner.
fn uid_of(key: &str) -> Option<String> {
    let key: Value = serde_json::from_str(key).ok()?;
    Some(key.get("uid")?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_secret_tells_who_wrote_which_keys_and_owners() {
        let secret: Secret = serde_json::from_value(json!({
            "metadata": {
                "uid": "u", "resourceVersion": "7", "labels": {MANAGED: "true"},
                "managedFields": [
                    {"manager": "secretfs/shop", "operation": "Apply", "fieldsV1": {
                        "f:data": {"f:user": {}},
                        "f:metadata": {"f:ownerReferences": {"k:{\"uid\":\"1\"}": {}}}}},
                    {"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:data": {".": {}, "f:x.y": {}}}},
                    {"manager": "odd"},
                ],
            },
            "type": "Opaque", "data": {"user": "YQ=="},
        }))
        .unwrap();

        let live = Live::from(secret);

        assert!(live.managed && live.uid == "u" && live.version == "7" && live.kind == "Opaque");
        assert_eq!(live.data["user"].expose(), b"a");
        let ours = live.applied_by("secretfs/shop").unwrap();
        assert!(ours.keys.contains("user") && ours.owners.contains("1"));
        assert!(live.applied_by("kubectl").is_none());
        assert!(live.shares("x.y", "secretfs/shop") && !live.shares("user", "secretfs/shop"));
    }
}
