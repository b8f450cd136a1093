//! Objects of a cluster, other than classes and pods, that decide how a node serves the pods.

use crate::tree::Node;

/// A CSIDriver object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriverObject {
    /// The name of the object, which is the driver's name.
    pub name: String,
    /// `attachRequired`; `true` if the object does not say it.
    pub attach_required: bool,
    /// `podInfoOnMount`.
    pub pod_info: bool,
    /// Whether `volumeLifecycleModes` lists `Ephemeral`.
    pub ephemeral: bool,
    /// `requiresRepublish`.
    pub republish: bool,
    /// The audiences in `tokenRequests`.
    pub audiences: Vec<String>,
}

/// A Secret, without its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretName {
    /// Its namespace; `default` if the manifest names none.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Whether the upstream driver's label says that a CSI driver made this Secret.
    pub is_managed: bool,
}

pub(crate) fn driver(document: &Node) -> Option<DriverObject> {
    let spec = |key| document.at(&["spec", key]);
    let is = |key| spec(key).is_some_and(Node::is_true);
    let modes = spec("volumeLifecycleModes").map(Node::items).unwrap_or_default();
    let requests = spec("tokenRequests").map(Node::items).unwrap_or_default();
    let audience =
        |request: &Node| request.get("audience").and_then(Node::text).unwrap_or_default().to_owned();
    Some(DriverObject {
        name: document.at(&["metadata", "name"])?.text()?.to_owned(),
        attach_required: spec("attachRequired").is_none_or(Node::is_true),
        pod_info: is("podInfoOnMount"),
        ephemeral: modes.iter().any(|mode| mode.text() == Some("Ephemeral")),
        republish: is("requiresRepublish"),
        audiences: requests.iter().map(audience).collect(),
    })
}

pub(crate) fn secret(document: &Node) -> Option<SecretName> {
    let metadata = document.get("metadata")?;
    let managed = metadata.at(&["labels", "secrets-store.csi.k8s.io/managed"]);
    Some(SecretName {
        namespace: metadata.get("namespace").and_then(Node::text).unwrap_or("default").to_owned(),
        name: metadata.get("name")?.text()?.to_owned(),
        is_managed: managed.and_then(Node::text) == Some("true"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Manifests;

    #[test]
    fn a_driver_and_the_secrets_are_read_as_far_as_they_matter() {
        let manifests = Manifests::read(
            r#"
kind: CSIDriver
metadata: {name: secrets-store.csi.k8s.io}
spec:
  attachRequired: false
  podInfoOnMount: true
  volumeLifecycleModes: [Ephemeral]
  tokenRequests: [{audience: vault}, {audience: ""}]
---
kind: Secret
metadata: {name: a, namespace: shop, labels: {secrets-store.csi.k8s.io/managed: "true"}}
data: {password: aHVudGVyMg==}
---
kind: Secret
metadata: {name: b}
"#,
        );

        let driver = DriverObject {
            name: "secrets-store.csi.k8s.io".to_owned(),
            attach_required: false,
            pod_info: true,
            ephemeral: true,
            republish: false,
            audiences: vec!["vault".to_owned(), String::new()],
        };
        assert_eq!(manifests.drivers, [driver]);
        let secret = |namespace: &str, name: &str, is_managed| SecretName {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            is_managed,
        };
        assert_eq!(manifests.secrets, [secret("shop", "a", true), secret("default", "b", false)]);
    }
}
