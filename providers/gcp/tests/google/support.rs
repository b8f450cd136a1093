use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::join_all;
use provider::{
    Identity, Object, Parameters, Pod, Provider, Result, SecretBytes, Session, Source, Tenure, Workload,
};
use provider_gcp::{Gcp, GcpConfig};
use testing::{Claims, Google, Issuer};

/// The identity namespace of [`CLUSTER`].
pub(crate) const POOL: &str = "p1.svc.id.goog";
/// A cluster that vouches for its pods.
pub(crate) const CLUSTER: &str =
    "https://container.googleapis.com/v1/projects/p1/locations/europe-west3/clusters/c1";
/// A provider of workload identity federation that does.
pub(crate) const PROVIDER: &str =
    "//iam.googleapis.com/projects/123/locations/global/workloadIdentityPools/pool/providers/shop";

pub(crate) fn parameters<const N: usize>(pairs: [(&str, &str); N]) -> Parameters {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Google, and a cluster whose tokens it exchanges.
pub(crate) fn google() -> (Google, Issuer) {
    let issuer = Issuer::start();
    (Google::start(&issuer), issuer)
}

pub(crate) fn config(google: &Google) -> GcpConfig {
    GcpConfig {
        endpoint: google.url(),
        identity_provider: Some(CLUSTER.to_owned()),
        metadata_endpoint: google.url(),
        ..GcpConfig::default()
    }
}

pub(crate) fn gcp(google: &Google) -> Gcp {
    Gcp::new(config(google)).unwrap()
}

pub(crate) fn source<const N: usize>(gcp: &Gcp, pairs: [(&str, &str); N]) -> Arc<dyn Source> {
    gcp.source("shop", &parameters(pairs)).unwrap()
}

/// A class that shows the newest version of `projects/p1/secrets/NAME` as the file NAME.
pub(crate) fn newest(gcp: &Gcp, name: &str) -> Arc<dyn Source> {
    let secrets = format!("- {{resourceName: projects/p1/secrets/{name}/versions/latest, path: {name}}}");
    source(gcp, [("secrets", &secrets)])
}

/// The volume `volume` of pod `pod` of `shop/web`, with its token.
pub(crate) fn workload(issuer: &Issuer, pod: &str, volume: &str) -> Workload {
    with_token(POOL, issuer.mint(&Claims::of("shop", "web").pod(pod).audience(POOL)), pod, volume)
}

pub(crate) fn with_token(audience: &str, token: String, pod: &str, volume: &str) -> Workload {
    Workload {
        identity: Identity { uid: Some("uid-of-shop-web".to_owned()), ..Identity::named("shop", "web") },
        pod: Some(Pod { name: pod.to_owned(), uid: format!("uid-{pod}") }),
        volume: volume.to_owned(),
        tokens: BTreeMap::from([(audience.to_owned(), SecretBytes::from(token))]),
        credentials: BTreeMap::new(),
    }
}

/// A volume of `shop/web` without a token.
pub(crate) fn without_token() -> Workload {
    Workload { tokens: BTreeMap::new(), ..with_token("", String::new(), "web-0", "v1") }
}

/// What every object of `source` shows, by path, read at once as the engine does, each request once.
pub(crate) async fn files(source: &dyn Source, session: &dyn Session) -> Result<BTreeMap<String, Object>> {
    let mut requests: Vec<_> = source.objects().iter().map(|object| object.request.clone()).collect();
    requests.sort();
    requests.dedup();
    let readings = join_all(requests.iter().map(|request| session.read(request))).await;
    let readings: BTreeMap<_, _> = requests.iter().zip(readings).collect();
    let extract = |(index, object): (usize, &provider::ObjectRef)| {
        let reading = readings.get(&object.request).unwrap().clone()?;
        Ok((object.path.to_string(), object.decoded(source.extract(index, &reading)?)?))
    };
    source.objects().iter().enumerate().map(extract).collect()
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
