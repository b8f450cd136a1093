use std::collections::BTreeMap;
use std::sync::Arc;

use provider::{
    Identity, Object, Parameters, Pod, Provider, Result, SecretBytes, Session, Source, Tenure, Workload,
};
use provider_confidant::{Confidant, ConfidantConfig};
use testing::Moto;

pub(crate) const AUDIENCE: &str = "sts.amazonaws.com";
pub(crate) const ROLE: &str = "arn:aws:iam::123456789012:role/shop";
/// The service that `shop/web` is.
pub(crate) const SERVICE: &str = "shop-production";

pub(crate) fn config(url: &str, aws: &str) -> ConfidantConfig {
    ConfidantConfig {
        url: Some(url.to_owned()),
        aws_endpoint: Some(aws.to_owned()),
        ..ConfidantConfig::default()
    }
}

pub(crate) fn confidant(server: &testing::Confidant) -> Confidant {
    Confidant::new(config(&server.url(), &server.aws().url())).unwrap()
}

/// A class for the service, with `more` on top.
pub(crate) fn parameters(objects: &str, more: &[(&str, &str)]) -> Parameters {
    let all = [
        ("service", SERVICE),
        ("authKey", "alias/authnz"),
        ("authContext", "confidant-test"),
        ("region", "us-east-1"),
        ("roleArn", ROLE),
        ("objects", objects),
    ];
    all.iter().chain(more).map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect()
}

pub(crate) fn source(confidant: &Confidant, objects: &str, more: &[(&str, &str)]) -> Arc<dyn Source> {
    confidant.source("shop", &parameters(objects, more)).unwrap()
}

/// The volume `volume` of pod `pod` of `shop/web`, with a token. moto judges none.
pub(crate) fn workload(pod: &str, volume: &str) -> Workload {
    let token = SecretBytes::from(format!("token-of-{pod}"));
    Workload { tokens: BTreeMap::from([(AUDIENCE.to_owned(), token)]), ..without_token(pod, volume) }
}

pub(crate) fn without_token(pod: &str, volume: &str) -> Workload {
    Workload {
        identity: Identity { uid: Some("uid-of-shop-web".to_owned()), ..Identity::named("shop", "web") },
        pod: Some(Pod { name: pod.to_owned(), uid: format!("uid-{pod}") }),
        volume: volume.to_owned(),
        tokens: BTreeMap::new(),
        credentials: BTreeMap::new(),
    }
}

/// A volume with an access key of a user of moto's that has this policy.
pub(crate) fn with_keys(moto: &Moto, user: &str, policy: &serde_json::Value) -> Workload {
    let [id, secret] = moto.user(user, policy);
    let keys = [("access-key-id", id), ("secret-access-key", secret)];
    let credentials = keys.map(|(name, text)| (name.to_owned(), SecretBytes::from(text)));
    Workload { credentials: credentials.into(), ..without_token("web-0", "v1") }
}

/// What every object of `source` shows, by path, each request read once.
pub(crate) async fn each(source: &dyn Source, session: &dyn Session) -> BTreeMap<String, Result<Object>> {
    let reading = session.read(&source.objects()[0].request).await;
    let extract = |(index, object): (usize, &provider::ObjectRef)| {
        let shown = reading.clone().and_then(|reading| object.decoded(source.extract(index, &reading)?));
        (object.path.to_string(), shown)
    };
    source.objects().iter().enumerate().map(extract).collect()
}

/// The one object of `source`, read for a volume that shares its login.
pub(crate) async fn only(source: &dyn Source, workload: &Workload) -> Result<Object> {
    let session = source.session(workload, Tenure::Shared).await?;
    each(source, &*session).await.into_values().next().unwrap()
}

/// The same as text.
pub(crate) async fn shown(source: &dyn Source, workload: &Workload) -> Result<String> {
    only(source, workload).await.map(|object| text(&object))
}

pub(crate) fn text(object: &Object) -> String {
    String::from_utf8(object.contents.expose().to_vec()).unwrap()
}
