//! Reads the objects that the driver depends on from an API server, for `secretfs doctor`.

mod rights;

use std::collections::BTreeSet;
use std::sync::Arc;

use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind};
use kube::{Client, Error};
use manifest::Class;
use serde_json::Value;
use tokio::time::timeout;

use super::classes::object;
use super::connection::ANSWER;
use super::pages;
use super::refusal::told;

pub use rights::{Account, Judged, Right};

/// Most pages of classes that are read.
const MAX_PAGES: usize = 100;

/// What was found, or why it could not be read.
pub type Looked<T> = Result<T, String>;

/// Everything that a survey found.
#[derive(Debug, Clone)]
pub struct Survey {
    /// The API server's version.
    pub version: Looked<Version>,
    /// The CSIDriver object; `None` if there is none.
    pub driver: Looked<Option<Driver>>,
    /// The resources of the group, as `v1/secretproviderclasses`.
    pub resources: Looked<BTreeSet<String>>,
    /// Every class, or what is wrong with it.
    pub classes: Looked<Vec<Result<Arc<Class>, String>>>,
    /// What the driver's service account may do.
    pub rights: Looked<Judged>,
}

/// A version of Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// 1, and what comes after it.
    pub number: (u32, u32),
    /// The version as the API server writes it, such as `v1.33.1+k3s1`.
    pub text: String,
}

/// The fields of a CSIDriver object that matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Driver {
    /// Whether kubelet tells which pod a volume is for.
    pub pod_info: bool,
    /// Whether pods may have its volumes inline, without a claim.
    pub ephemeral: bool,
    /// Whether kubelet publishes mounted volumes again and again.
    pub republish: bool,
    /// Whether volumes must be attached before they are mounted.
    pub attach: bool,
    /// How kubelet gives files to the group of a pod.
    pub fs_group_policy: String,
    /// The audiences of the tokens that kubelet sends.
    pub audiences: BTreeSet<String>,
    /// Whether kubelet sends tokens separately from the volume attributes.
    pub tokens_in_secrets: bool,
}

/// What a survey asks for.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The CSIDriver object's name.
    pub driver: String,
    /// The account whose rights are checked. `None` means the caller's own, which must be a service account.
    pub account: Option<Account>,
    /// Rights that the account needs.
    pub needed: Vec<Right>,
    /// Rights that the account should not have.
    pub needless: Vec<Right>,
}

impl Survey {
    /// Asks the API server behind `client`. A part that it does not answer holds the reason.
    pub(super) async fn of(client: &Client, wish: &Wish) -> Self {
        Self {
            version: version(client).await,
            driver: driver(client, &wish.driver).await,
            resources: resources(client).await,
            classes: classes(client).await,
            rights: rights::judge(client, wish).await,
        }
    }

    /// A survey in which nothing could be read, for `reason`.
    pub fn none(reason: &str) -> Self {
        let reason = || reason.to_owned();
        Self {
            version: Err(reason()),
            driver: Err(reason()),
            resources: Err(reason()),
            classes: Err(reason()),
            rights: Err(reason()),
        }
    }
}

/// Waits for one answer, until the deadline.
async fn answer<T>(wish: &str, call: impl Future<Output = Result<T, Error>>) -> Looked<T> {
    match timeout(ANSWER, call).await {
        Ok(answer) => answer.map_err(|error| format!("the API server: {}", told(&error, wish))),
        Err(_) => Err(format!("the API server did not answer within {} s", ANSWER.as_secs())),
    }
}

async fn version(client: &Client) -> Looked<Version> {
    let found = answer("ask for its version", client.apiserver_version()).await?;
    let number = |text: &str| text.trim_end_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or(0);
    Ok(Version { number: (number(&found.major), number(&found.minor)), text: found.git_version })
}

async fn driver(client: &Client, name: &str) -> Looked<Option<Driver>> {
    let kind = GroupVersionKind::gvk("storage.k8s.io", "v1", "CSIDriver");
    let resource = ApiResource::from_gvk_with_plural(&kind, "csidrivers");
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    let found = answer(&format!("get CSIDriver {name}"), api.get_opt(name)).await?;
    Ok(found.map(|object| Driver::from(object.data.get("spec").unwrap_or(&Value::Null))))
}

/// Reads the fields by name, because the types of the client do not have the field for tokens yet.
impl From<&Value> for Driver {
    fn from(spec: &Value) -> Self {
        let is = |field: &str| spec.get(field).and_then(Value::as_bool);
        let list = |field: &str| spec.get(field).and_then(Value::as_array).cloned().unwrap_or_default();
        let audience =
            |request: &Value| request.get("audience").and_then(Value::as_str).unwrap_or("").to_owned();
        Self {
            pod_info: is("podInfoOnMount").unwrap_or(false),
            ephemeral: list("volumeLifecycleModes").iter().any(|mode| mode.as_str() == Some("Ephemeral")),
            republish: is("requiresRepublish").unwrap_or(false),
            attach: is("attachRequired").unwrap_or(true),
            fs_group_policy: spec.get("fsGroupPolicy").and_then(Value::as_str).unwrap_or_default().to_owned(),
            audiences: list("tokenRequests").iter().map(audience).collect(),
            tokens_in_secrets: is("serviceAccountTokenInSecrets").unwrap_or(false),
        }
    }
}

async fn resources(client: &Client) -> Looked<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for version in ["v1", "v1alpha1"] {
        let path = format!("secrets-store.csi.x-k8s.io/{version}");
        let asked = client.list_api_group_resources(&path);
        match timeout(ANSWER, asked).await {
            Ok(Ok(list)) => {
                found.extend(list.resources.into_iter().map(|one| format!("{version}/{}", one.name)));
            }
            Ok(Err(Error::Api(status))) if status.code == 404 => {}
            Ok(Err(error)) => {
                return Err(format!("the API server: {}", told(&error, "ask for its resources")));
            }
            Err(_) => return Err(format!("the API server did not answer within {} s", ANSWER.as_secs())),
        }
    }
    Ok(found)
}

async fn classes(client: &Client) -> Looked<Vec<Result<Arc<Class>, String>>> {
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &object::resource());
    let api = &api;
    let page = |params| async move { answer("list SecretProviderClasses", api.list(&params)).await };
    let found = pages::all(MAX_PAGES, page).await?;
    Ok(found.iter().map(|item| object::read(item).1).collect())
}
