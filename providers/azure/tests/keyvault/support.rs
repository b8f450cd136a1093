use std::collections::BTreeMap;
use std::sync::Arc;

use provider::{
    ErrorKind, Found, Identity, MachineIdentity, Network, Object, Parameters, Pod, Provider, Query, Result,
    SecretBytes, Session, Source, Tenure, Workload,
};
use provider_azure::{Azure, AzureConfig};
use testing::{Claims, Issuer, KeyVault};

pub(crate) const AUDIENCE: &str = "api://AzureADTokenExchange";
/// The application that the pods of `shop/web` log in as.
pub(crate) const CLIENT: &str = "00000000-0000-0000-0000-000000000002";
pub(crate) const TENANT: &str = "00000000-0000-0000-0000-000000000001";

/// A stub in which `shop/web` may log in as [`CLIENT`], who signs its tokens, and a provider that knows it as its cloud.
pub(crate) struct Cloud {
    pub(crate) vault: KeyVault,
    pub(crate) issuer: Issuer,
    pub(crate) azure: Azure,
}

impl Cloud {
    pub(crate) fn start() -> Self {
        let issuer = Issuer::start();
        let vault = KeyVault::start(&issuer);
        vault.trust(CLIENT, "shop:web");
        let azure = Azure::new(config(&vault)).unwrap();
        Self { vault, issuer, azure }
    }

    /// A class that reads `objects` of `shop-kv` with the pod's token.
    pub(crate) fn class(&self, objects: &str) -> Arc<dyn Source> {
        self.source(&[("clientID", CLIENT), ("objects", &array(objects))])
    }

    /// A class that has `more` beside vault and tenant.
    pub(crate) fn source(&self, more: &[(&str, &str)]) -> Arc<dyn Source> {
        self.azure.source("shop", &parameters(more)).unwrap()
    }

    /// A volume of pod `pod` of `shop/web`, with its token.
    pub(crate) fn workload(&self, pod: &str) -> Workload {
        self.of_account("web", pod)
    }

    pub(crate) fn of_account(&self, account: &str, pod: &str) -> Workload {
        let token = self.issuer.mint(&Claims::of("shop", account).pod(pod).audience(AUDIENCE));
        with(account, pod, &[(AUDIENCE, &token)], &[])
    }

    pub(crate) async fn files(&self, source: &dyn Source) -> Result<BTreeMap<String, Object>> {
        files(source, &self.workload("web-0")).await
    }

    /// The contents of the one file of `source`.
    pub(crate) async fn only(&self, source: &dyn Source) -> Result<String> {
        let files = self.files(source).await?;
        Ok(text(files.values().next().unwrap()))
    }

    /// What an error of reading `source` is.
    pub(crate) async fn kind(&self, source: &dyn Source) -> ErrorKind {
        self.files(source).await.unwrap_err().kind()
    }

    /// How many requests so far have a target with `part` in it.
    pub(crate) fn asked(&self, part: &str) -> usize {
        let has = |entry: &&serde_json::Value| entry["target"].as_str().unwrap().contains(part);
        self.vault.seen().iter().filter(has).count()
    }
}

/// The stub as the node's cloud: `shop-kv` is the vault without a name of its own.
pub(crate) fn config(vault: &KeyVault) -> AzureConfig {
    let machine = MachineIdentity { namespaces: vec!["infra".to_owned()], is_for_host: false };
    AzureConfig {
        authority: Some(vault.url()),
        vault_url: Some(format!("{}/vault/NAME", vault.url())),
        metadata_endpoint: vault.url(),
        network: Network { machine, ..Network::default() },
        ..AzureConfig::default()
    }
}

/// A text of YAML for each line of `objects`, which are the pairs of one object.
pub(crate) fn array(objects: &str) -> String {
    let each = objects.lines().map(|line| format!("- '{{{line}}}'\n"));
    format!("array:\n{}", each.collect::<String>())
}

pub(crate) fn parameters(more: &[(&str, &str)]) -> Parameters {
    let all = [("keyvaultName", "shop-kv"), ("tenantID", TENANT)];
    all.iter().chain(more).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// A pod of `shop` with tokens and credentials.
pub(crate) fn with(
    account: &str,
    pod: &str,
    tokens: &[(&str, &str)],
    credentials: &[(&str, &str)],
) -> Workload {
    let secrets = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), SecretBytes::from((*value).to_owned()))).collect()
    };
    Workload {
        identity: Identity { uid: Some(format!("uid-of-{account}")), ..Identity::named("shop", account) },
        pod: Some(Pod { name: pod.to_owned(), uid: format!("uid-{pod}") }),
        volume: format!("volume-of-{pod}"),
        tokens: secrets(tokens),
        credentials: secrets(credentials),
    }
}

/// What every object of `source` shows, by path, read as the engine does: each request once, in calls of the session.
/// Optional objects that are not there are left out.
pub(crate) async fn files(source: &dyn Source, workload: &Workload) -> Result<BTreeMap<String, Object>> {
    let session = source.session(workload, Tenure::Shared).await?;
    let readings = readings(source, &*session).await;
    let mut files = BTreeMap::new();
    for (index, object) in source.objects().iter().enumerate() {
        let read = readings.get(&object.request).unwrap().clone();
        let extracted = read.and_then(|found| object.decoded(source.extract(index, &found.reading(None)?)?));
        match extracted {
            Err(error) if object.optional && error.kind() == ErrorKind::NotFound => {}
            extracted => {
                files.insert(object.path.to_string(), extracted?);
            }
        }
    }
    Ok(files)
}

async fn readings(source: &dyn Source, session: &dyn Session) -> BTreeMap<provider::Request, Result<Found>> {
    let mut requests: Vec<_> = source.objects().iter().map(|object| object.request.clone()).collect();
    requests.sort();
    requests.dedup();
    let mut readings = BTreeMap::new();
    for call in session.calls(requests) {
        let queries: Vec<_> = call.iter().cloned().map(Query::from).collect();
        readings.extend(call.into_iter().zip(session.read_many(&queries).await));
    }
    readings
}

pub(crate) fn text(object: &Object) -> String {
    String::from_utf8(object.contents.expose().to_vec()).unwrap()
}
