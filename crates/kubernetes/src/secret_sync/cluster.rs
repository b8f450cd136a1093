//! The four calls to the API server about Secrets, and the one about pods.
//!
//! Answers are parsed here and not by the client library: it would log an answer that it cannot parse, values included.

use std::collections::BTreeSet;
use std::fmt;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Pod, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::{DeleteParams, GetParams, Patch, PatchParams, Preconditions};
use kube::client::Body;
use kube::core::Status;
use kube::core::request::{self, Request};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::time::timeout;

use super::live::Live;
use super::verdict::Manifest;
use crate::connection::ANSWER;
use crate::refusal::{is_ending_namespace, lacks_a_right};

/// Replaces the library's error text, which might repeat parts of the answer.
const UNREADABLE: &str = "the API server's answer makes no sense";

/// Why a call did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The API server does not answer, or is overloaded.
    Away(String),
    /// Somebody changed or made the Secret after it was read.
    Changed,
    /// This process does not have the right.
    Forbidden(String),
    /// The API server refuses the request.
    Refused(String),
    /// The API server refuses the request for now: because of a quota, or a rule of admission that somebody may change.
    Held(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away(reason) => write!(f, "the API server does not answer: {reason}"),
            Self::Changed => f.write_str("it was changed by somebody else at the same time"),
            Self::Forbidden(reason) => write!(
                f,
                "{reason}; set syncSecret.enabled=true and name the namespace in syncSecret.namespaces of the chart"
            ),
            Self::Refused(reason) | Self::Held(reason) => f.write_str(reason),
        }
    }
}

/// The calls to the API server that synced Secrets need.
#[derive(Clone)]
pub(super) struct Cluster(Client);

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cluster")
    }
}

/// A request, if it could be built.
type Asked = Result<http::Request<Vec<u8>>, request::Error>;

impl Cluster {
    /// The cluster that `client` reaches.
    pub(super) fn new(client: Client) -> Self {
        Self(client)
    }

    /// Reads a Secret; `None` if there is none.
    ///
    /// # Errors
    ///
    /// The API server does not answer or refuses.
    pub(super) async fn secret(&self, namespace: &str, name: &str) -> Result<Option<Live>, Trouble> {
        let request = secrets(namespace).get(name, &GetParams::default());
        Ok(self.get::<Secret>(request).await?.map(Live::from))
    }

    /// The owners of a Secret that `pod` uses: the owners of the pod, or the pod itself if it has none. `None` if the
    /// pod is gone or is being deleted.
    ///
    /// # Errors
    ///
    /// The API server does not answer or refuses.
    pub(super) async fn owners(
        &self,
        namespace: &str,
        pod: &provider::Pod,
    ) -> Result<Option<Vec<OwnerReference>>, Trouble> {
        let request = Request::new(Pod::url_path(&(), Some(namespace))).get(&pod.name, &GetParams::default());
        let found = self.get::<Pod>(request).await?;
        Ok(found.and_then(|found| owners_of(found.metadata, &pod.uid)))
    }

    /// Applies what `manager` claims, and returns the Secret as it is then. An existing Secret must still have the
    /// version that was read. A new one must not conflict with one that was made meanwhile.
    ///
    /// # Errors
    ///
    /// Nothing was written, or it is not known whether it was.
    pub(super) async fn apply(
        &self,
        namespace: &str,
        manager: &str,
        manifest: &Manifest,
    ) -> Result<Live, Trouble> {
        let parameters = PatchParams {
            field_manager: Some(manager.to_owned()),
            force: manifest.version.is_some(),
            ..PatchParams::default()
        };
        let secret = as_secret(manifest);
        let request = secrets(namespace).patch(&manifest.name, &parameters, &Patch::Apply(&secret));
        Ok(Live::from(self.ask::<Secret>(request).await?))
    }

    /// Removes keys, no matter who wrote them, if the Secret still has this version.
    ///
    /// # Errors
    ///
    /// Nothing was removed, or it is not known whether it was.
    pub(super) async fn remove(
        &self,
        namespace: &str,
        name: &str,
        version: &str,
        keys: &BTreeSet<String>,
    ) -> Result<(), Trouble> {
        let data: serde_json::Map<_, _> =
            keys.iter().map(|key| (key.clone(), serde_json::Value::Null)).collect();
        let patch = Patch::Merge(json!({"metadata": {"resourceVersion": version}, "data": data}));
        let request = secrets(namespace).patch(name, &PatchParams::default(), &patch);
        self.ask::<Secret>(request).await.map(drop)
    }

    /// Deletes the Secret, if it is still this very one in this version.
    ///
    /// # Errors
    ///
    /// It was not deleted, or it is not known whether it was.
    pub(super) async fn delete(
        &self,
        namespace: &str,
        name: &str,
        uid: &str,
        version: &str,
    ) -> Result<(), Trouble> {
        let still = Preconditions { uid: Some(uid.to_owned()), resource_version: Some(version.to_owned()) };
        let parameters = DeleteParams { preconditions: Some(still), ..DeleteParams::default() };
        let request = secrets(namespace).delete(name, &parameters);
        self.ask::<serde_json::Value>(request).await.map(drop)
    }

    async fn get<T: DeserializeOwned>(&self, request: Asked) -> Result<Option<T>, Trouble> {
        match self.answer(request).await? {
            (404, _) => Ok(None),
            answer => read(answer).map(Some),
        }
    }

    async fn ask<T: DeserializeOwned>(&self, request: Asked) -> Result<T, Trouble> {
        read(self.answer(request).await?)
    }

    /// The HTTP status and the body of an answer.
    async fn answer(&self, request: Asked) -> Result<(u16, Vec<u8>), Trouble> {
        let request = request.map_err(|error| Trouble::Refused(error.to_string()))?.map(Body::from);
        let away = |error: kube::Error| Trouble::Away(error.to_string());
        let answer = timeout(ANSWER, async {
            let answer = self.0.send(request).await.map_err(away)?;
            let status = answer.status().as_u16();
            Ok((status, answer.into_body().collect_bytes().await.map_err(away)?.into()))
        });
        let late = |_| Trouble::Away(format!("no answer within {} s", ANSWER.as_secs()));
        answer.await.map_err(late)?
    }
}

fn secrets(namespace: &str) -> Request {
    Request::new(Secret::url_path(&(), Some(namespace)))
}

fn read<T: DeserializeOwned>((status, body): (u16, Vec<u8>)) -> Result<T, Trouble> {
    if (200..300).contains(&status) {
        return serde_json::from_slice(&body).map_err(|_| Trouble::Away(UNREADABLE.to_owned()));
    }
    let said = serde_json::from_slice::<Status>(&body).ok();
    let (ends, lacks) =
        (said.as_ref().is_some_and(is_ending_namespace), said.as_ref().is_none_or(lacks_a_right));
    let reason = said.map_or_else(|| format!("HTTP status {status}"), |said| said.message);
    Err(match status {
        409 => Trouble::Changed,
        403 if ends => Trouble::Refused(reason),
        403 if !lacks => Trouble::Held(reason),
        401 | 403 => Trouble::Forbidden(reason),
        429 | 500.. => Trouble::Away(reason),
        _ => Trouble::Refused(reason),
    })
}

fn owners_of(pod: ObjectMeta, uid: &str) -> Option<Vec<OwnerReference>> {
    if pod.uid.as_deref() != Some(uid) || pod.deletion_timestamp.is_some() {
        return None;
    }
    let own = OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Pod".to_owned(),
        name: pod.name.unwrap_or_default(),
        uid: uid.to_owned(),
        ..OwnerReference::default()
    };
    // A Secret may have several owners. None is its controller, and none waits until it is deleted.
    let plain = |owner| OwnerReference { controller: None, block_owner_deletion: None, ..owner };
    match pod.owner_references.unwrap_or_default() {
        owners if owners.is_empty() => Some(vec![own]),
        owners => Some(owners.into_iter().map(plain).collect()),
    }
}

fn as_secret(manifest: &Manifest) -> Secret {
    let data = manifest.data.iter();
    Secret {
        metadata: ObjectMeta {
            name: Some(manifest.name.clone()),
            labels: Some(manifest.labels.clone()),
            annotations: Some(manifest.annotations.clone()),
            owner_references: Some(manifest.owners.clone()),
            resource_version: manifest.version.clone(),
            ..ObjectMeta::default()
        },
        data: Some(data.map(|(key, value)| (key.clone(), ByteString(value.expose().to_vec()))).collect()),
        type_: manifest.kind.clone(),
        ..Secret::default()
    }
}
