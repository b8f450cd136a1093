//! Volumes from a **stub** of Azure Key Vault, through a real `secretfs`. `hack/servers/keyvault.py` says what the stub
//! cannot show.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::json;
use testing::{Claims, Issuer, KeyVault, PodVolume, RunningNode};

const SECRETFS: &str = env!("CARGO_BIN_EXE_secretfs");
const AUDIENCE: &str = "api://AzureADTokenExchange";
const CLIENT: &str = "00000000-0000-0000-0000-000000000002";
/// How long a simple step may take.
const SOON: Duration = Duration::from_secs(60);

/// A stub in which `shop/shop` may log in as the application of the example.
struct Shop {
    vault: KeyVault,
    issuer: Issuer,
}

impl Shop {
    fn start() -> Self {
        let issuer = Issuer::start();
        let vault = KeyVault::start(&issuer);
        vault.trust(CLIENT, "shop:shop");
        Self { vault, issuer }
    }

    /// A node that uses this stub, with `class` named `shop-azure`.
    async fn node(&self, class: &str) -> RunningNode {
        let mut node = RunningNode::prepare(SECRETFS, &[]);
        node.flag("--azure-authority", &self.vault.url());
        node.flag("--azure-vault-url", &format!("{}/vault/NAME", self.vault.url()));
        node.class("shop-azure", class);
        node.start_node().await;
        node
    }

    fn pod(&self, name: &str) -> PodVolume {
        let token = self.issuer.mint(&Claims::of("shop", "shop").pod(name).audience(AUDIENCE));
        PodVolume::new(name, "shop-azure").token(AUDIENCE, token)
    }
}

/// A class that reads the secret `a` of `shop-kv`, with `more` parameters.
fn class(more: &[(&str, &str)]) -> String {
    let objects = "array:\n- |\n  objectName: a\n  objectType: secret\n";
    let mut parameters = json!({
        "keyvaultName": "shop-kv", "tenantID": "00000000-0000-0000-0000-000000000001", "clientID": CLIENT,
        "objects": objects,
    });
    for (key, value) in more {
        parameters[*key] = json!(value);
    }
    json!({
        "apiVersion": "secrets-store.csi.x-k8s.io/v1",
        "kind": "SecretProviderClass",
        "metadata": {"name": "shop-azure", "namespace": "shop"},
        "spec": {"provider": "azure", "parameters": parameters},
    })
    .to_string()
}

#[tokio::test]
async fn the_example_for_azure_is_mounted_in_a_pod_and_a_rotation_arrives() {
    let shop = Shop::start();
    for value in ["v0", "v1", "v2", "v3"] {
        shop.vault.put_into("shop-kv", "db-password", value);
    }
    shop.vault.put_into("shop-kv", "blob", "AQI=");
    shop.vault.certificate_in("shop-kv", "web-cert", "application/x-pkcs12");
    shop.vault.key_in("shop-kv", "signing", "EC", "P-256");
    let example = include_str!("../../examples/class-azure.yaml").replace("refresh: 10m", "refresh: 1s");
    let node = shop.node(&example).await;
    let pod = shop.pod("web-0");

    node.publish(&pod).await.unwrap();

    let shown = ["dbpw/0", "dbpw/1", "dbpw/2"].map(|file| node.text(&pod, file).unwrap());
    assert_eq!(shown, ["v3", "v2", "v1"]);
    assert_eq!(node.read(&pod, "blob").unwrap(), [1, 2]);
    assert!(node.text(&pod, "web.pem").unwrap().starts_with("-----BEGIN PRIVATE KEY-----"));
    assert!(node.text(&pod, "web.crt").unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
    assert!(node.text(&pod, "signing").unwrap().starts_with("-----BEGIN PUBLIC KEY-----"));
    assert_eq!(node.text(&pod, "billing/invoice-key"), None, "it may be missing");

    shop.vault.put_into("shop-kv", "db-password", "v4");
    shop.vault.put_into("billing-kv", "invoice-key", "new");
    node.text_becomes(&pod, "dbpw/0", Some("v4"), SOON).await;
    node.text_becomes(&pod, "dbpw/1", Some("v3"), SOON).await;
    node.text_becomes(&pod, "billing/invoice-key", Some("new"), SOON).await;
    node.unpublish(&pod).await.unwrap();
    assert!(node.left_behind(&pod).is_empty());
}

#[tokio::test]
async fn a_secret_that_expires_goes_from_a_mounted_volume_without_waiting_for_its_refresh() {
    let shop = Shop::start();
    let version = shop.vault.put_into("shop-kv", "a", "v");
    let expires = Timestamp::now().as_second() + 10;
    shop.vault.attributes_in("shop-kv", "a", &version, &json!({"exp": expires}));
    let node =
        shop.node(&class(&[("secretfs.dev/on-expired", "remove"), ("secretfs.dev/refresh", "1h")])).await;
    let pod = shop.pod("web-0");

    node.publish(&pod).await.unwrap();
    assert_eq!(node.text(&pod, "a").as_deref(), Some("v"));

    // Read at its end, and once more half a minute later.
    node.text_becomes(&pod, "a", None, 2 * SOON).await;
    assert!(Timestamp::now().as_second() >= expires);
    let started_later = node.publish(&shop.pod("web-1")).await.unwrap_err();
    assert!(started_later.message().contains("it expired on"), "{started_later}");
    assert!(node.log().contains("objects expire"), "{}", node.log());
}

#[tokio::test]
async fn what_a_vault_takes_back_and_gives_again_reaches_a_mounted_volume() {
    let shop = Shop::start();
    let version = shop.vault.put_into("shop-kv", "a", "v");
    let node = shop.node(&class(&[("secretfs.dev/refresh", "1s")])).await;
    let pod = shop.pod("web-0");
    node.publish(&pod).await.unwrap();

    shop.vault.deny(CLIENT, "secrets");
    // A recent reading may still serve a new pod, until the node has met the refusal.
    let begun = Instant::now();
    for late in 0.. {
        let refused = node.publish(&shop.pod(&format!("late-{late}"))).await.err();
        if refused.is_some_and(|status| status.message().contains("ForbiddenByRbac")) {
            break;
        }
        assert!(begun.elapsed() < SOON, "{}", node.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(node.text(&pod, "a").as_deref(), Some("v"), "a denial takes nothing from who runs");
    shop.vault.deny(CLIENT, "");

    shop.vault.attributes_in("shop-kv", "a", &version, &json!({"enabled": false}));
    node.text_becomes(&pod, "a", None, 2 * SOON).await;
    shop.vault.attributes_in("shop-kv", "a", &version, &json!({"enabled": true}));
    node.text_becomes(&pod, "a", Some("v"), SOON).await;
}

crate::modes::again_in_mode_fuse! {
    the_example_for_azure_is_mounted_in_a_pod_and_a_rotation_arrives,
    what_a_vault_takes_back_and_gives_again_reaches_a_mounted_volume,
}
