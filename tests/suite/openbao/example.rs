//! Upstream's example manifest, in a pod and on a host.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};
use testing::{Claims, Postgres, RunningNode};

use super::host::Host;
use super::support::{SECRETFS, Shop, files_below, until};

/// The example as upstream's users write it, with another address, namespace and mount of the login.
fn manifest(address: &str) -> String {
    format!(
        r#"
apiVersion: secrets-store.csi.x-k8s.io/v1
kind: SecretProviderClass
metadata: {{name: shop-vault, namespace: shop}}
spec:
  provider: vault
  secretObjects:
  - secretName: shop-db
    type: Opaque
    labels: {{app: shop}}
    data: [{{objectName: db/user, key: username}}, {{objectName: db/pass, key: password}}]
  parameters:
    vaultAddress: {address}
    vaultAuthMountPath: jwt
    roleName: shop
    audience: vault
    objects: |
      - {{objectName: api-key, secretPath: secret/data/shop/api, secretKey: key, filePermission: 0400}}
      - {{objectName: api-key-old, secretPath: "secret/data/shop/api?version=1", secretKey: key}}
      - {{objectName: keystore.p12, secretPath: secret/data/shop/ks, secretKey: p12, encoding: base64}}
      - {{objectName: limits, secretPath: secret/data/shop/api, secretKey: limits}}
      - {{objectName: db/user, secretPath: database/creds/shop, secretKey: username}}
      - {{objectName: db/pass, secretPath: database/creds/shop, secretKey: password}}
      - objectName: cert.json
        secretPath: pki/issue/shop
        method: PUT
        secretArgs: {{common_name: shop.example.com, ttl: 24h}}
"#
    )
}

fn backend(postgres: &Postgres) -> Shop {
    let shop = Shop::start();
    shop.bao.put("secret", "shop/api", &json!({"key": "K0"}));
    shop.bao.put("secret", "shop/api", &json!({"key": "K1", "limits": {"rps": 5}}));
    shop.bao.put("secret", "shop/ks", &json!({"p12": "AAEC/w=="}));
    shop.database(postgres, "1h", "2h");
    shop.pki();
    shop
}

/// The default mode of a file in a pod, and on a host.
const POD_MODE: u32 = 0o644;
const HOST_MODE: u32 = 0o400;

/// Checks every file of the volume at `directory`. `default_mode` is for files without a mode in the class. Returns the
/// name of the database user.
fn check(directory: &Path, default_mode: u32, postgres: &Postgres) -> String {
    let mut files = files_below(directory);
    let mut take = |name: &str| {
        let (_, contents) = files.remove(name).unwrap_or_else(|| panic!("no file {name}"));
        String::from_utf8(contents).unwrap()
    };
    let (user, password) = (take("db/user"), take("db/pass"));
    let certificate: Value = serde_json::from_str(&take("cert.json")).unwrap();
    let expected: BTreeMap<String, (u32, Vec<u8>)> = [
        ("api-key", 0o400, &b"K1"[..]),
        ("api-key-old", default_mode, b"K0"),
        ("keystore.p12", default_mode, &[0, 1, 2, 255]),
        ("limits", default_mode, br#"{"rps":5}"#),
    ]
    .map(|(name, mode, contents)| (name.to_owned(), (mode, contents.to_vec())))
    .into();
    assert_eq!(files, expected);
    for name in ["db/user", "db/pass", "cert.json"] {
        let mode = fs::metadata(directory.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, default_mode, "{name}");
    }
    assert!(postgres.can_login(&user, &password), "{user} cannot log in");
    for field in ["request_id", "lease_id", "lease_duration", "renewable", "data", "warnings"] {
        assert!(certificate.get(field).is_some(), "{field} is missing in cert.json");
    }
    assert!(certificate["data"]["certificate"].as_str().unwrap().contains("BEGIN CERTIFICATE"));
    assert!(certificate["data"]["private_key"].as_str().unwrap().contains("PRIVATE KEY"));
    user
}

fn is_gone(postgres: &Postgres, user: &str) -> bool {
    postgres.query(&format!("SELECT count(*) FROM pg_roles WHERE rolname = '{user}'")) == "0"
}

#[tokio::test]
async fn the_example_yields_upstreams_files_in_a_pod_and_its_login_goes_with_the_pod() {
    let postgres = Postgres::start();
    let shop = backend(&postgres);
    let mut node = RunningNode::prepare(SECRETFS, &[]);
    node.class("shop-vault", &manifest(&shop.bao.address()));
    node.start_node().await;
    let pod = shop.pod("web-0", "shop-vault");

    node.publish(&pod).await.unwrap();

    let user = check(&node.target(&pod), POD_MODE, &postgres);
    let asked = |operation, path| shop.bao.requests(operation, path);
    assert_eq!(asked("update", "auth/jwt/login"), 1);
    assert_eq!(asked("read", "secret/data/shop/api"), 2, "one for each version");
    assert_eq!(asked("read", "database/creds/shop"), 1);
    assert_eq!(asked("update", "pki/issue/shop"), 1);
    node.unpublish(&pod).await.unwrap();
    until(|| is_gone(&postgres, &user), || format!("{user} is still there\n{}", node.log())).await;
    assert!(node.left_behind(&pod).is_empty());
}

#[tokio::test]
async fn the_example_yields_upstreams_files_on_a_host() {
    let postgres = Postgres::start();
    let shop = backend(&postgres);
    let host = Host::new();
    host.manifest(&manifest(&shop.bao.address()));
    host.write("jwt", &shop.issuer.mint(&Claims::of("shop", "shop")));
    let token = format!("vault={}", host.path("jwt").display());

    let mount = host.mount(&["--service-account", "shop", "--service-account-token", &token]);

    until(|| host.path("target/cert.json").exists(), || host.log()).await;
    let user = check(&host.path("target"), HOST_MODE, &postgres);
    mount.stop();
    until(|| is_gone(&postgres, &user), || format!("{user} is still there\n{}", host.log())).await;
    assert!(!host.path("target/cert.json").exists());
}

crate::modes::again_in_mode_fuse! {
    the_example_yields_upstreams_files_in_a_pod_and_its_login_goes_with_the_pod,
    the_example_yields_upstreams_files_on_a_host,
}
