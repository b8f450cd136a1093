//! Gives orders and takes them away, for `secretfs revoke` and `secretfs unrevoke`, with the rights of the caller.

use anyhow::{Context as _, anyhow, bail};
use engine::revocation::Given;
use kube::api::{DeleteParams, DynamicObject, ObjectMeta, PostParams};
use kube::{Api, Client, Error as ApiError};
use tokio::time::timeout;

use super::{Kind, Wish, resource};
use crate::connection::ANSWER;
use crate::refusal;

/// How names begin that the API server chooses.
const GENERATED: &str = "revoke-";

/// Gives an order, under this name or under one that the API server chooses. Returns its name. The nodes follow it from
/// now on.
///
/// # Errors
///
/// The caller may not, there is one of this name, or the API server cannot be asked.
pub async fn give(client: &Client, given: &Given, name: Option<&str>, wish: &Wish) -> anyhow::Result<String> {
    let (api, kind) = api(client, given)?;
    let metadata = match name {
        Some(name) => ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        None => ObjectMeta { generate_name: Some(GENERATED.to_owned()), ..ObjectMeta::default() },
    };
    let data = serde_json::json!({"spec": wish});
    let order = DynamicObject { types: Some(types(kind)), metadata, data };
    let asked = timeout(ANSWER, api.create(&PostParams::default(), &order)).await.context(LATE)?;
    let given = asked.map_err(|error| refused(&error, "create", given))?;
    given.metadata.name.ok_or_else(|| anyhow!("the API server made an order without a name"))
}

/// Takes an order away. What it covered is shown again, if nothing else revokes it.
///
/// # Errors
///
/// There is none of this name, the caller may not, or the API server cannot be asked.
pub async fn take_away(client: &Client, given: &Given, name: &str) -> anyhow::Result<()> {
    let (api, _) = api(client, given)?;
    let asked = timeout(ANSWER, api.delete(name, &DeleteParams::default())).await.context(LATE)?;
    asked.map_err(|error| refused(&error, "delete", given))?;
    Ok(())
}

/// For an API server that is silent. It may have done it all the same.
const LATE: &str =
    "the API server does not answer; look with `kubectl get revocations,clusterrevocations -A` what it has";

fn api(client: &Client, given: &Given) -> anyhow::Result<(Api<DynamicObject>, Kind)> {
    let Some(kind) = Kind::of(given) else { bail!("orders of a host are in no API server") };
    let api = match given {
        Given::InNamespace(namespace) => Api::namespaced_with(client.clone(), namespace, &resource(kind)),
        Given::InCluster | Given::OnHost => Api::all_with(client.clone(), &resource(kind)),
    };
    Ok((api, kind))
}

fn types(kind: Kind) -> kube::api::TypeMeta {
    let resource = resource(kind);
    kube::api::TypeMeta { api_version: resource.api_version, kind: resource.kind }
}

fn refused(error: &ApiError, verb: &str, given: &Given) -> anyhow::Error {
    let (what, role) = match given {
        Given::InNamespace(namespace) => {
            (format!("revocations in namespace {namespace}"), "revocations-operator-role")
        }
        Given::InCluster | Given::OnHost => {
            ("clusterrevocations".to_owned(), "clusterrevocations-operator-role")
        }
    };
    match error {
        ApiError::Api(status) if status.code == 403 && refusal::lacks_a_right(status) => {
            anyhow!(
                "you may not {verb} {what}; whoever administers the cluster can bind {role} to you or your group ({})",
                status.message
            )
        }
        ApiError::Api(status) if status.code == 409 => {
            anyhow!(
                "there is an order of this name; choose another name, or take that one away with `secretfs unrevoke`"
            )
        }
        ApiError::Api(status) if status.code == 422 => anyhow!("{}", status.message),
        ApiError::Api(status) if status.code == 404 && verb == "delete" => {
            anyhow!("there is no such order among the {what} ({})", status.message)
        }
        other => anyhow!(refusal::told(other, &format!("{verb} {what}"))),
    }
}
