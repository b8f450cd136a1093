use std::collections::BTreeMap;

use provider::Parameters;
use serde_json::{Value, json};

use crate::Settings;

/// A SecretProviderClass (`secrets-store.csi.x-k8s.io`, v1 or v1alpha1), as far as a node needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Class {
    /// `metadata.namespace`; `default` if the file names none.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `spec.provider`.
    pub provider: String,
    /// `spec.parameters` without the `secretfs.dev/` keys, except those in
    /// [`SHARED_WITH_PROVIDERS`](crate::SHARED_WITH_PROVIDERS).
    pub parameters: Parameters,
    /// The `secretfs.dev/` keys, parsed.
    pub settings: Settings,
    /// The `secretfs.dev/` keys as the class writes them, without those that are in `parameters`.
    pub own: Parameters,
    /// `spec.secretObjects`.
    pub secret_objects: Vec<SecretObject>,
}

impl Class {
    /// A manifest of the same class, as one line of JSON.
    pub fn manifest(&self) -> String {
        let parameters: BTreeMap<_, _> = self.parameters.iter().chain(&self.own).collect();
        let secret_objects: Vec<_> = self.secret_objects.iter().map(SecretObject::manifest).collect();
        json!({
            "apiVersion": "secrets-store.csi.x-k8s.io/v1",
            "kind": "SecretProviderClass",
            "metadata": {"namespace": self.namespace, "name": self.name},
            "spec": {"provider": self.provider, "parameters": parameters, "secretObjects": secret_objects},
        })
        .to_string()
    }
}

impl SecretObject {
    fn manifest(&self) -> Value {
        let data = self.data.iter().map(|data| json!({"objectName": data.object_name, "key": data.key}));
        json!({
            "secretName": self.secret_name,
            "type": self.kind,
            "labels": self.labels,
            "annotations": self.annotations,
            "data": data.collect::<Vec<_>>(),
        })
    }
}

/// A Kubernetes Secret that is made from mounted files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretObject {
    /// `secretName`.
    pub secret_name: String,
    /// `type`; `Opaque` if the class names none.
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

#[cfg(test)]
mod tests {
    use super::*;

    const CLASS: &str = r#"
apiVersion: secrets-store.csi.x-k8s.io/v1alpha1
kind: SecretProviderClass
metadata: {name: shop, namespace: web}
spec:
  provider: vault
  parameters:
    roleName: "sh\u00f6p\t\"1\""
    objects: |
      - objectName: a
        secretPath: x   # a comment
    secretfs.dev/refresh: 5s
    secretfs.dev/auth: jwt
    secretfs.dev/overridable: secretfs.dev/refresh
    secretfs.dev/files: |
      - {path: app.env, format: dotenv, from: {A: a}}
  secretObjects:
    - {secretName: s, type: kubernetes.io/tls, labels: {l: "1"}, data: [{objectName: a, key: tls.crt}]}
"#;

    fn only(text: &str) -> Class {
        Class::read(text).unwrap().remove(0)
    }

    #[test]
    fn a_class_that_is_written_out_and_read_again_is_the_same() {
        let class = only(CLASS);

        assert_eq!(only(&class.manifest()), class);
    }

    #[test]
    fn what_a_pod_overrode_is_written_out_with_it() {
        let attributes = BTreeMap::from([("secretfs.dev/refresh".to_owned(), "9s".to_owned())]);
        let class = only(CLASS).overridden_by(&attributes, false).unwrap();

        assert_eq!(only(&class.manifest()), class);
        assert_eq!(class.settings.refresh, Some(std::time::Duration::from_secs(9)));
    }
}
