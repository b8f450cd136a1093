use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::join_all;
use provider::{
    Identity, Leases, Object, Parameters, Pod, Provider, Result, SecretBytes, Session, Source, Tenure,
    Workload,
};
use provider_vault::{Vault, VaultConfig};
use serde_json::json;
use testing::{Claims, Issuer, OpenBao};

/// A provider whose default address is `address`.
pub(crate) fn vault(address: &str) -> Vault {
    Vault::new(VaultConfig { address: Some(address.to_owned()), ..VaultConfig::default() }).unwrap()
}

pub(crate) fn parameters<const N: usize>(pairs: [(&str, &str); N]) -> Parameters {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// A class that reads `objects` as role `app`.
pub(crate) fn class(vault: &Vault, objects: &str) -> Arc<dyn Source> {
    source(vault, [("roleName", "app"), ("objects", objects)])
}

/// A class of namespace `shop`.
pub(crate) fn source<const N: usize>(vault: &Vault, pairs: [(&str, &str); N]) -> Arc<dyn Source> {
    source_of("shop", vault, pairs)
}

pub(crate) fn source_of<const N: usize>(
    namespace: &str,
    vault: &Vault,
    pairs: [(&str, &str); N],
) -> Arc<dyn Source> {
    vault.source(namespace, &parameters(pairs)).unwrap()
}

/// A volume of a pod in another namespace, with its token.
pub(crate) fn of_namespace(namespace: &str, issuer: &Issuer) -> Workload {
    let token = issuer.mint(&Claims::of(namespace, "web").pod("web-0"));
    Workload { identity: Identity::named(namespace, "web"), ..with_token(token, "web-0", "v0") }
}

/// The volume `volume` of pod `pod` of `shop/web`, with its token.
pub(crate) fn workload(issuer: &Issuer, pod: &str, volume: &str) -> Workload {
    with_token(issuer.mint(&Claims::of("shop", "web").pod(pod)), pod, volume)
}

pub(crate) fn with_token(token: String, pod: &str, volume: &str) -> Workload {
    let tokens = BTreeMap::from([("vault".to_owned(), SecretBytes::from(token))]);
    Workload {
        identity: Identity { uid: Some("uid-of-shop-web".to_owned()), ..Identity::named("shop", "web") },
        pod: Some(Pod { name: pod.to_owned(), uid: format!("uid-{pod}") }),
        volume: volume.to_owned(),
        tokens,
        credentials: BTreeMap::new(),
    }
}

/// A volume without a token and with credentials.
pub(crate) fn with_credentials<const N: usize>(pairs: [(&str, &str); N]) -> Workload {
    let secret = |(key, value): &(&str, &str)| ((*key).to_owned(), SecretBytes::from((*value).to_owned()));
    let mut workload = with_token(String::new(), "web-0", "v1");
    workload.tokens.clear();
    workload.credentials = pairs.iter().map(secret).collect();
    workload
}

/// An OpenBao with a versioned KV engine at `secret`, and with kubernetes and jwt logins. Their role `app` accepts
/// `shop/web`, which may read `secret/` and `database/`, and issue certificates at `pki/`.
pub(crate) fn store() -> (OpenBao, Issuer) {
    let (bao, issuer) = (OpenBao::start(), Issuer::start());
    prepare(&bao, &issuer);
    (bao, issuer)
}

pub(crate) fn prepare(bao: &OpenBao, issuer: &Issuer) {
    bao.mount_kv2("secret");
    bao.auth_kubernetes("kubernetes", issuer);
    bao.auth_jwt("jwt", issuer);
    bao.policy(
        "app",
        &[
            ("secret/*", &["read"]),
            ("kv1/*", &["read"]),
            ("database/*", &["read"]),
            ("pki/issue/*", &["update"]),
            ("transit/*", &["update"]),
        ],
    );
    bao.write(
        "auth/kubernetes/role/app",
        &json!({
            "bound_service_account_names": "web", "bound_service_account_namespaces": "shop",
            "audience": "vault", "token_policies": "app", "token_ttl": "10m",
        }),
    );
    bao.write(
        "auth/jwt/role/app",
        &json!({
            "role_type": "jwt", "user_claim": "sub", "bound_audiences": ["vault"], "token_policies": "app",
            "bound_subject": "system:serviceaccount:shop:web", "token_ttl": "10m",
        }),
    );
}

/// What every object of `source` shows, by path. Reads as the engine does: all at once, each request once.
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

/// The text of the only object of `source`, read for a volume that shares its login.
pub(crate) async fn only(source: &dyn Source, workload: &Workload) -> Result<String> {
    let session = source.session(workload, Tenure::Shared).await?;
    let files = files(source, &*session).await?;
    Ok(text(files.values().next().unwrap()))
}

pub(crate) fn leases(session: &Arc<dyn Session>) -> &dyn Leases {
    session.leases().unwrap()
}

pub(crate) fn text(object: &Object) -> String {
    String::from_utf8(object.contents.expose().to_vec()).unwrap()
}
