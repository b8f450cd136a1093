use std::collections::BTreeMap;
use std::sync::Arc;

use provider::{
    Identity, Object, Parameters, Pod, Provider, Result, SecretBytes, Session, Source, Tenure, Workload,
};
use provider_cyberark::{CyberArk, CyberArkConfig};
use testing::Ccp;

pub(crate) fn parameters(objects: &str, more: &[(&str, &str)]) -> Parameters {
    let all = [("appId", "shop"), ("safe", "Shop"), ("objects", objects)];
    all.iter().chain(more).map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect()
}

pub(crate) fn config(ccp: &Ccp) -> CyberArkConfig {
    CyberArkConfig {
        url: Some(ccp.url()),
        ca: Some(ccp.authority_file()),
        pause: std::time::Duration::from_millis(50),
        ..CyberArkConfig::default()
    }
}

pub(crate) fn cyberark(ccp: &Ccp) -> CyberArk {
    CyberArk::new(config(ccp)).unwrap()
}

pub(crate) fn source(cyberark: &CyberArk, objects: &str, more: &[(&str, &str)]) -> Arc<dyn Source> {
    cyberark.source("shop", &parameters(objects, more)).unwrap()
}

/// A volume of `shop/web` with this certificate.
pub(crate) fn workload(client: &testing::Identity) -> Workload {
    let pair = [("tls.crt", &client.certificate), ("tls.key", &client.key)];
    let credentials = pair.map(|(name, text)| (name.to_owned(), SecretBytes::from(text.clone())));
    Workload { credentials: credentials.into(), ..without_certificate() }
}

pub(crate) fn without_certificate() -> Workload {
    Workload {
        identity: Identity { uid: Some("uid-of-shop-web".to_owned()), ..Identity::named("shop", "web") },
        pod: Some(Pod { name: "web-0".to_owned(), uid: "uid-web-0".to_owned() }),
        volume: "v1".to_owned(),
        tokens: BTreeMap::new(),
        credentials: BTreeMap::new(),
    }
}

/// What every object of `source` shows, by path.
pub(crate) async fn each(source: &dyn Source, session: &dyn Session) -> BTreeMap<String, Result<Object>> {
    let mut shown = BTreeMap::new();
    for (index, object) in source.objects().iter().enumerate() {
        let reading = session.read(&object.request).await;
        let object_of = reading.and_then(|reading| object.decoded(source.extract(index, &reading)?));
        shown.insert(object.path.to_string(), object_of);
    }
    shown
}

/// The one object of `source`.
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
