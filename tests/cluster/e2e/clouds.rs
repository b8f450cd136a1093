//! AWS, Azure and Google, read for real pods with the pods' own tokens, by classes as users write them.
//!
//! moto, drongo and the stubs of `hack/servers` stand for the clouds. Their token endpoints get the tokens from
//! kubelet. Those of Entra ID and Google verify them with the cluster's keys. moto accepts any token, so the tests look
//! at what it got.

use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use testing::{Answer, Cluster, FaultServer, Google, KeyVault, Moto};

use super::world::{Namespace, pod, shared};

const REGION: &str = "eu-west-1";
const CLIENT: &str = "00000000-0000-0000-0000-000000000002";
/// The GKE cluster that Google takes this one for, and its identity namespace.
const CLUSTER: &str = "https://container.googleapis.com/v1/projects/p1/locations/europe-west3/clusters/c1";
const POOL: &str = "p1.svc.id.goog";
/// The identity with which pods read at Google.
const ACCOUNT: &str = "shop@p1.iam.gserviceaccount.com";

/// The servers that stand for the clouds.
pub(crate) struct Clouds {
    moto: Moto,
    /// A server before moto, because moto does not report its requests.
    aws: FaultServer,
    azure: KeyVault,
    google: Google,
    /// The public keys of the cluster, which its API server shows to who logs in there.
    _keys: FaultServer,
}

impl Clouds {
    /// Clouds that know the keys by which `cluster` signs tokens.
    pub(crate) fn start(cluster: &Cluster) -> Self {
        let keys = cluster.kubectl(&["get", "--raw", "/openid/v1/jwks"]);
        let keys = FaultServer::http(move |_| Answer::text(200, "application/json", &keys));
        let issuer = keys.url();
        let (moto, azure, google) = thread::scope(|scope| {
            let azure = scope.spawn(|| KeyVault::trusting(&issuer));
            let google = scope.spawn(|| Google::trusting(&issuer));
            (Moto::start(), azure.join().unwrap(), google.join().unwrap())
        });
        Self { aws: FaultServer::before(&moto.url()), moto, azure, google, _keys: keys }
    }

    /// The chart's values for these servers.
    pub(crate) fn values(&self) -> Map<String, Value> {
        let (azure, google) = (self.azure.url(), self.google.url());
        let values = json!({
            "aws": {"enabled": true, "region": REGION, "endpoint": self.aws.url()},
            "azure": {
                "enabled": true, "cloud": "AzureStackCloud", "authority": azure,
                "vaultURL": format!("{azure}/vault/NAME"), "vaultAudience": "https://vault.azure.net",
            },
            "gcp": {"enabled": true, "workloadIdentityProvider": CLUSTER, "endpoint": google},
        });
        values.as_object().unwrap().clone()
    }

    /// The logins at STS for service accounts of `namespace`: the claims of each token, and the role.
    pub(crate) fn aws_logins(&self, namespace: &str) -> Vec<(Value, String)> {
        let seen = self.aws.seen();
        let forms = seen.iter().map(|seen| fields(&String::from_utf8_lossy(&seen.body)));
        let logins = forms.filter_map(|form| {
            let value = |name: &str| form.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
            Some((claims(&value("WebIdentityToken")?), value("RoleArn")?))
        });
        logins.filter(|(claims, _)| claims["kubernetes.io"]["namespace"] == namespace).collect()
    }

    fn azure_logins(&self) -> Vec<Value> {
        let seen = self.azure.seen();
        let bodies = seen.iter().filter_map(|seen| seen["body"].as_str());
        let forms = bodies.filter(|body| body.contains("client_assertion=")).map(fields);
        forms
            .flatten()
            .filter(|(key, _)| key == "client_assertion")
            .map(|(_, token)| claims(&token))
            .collect()
    }

    fn google_logins(&self) -> Vec<Value> {
        let seen = self.google.seen();
        let asked = seen.iter().filter(|seen| seen["target"] == "/v1/token");
        let bodies = asked.map(|seen| serde_json::from_str::<Value>(seen["body"].as_str().unwrap()).unwrap());
        bodies.map(|body| claims(body["subjectToken"].as_str().unwrap())).collect()
    }
}

fn fields(form: &str) -> Vec<(String, String)> {
    let form = format!("http://localhost/?{form}");
    url::Url::parse(&form).unwrap().query_pairs().into_owned().collect()
}

/// The claims of a token.
fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).expect("a token of three parts");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

fn class(name: &str, provider: &str, parameters: &Value) -> Value {
    let mut parameters = parameters.clone();
    parameters["secretfs.dev/refresh"] = json!("1s");
    json!({
        "apiVersion": "secrets-store.csi.x-k8s.io/v1", "kind": "SecretProviderClass",
        "metadata": {"name": name}, "spec": {"provider": provider, "parameters": parameters},
    })
}

/// A role of the account whose secrets moto keeps.
pub(crate) fn role(name: &str) -> String {
    format!("arn:aws:iam::123456789012:role/{name}")
}

/// An account with what IRSA and GKE put there.
pub(crate) fn annotate(shop: &Namespace<'_>, account: &str, annotation: &str) {
    shop.kubectl(&["annotate", "--overwrite", "serviceaccount", account, annotation]);
}

/// A class that leaves role and region to the service account and the driver.
pub(crate) fn aws_class(shop: &Namespace<'_>) {
    let objects =
        format!("- {{objectName: {}/db, objectType: secretsmanager, objectAlias: db}}\n", shop.name);
    shop.apply(&class("aws", "aws", &json!({"objects": objects})));
    shop.world.clouds.moto.create_secret(REGION, &format!("{}/db", shop.name), "of AWS");
}

fn azure_class(shop: &Namespace<'_>) {
    let azure = &shop.world.clouds.azure;
    azure.put_into("shop-kv", "db", "of Azure");
    azure.trust(CLIENT, &format!("{}:app", shop.name));
    let objects = "array:\n  - |\n    objectName: db\n    objectType: secret\n";
    shop.apply(&class(
        "azure",
        "azure",
        &json!({
            "keyvaultName": "shop-kv", "tenantID": "00000000-0000-0000-0000-000000000001", "clientID": CLIENT,
            "objects": objects,
        }),
    ));
}

fn google_class(shop: &Namespace<'_>) {
    let google = &shop.world.clouds.google;
    google.put("projects/p1/secrets/db", b"of Google");
    // The pod's own identity may read nothing: what it is annotated with may.
    google.order(&json!({"do": "deny", "who": "^system:", "match": ":access"}));
    let app = format!("^system:serviceaccount:{}:app$", shop.name);
    google.order(&json!({"do": "act", "who": app, "email": ACCOUNT}));
    let secrets = "- {resourceName: projects/p1/secrets/db/versions/latest, path: db}\n";
    shop.apply(&class("google", "gcp", &json!({"auth": "pod-adc", "secrets": secrets})));
}

/// Checks that a token belongs to service account `app` of `shop` and to that pod, and is only for `audience`.
fn assert_own(shop: &Namespace<'_>, pod: &str, token: &Value, audience: &str) {
    assert_eq!(token["sub"], format!("system:serviceaccount:{}:app", shop.name), "{token}");
    assert_eq!(token["aud"], json!([audience]), "{token}");
    let uid = shop.field(&format!("pod/{pod}"), "{.metadata.uid}");
    assert_eq!(token["kubernetes.io"]["pod"]["uid"], uid, "{token}");
}

#[test]
fn a_volume_from_each_cloud_is_served_with_the_pods_own_token_and_rotated() {
    let (world, _peace) = shared();
    let clouds = &world.clouds;
    let shop = Namespace::new(world, "clouds");
    annotate(&shop, "app", &format!("eks.amazonaws.com/role-arn={}", role("app")));
    annotate(&shop, "app", &format!("iam.gke.io/gcp-service-account={ACCOUNT}"));
    annotate(&shop, "stranger", &format!("eks.amazonaws.com/role-arn={}", role("stranger")));
    aws_class(&shop);
    azure_class(&shop);
    google_class(&shop);
    let names = ["aws", "azure", "google"];
    names.iter().for_each(|name| shop.apply(&pod(name, name)));
    for name in names {
        let mut stranger = pod(&format!("stranger-{name}"), name);
        stranger["spec"]["serviceAccountName"] = json!("stranger");
        shop.apply(&stranger);
    }

    for (name, value) in names.iter().zip(["of AWS", "of Azure", "of Google"]) {
        shop.until_ready(name);
        assert_eq!(shop.read(name, "db"), value);
    }
    let of_app = |token: &&Value| token["kubernetes.io"]["serviceaccount"]["name"] == "app";
    let at_aws = clouds.aws_logins(&shop.name);
    let (token, as_role) = at_aws.iter().find(|(token, _)| of_app(&token)).unwrap();
    assert_own(&shop, "aws", token, "sts.amazonaws.com");
    assert_eq!(*as_role, role("app"), "what the service account says");
    assert_own(
        &shop,
        "azure",
        clouds.azure_logins().iter().find(of_app).unwrap(),
        "api://AzureADTokenExchange",
    );
    assert_own(&shop, "google", clouds.google_logins().iter().find(of_app).unwrap(), POOL);

    clouds.moto.put_secret(REGION, &format!("{}/db", shop.name), "rotated at AWS");
    clouds.azure.put_into("shop-kv", "db", "rotated at Azure");
    clouds.google.put("projects/p1/secrets/db", b"rotated at Google");
    shop.until_reads("aws", "db", "rotated at AWS");
    shop.until_reads("azure", "db", "rotated at Azure");
    shop.until_reads("google", "db", "rotated at Google");

    // Another service account has another identity everywhere: another role at AWS, none at the others.
    shop.until_ready("stranger-aws");
    let sub = format!("system:serviceaccount:{}:stranger", shop.name);
    let (_, strangers) =
        clouds.aws_logins(&shop.name).into_iter().find(|(token, _)| token["sub"] == sub).unwrap();
    assert_eq!(strangers, role("stranger"));
    println!("{}", shop.until_event("stranger-azure", "AADSTS700213"));
    println!("{}", shop.until_event("stranger-google", "Permission"));
}
