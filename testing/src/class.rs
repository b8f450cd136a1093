use serde_json::json;

/// A SecretProviderClass that reads `objects` (YAML, as a class writes them) from the Vault at `address`, with the
/// login method `jwt`. The text is JSON, which is valid YAML.
pub fn jwt_class(namespace: &str, name: &str, address: &str, objects: &str) -> String {
    json!({
        "apiVersion": "secrets-store.csi.x-k8s.io/v1",
        "kind": "SecretProviderClass",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"provider": "vault", "parameters": {
            "vaultAddress": address, "roleName": "r", "secretfs.dev/auth": "jwt", "vaultAuthMountPath": "jwt",
            "objects": objects,
        }},
    })
    .to_string()
}
