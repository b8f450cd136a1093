//! The setup of the tests in this directory.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::{Value, json};
use testing::{Issuer, OpenBao, PodVolume, Postgres, RunningNode};

/// The program under test.
pub(super) const SECRETFS: &str = env!("CARGO_BIN_EXE_secretfs");
/// How long a simple step may take.
pub(super) const SOON: Duration = Duration::from_secs(60);

/// An OpenBao with a versioned engine at `secret`. Its role `shop` accepts the service accounts `shop`, `other` and
/// `third` of namespace `shop`, at `auth/kubernetes` and at `auth/jwt`.
pub(super) struct Shop {
    pub(super) bao: OpenBao,
    pub(super) issuer: Issuer,
}

impl Shop {
    /// One that loses its data when it stops.
    pub(super) fn start() -> Self {
        Self::with(OpenBao::start())
    }

    /// One that keeps its data when it stops.
    pub(super) fn durable() -> Self {
        Self::with(OpenBao::durable())
    }

    fn with(bao: OpenBao) -> Self {
        let issuer = Issuer::start();
        bao.mount_kv2("secret");
        bao.auth_kubernetes("kubernetes", &issuer);
        bao.auth_jwt("jwt", &issuer);
        let shop = Self { bao, issuer };
        shop.grant();
        shop.bao.write(
            "auth/kubernetes/role/shop",
            &json!({
                "bound_service_account_names": "shop,other,third", "bound_service_account_namespaces": "shop",
                "audience": "vault", "token_policies": "shop", "token_ttl": "1h",
            }),
        );
        shop.jwt_role("shop", &json!({}));
        shop
    }

    /// Lets the role read everything that a test needs.
    pub(super) fn grant(&self) {
        let (read, update): (&[&str], &[&str]) = (&["read"], &["update"]);
        let rules = [("secret/*", read), ("database/*", read), ("pki/issue/*", update)];
        self.bao.policy("shop", &rules);
    }

    /// Takes these rights away.
    pub(super) fn withdraw_grant(&self) {
        self.bao.policy("shop", &[("nothing", &["read"])]);
    }

    /// Creates a role at `auth/jwt` for tokens with `claims`.
    pub(super) fn jwt_role(&self, name: &str, claims: &Value) {
        let role = json!({
            "role_type": "jwt", "user_claim": "sub", "bound_audiences": ["vault"], "token_policies": "shop",
            "bound_claims": claims, "token_ttl": "1h",
        });
        self.bao.write(&format!("auth/jwt/role/{name}"), &role);
    }

    /// A certificate authority at `pki` whose role `shop` issues for any name.
    pub(super) fn pki(&self) {
        self.bao.mount("pki", "pki");
        self.bao.write("pki/root/generate/internal", &json!({"common_name": "root"}));
        self.bao.write("pki/roles/shop", &json!({"allow_any_name": true, "max_ttl": "24h"}));
    }

    /// Creates PostgreSQL logins at `database/creds/shop` that live for `ttl`, at most `max_ttl`.
    pub(super) fn database(&self, postgres: &Postgres, ttl: &str, max_ttl: &str) {
        self.bao.database("database", postgres, "shop", ttl, max_ttl);
    }

    /// Puts a new version of `secret/<path>`.
    pub(super) fn put(&self, path: &str, key: &str) {
        self.bao.put("secret", path, &json!({"key": key}));
    }

    /// A pod of service account `shop` with a volume of `class`, as kubelet would publish it now.
    pub(super) fn pod(&self, name: &str, class: &str) -> PodVolume {
        self.pod_of("shop", name, class)
    }

    /// A pod of another service account.
    pub(super) fn pod_of(&self, service_account: &str, name: &str, class: &str) -> PodVolume {
        self.issuer.pod("shop", service_account, name, class)
    }

    /// A class that reads `objects` from this store as role `shop`, every second.
    pub(super) fn class(&self, name: &str, objects: &str) -> Class {
        class(name, &self.bao.address(), objects)
    }

    /// A node that serves such a class, named `app`.
    pub(super) async fn node(&self, objects: &str) -> RunningNode {
        node(&[self.class("app", objects)]).await
    }
}

/// A class that a test builds.
pub(super) struct Class {
    name: String,
    parameters: BTreeMap<String, String>,
}

/// A class that reads `objects` from the store at `address` as role `shop`, every second.
pub(super) fn class(name: &str, address: &str, objects: &str) -> Class {
    let class = Class { name: name.to_owned(), parameters: BTreeMap::new() };
    class
        .with("vaultAddress", address)
        .with("roleName", "shop")
        .with("secretfs.dev/refresh", "1s")
        .with("objects", objects)
}

impl Class {
    /// The same with one more parameter.
    pub(super) fn with(mut self, key: &str, value: &str) -> Self {
        self.parameters.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Its manifest as JSON, which is valid YAML.
    pub(super) fn manifest(&self) -> String {
        json!({
            "apiVersion": "secrets-store.csi.x-k8s.io/v1",
            "kind": "SecretProviderClass",
            "metadata": {"name": self.name, "namespace": "shop"},
            "spec": {"provider": "vault", "parameters": self.parameters},
        })
        .to_string()
    }

    /// Writes it into the directory of classes of `node`.
    pub(super) fn serve(&self, node: &RunningNode) {
        node.class(&self.name, &self.manifest());
    }
}

/// A node that serves `classes`.
pub(super) async fn node(classes: &[Class]) -> RunningNode {
    let mut node = RunningNode::prepare(SECRETFS, &[]);
    classes.iter().for_each(|class| class.serve(&node));
    node.start_node().await;
    node
}

/// Publishes all `pods` at the same time.
pub(super) async fn publish_all(node: &RunningNode, pods: &[PodVolume]) {
    join_all(pods.iter().map(|pod| node.publish_until_done(pod))).await;
}

/// Waits until `there` is true. Otherwise panics with the text of `why`.
pub(super) async fn until(there: impl Fn() -> bool, why: impl Fn() -> String) {
    let started = Instant::now();
    while !there() {
        assert!(started.elapsed() < SOON, "{}", why());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Every file below `directory` that an application sees, with mode and contents.
pub(super) fn files_below(directory: &Path) -> BTreeMap<String, (u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![directory.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(directory).unwrap().to_str().unwrap().to_owned();
            if name.starts_with("..") {
                continue;
            }
            let metadata = fs::metadata(&path).unwrap();
            if metadata.is_dir() {
                folders.push(path);
            } else {
                found.insert(name, (metadata.permissions().mode() & 0o7777, fs::read(&path).unwrap()));
            }
        }
    }
    found
}

/// How many records of `operation` the audit trail of `node` has.
pub(super) fn records(node: &RunningNode, operation: &str) -> usize {
    let is = |line: &&str| {
        let record: Value = serde_json::from_str(line).unwrap();
        record["api"]["operation"] == operation
    };
    node.audit().lines().filter(is).count()
}
