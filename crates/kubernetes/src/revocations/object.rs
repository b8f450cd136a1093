//! Orders as objects of an API server, both ways.

use engine::revocation::{Given, Revocation, Target};
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use serde::{Deserialize, Serialize};

use super::Kind;

/// The group of the API to which the kinds belong.
pub const GROUP: &str = "secretfs.dev";
/// The version of the kinds.
pub const VERSION: &str = "v1alpha1";
/// Longest reason in characters.
const MOST_REASON: usize = 512;

/// The `spec` of an order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// What it covers.
    #[serde(flatten)]
    pub target: Target,
    /// Whether it covers everything: in its namespace, or in the cluster.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub everything: bool,
    /// Why it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The API resource of a kind.
pub fn resource(kind: Kind) -> ApiResource {
    let (kind, plural) = match kind {
        Kind::InNamespace => ("Revocation", "revocations"),
        Kind::InCluster => ("ClusterRevocation", "clusterrevocations"),
    };
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(GROUP, VERSION, kind), plural)
}

/// Where `object` was given, and its name.
pub(super) fn name_of(kind: Kind, object: &DynamicObject) -> (Given, String) {
    let given = match kind {
        Kind::InNamespace => Given::InNamespace(object.metadata.namespace.clone().unwrap_or_default()),
        Kind::InCluster => Given::InCluster,
    };
    (given, object.metadata.name.clone().unwrap_or_default())
}

/// The order that `object` is. What names nothing and does not say `everything` is none: it may be an order of a later
/// version, of which this one does not know the words.
pub(super) fn read(kind: Kind, object: &DynamicObject) -> Result<Revocation, String> {
    let spec = object.data.get("spec").cloned().unwrap_or_default();
    let wish: Wish = serde_json::from_value(spec).map_err(|error| error.to_string())?;
    let Wish { target, everything, reason } = wish;
    if everything != (target == Target::default()) {
        return Err("it has to name what is revoked, or say everything: true".to_owned());
    }
    let (given, name) = name_of(kind, object);
    Ok(Revocation {
        given,
        name,
        target,
        reason: reason.map(|reason| reason.chars().take(MOST_REASON).collect()),
    })
}
