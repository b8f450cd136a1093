use std::collections::BTreeMap;
use std::sync::Arc;

use provider::{
    Identity, Object, Parameters, Pod, Provider, Query, Result, SecretBytes, Session, Source, Tenure,
    Workload,
};
use provider_conjur::{Conjur, ConjurConfig};
use testing::{Claims, Issuer};

pub(crate) const AUDIENCE: &str = "conjur";
/// The host that `shop/web` is.
pub(crate) const HOST: &str = "host/shop/web";

pub(crate) fn parameters<const N: usize>(pairs: [(&str, &str); N]) -> Parameters {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// A stub that lets `shop/web` read everything below `shop/`, and the cluster of that pod.
pub(crate) fn stub() -> (testing::Conjur, Issuer) {
    let issuer = Issuer::start();
    let stub = testing::Conjur::start(&issuer);
    stub.trust(HOST, "shop:web");
    stub.permit(HOST, "shop/.*", &["read", "execute"]);
    (stub, issuer)
}

pub(crate) fn config(url: &str) -> ConjurConfig {
    ConjurConfig { url: Some(url.to_owned()), account: Some("acme".to_owned()), ..ConjurConfig::default() }
}

pub(crate) fn conjur(stub: &testing::Conjur) -> Conjur {
    Conjur::new(config(&stub.url())).unwrap()
}

pub(crate) fn source<const N: usize>(conjur: &Conjur, pairs: [(&str, &str); N]) -> Arc<dyn Source> {
    let mut parameters = parameters(pairs);
    parameters.entry("authnId".to_owned()).or_insert_with(|| "authn-jwt/kube".to_owned());
    conjur.source("shop", &parameters).unwrap()
}

/// The volume `volume` of pod `pod` of `shop/web`, with its token.
pub(crate) fn workload(issuer: &Issuer, pod: &str, volume: &str) -> Workload {
    let token = issuer.mint(&Claims::of("shop", "web").pod(pod).audience(AUDIENCE));
    let tokens = BTreeMap::from([(AUDIENCE.to_owned(), SecretBytes::from(token))]);
    Workload { tokens, ..without_token(pod, volume) }
}

/// The same without a token.
pub(crate) fn without_token(pod: &str, volume: &str) -> Workload {
    Workload {
        identity: Identity { uid: Some("uid-of-shop-web".to_owned()), ..Identity::named("shop", "web") },
        pod: Some(Pod { name: pod.to_owned(), uid: format!("uid-{pod}") }),
        volume: volume.to_owned(),
        tokens: BTreeMap::new(),
        credentials: BTreeMap::new(),
    }
}

/// What every object of `source` shows, by path, read as the engine does: by the session's calls, each request once.
pub(crate) async fn each(source: &dyn Source, session: &dyn Session) -> BTreeMap<String, Result<Object>> {
    let mut requests: Vec<_> = source.objects().iter().map(|object| object.request.clone()).collect();
    requests.sort();
    requests.dedup();
    let mut readings = BTreeMap::new();
    for call in session.calls(requests) {
        let queries: Vec<_> = call.into_iter().map(Query::from).collect();
        let found = session.read_many(&queries).await;
        assert_eq!(found.len(), queries.len());
        for (query, found) in queries.into_iter().zip(found) {
            readings.insert(query.request, found.and_then(|found| found.reading(None)));
        }
    }
    let extract = |(index, object): (usize, &provider::ObjectRef)| {
        let reading = readings.get(&object.request).unwrap().clone();
        let object_of = |reading| object.decoded(source.extract(index, &reading)?);
        (object.path.to_string(), reading.and_then(object_of))
    };
    source.objects().iter().enumerate().map(extract).collect()
}

pub(crate) async fn files(source: &dyn Source, session: &dyn Session) -> Result<BTreeMap<String, Object>> {
    each(source, session).await.into_iter().map(|(path, object)| Ok((path, object?))).collect()
}

/// The one object of `source`, read for a volume that shares its login.
pub(crate) async fn only(source: &dyn Source, workload: &Workload) -> Result<Object> {
    let session = source.session(workload, Tenure::Shared).await?;
    Ok(files(source, &*session).await?.into_values().next().unwrap())
}

/// The same as text.
pub(crate) async fn shown(source: &dyn Source, workload: &Workload) -> Result<String> {
    only(source, workload).await.map(|object| text(&object))
}

pub(crate) fn text(object: &Object) -> String {
    String::from_utf8(object.contents.expose().to_vec()).unwrap()
}
