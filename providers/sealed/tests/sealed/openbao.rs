//! Values sealed with keys of a real OpenBao, whose own policies judge who opens them.

use std::collections::BTreeMap;
use std::sync::Arc;

use provider::{ErrorKind, Identity, Parameters, Pod, Provider, Providers, SecretBytes, Workload};
use provider_sealed::{Kms, Sealed, SealedText, Sealer};
use provider_vault::{Vault, VaultConfig};
use serde_json::json;
use testing::{Claims, Issuer, OpenBao};

use crate::texts::{objects, place, read};

/// An OpenBao with two keys. The role `app` accepts `shop/till`, which may decrypt with `transit/shop`.
fn store() -> (OpenBao, Issuer) {
    let (bao, issuer) = (OpenBao::start(), Issuer::start());
    bao.transit(&["shop", "bank"]);
    bao.auth_kubernetes("kubernetes", &issuer);
    bao.policy("opens", &[("transit/decrypt/shop", &["update"])]);
    bao.policy("seals", &[("transit/encrypt/*", &["update"])]);
    role(&bao, "app", "till", "opens");
    role(&bao, "other", "other", "seals");
    (bao, issuer)
}

fn role(bao: &OpenBao, role: &str, account: &str, policy: &str) {
    let body = json!({
        "bound_service_account_names": account, "bound_service_account_namespaces": "*",
        "audience": "vault", "token_policies": policy, "token_ttl": "10m",
    });
    bao.write(&format!("auth/kubernetes/role/{role}"), &body);
}

/// What a process with no file of another's has: the store's address and its own environment.
fn sealer(bao: &OpenBao, environment: Option<&str>) -> Sealer {
    let vault = VaultConfig { address: Some(bao.address()), ..VaultConfig::default() };
    let vault: Arc<dyn Provider> = Arc::new(Vault::new(vault).unwrap());
    Sealer::new(environment.map(str::to_owned), Providers::default().with(&vault))
}

fn parameters(more: &[(&str, &str)]) -> Parameters {
    let base = [("kms", "vault"), ("kmsKey", "transit/shop"), ("kmsParameters", "roleName: app")];
    base.iter().chain(more).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// The caller of `secretfs seal`: a person with a token that may only encrypt.
fn person(bao: &OpenBao) -> (Kms, Workload) {
    let body = json!({"policies": ["seals"], "no_parent": true});
    let token = bao.write("auth/token/create", &body)["auth"]["client_token"].as_str().unwrap().to_owned();
    let workload = Workload {
        identity: Identity::named("shop", "default"),
        pod: None,
        volume: "seal".to_owned(),
        tokens: BTreeMap::new(),
        credentials: BTreeMap::from([("token".to_owned(), SecretBytes::from(token))]),
    };
    let kms = sealer(bao, None).kms(&parameters(&[("kmsParameters", "secretfs.dev/auth: token")])).unwrap();
    (kms, workload)
}

fn pod(issuer: &Issuer, namespace: &str, account: &str) -> Workload {
    let token = issuer.mint(&Claims::of(namespace, account).pod("pod-0"));
    Workload {
        identity: Identity {
            uid: Some(format!("uid-of-{namespace}-{account}")),
            ..Identity::named(namespace, account)
        },
        pod: Some(Pod { name: "pod-0".to_owned(), uid: "uid-pod-0".to_owned() }),
        volume: "v".to_owned(),
        tokens: BTreeMap::from([("vault".to_owned(), SecretBytes::from(token))]),
        credentials: BTreeMap::new(),
    }
}

#[tokio::test]
async fn what_a_person_seals_opens_in_another_place_for_the_pod_that_the_policy_lets_decrypt() {
    let (bao, issuer) = store();
    let (with_token, person) = person(&bao);
    let values: [(&str, &[u8]); 4] =
        [("binary", &[0, 255, 10, 128]), ("empty", b""), ("big", &[7; 64 << 10]), ("text", b"hunter2\n")];
    let mut texts = Vec::new();
    for (name, value) in values {
        let value = SecretBytes::new(value.to_vec());
        texts.push(
            sealer(&bao, Some("production")).seal(place(name), &with_token, &person, &value).await.unwrap(),
        );
    }
    let listed: Vec<_> = values.iter().zip(&texts).map(|((name, _), text)| (*name, text)).collect();
    let class = parameters(&[("objects", &objects(&listed))]);

    let elsewhere = Sealed::new(sealer(&bao, Some("production")));
    let source = elsewhere.source_of("shop", "till", &class).unwrap();
    for (index, (name, value)) in values.iter().enumerate() {
        let shown = read(&*source, &pod(&issuer, "shop", "till"), index).await.unwrap();
        assert_eq!(shown.contents.expose(), *value, "{name}");
    }

    let denied = {
        let other = parameters(&[("objects", &objects(&listed)), ("kmsParameters", "roleName: other")]);
        let source = elsewhere.source_of("shop", "till", &other).unwrap();
        read(&*source, &pod(&issuer, "shop", "other"), 0).await.unwrap_err()
    };
    assert_eq!(denied.kind(), ErrorKind::Denied, "{denied}");
    let cannot = sealer(&bao, Some("production")).open(&texts[0], &with_token, &person).await.unwrap_err();
    assert_eq!(cannot.kind(), ErrorKind::Denied, "who may encrypt may not decrypt: {cannot}");
}

#[tokio::test]
async fn a_text_in_another_place_is_refused_and_told_what_differs() {
    let (bao, issuer) = store();
    let (with_token, person) = person(&bao);
    let production = sealer(&bao, Some("production"));
    let text = production.seal(place("a"), &with_token, &person, &"x".to_owned().into()).await.unwrap();
    let class = |object, more: &[(&str, &str)]| {
        let mut class = parameters(&[("objects", &objects(&[(object, &text)]))]);
        class.extend(more.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        class
    };
    let refused = |environment, namespace, name, class: &Parameters| {
        let faults = Sealed::new(sealer(&bao, environment)).source_of(namespace, name, class).unwrap_err();
        faults[0].to_string()
    };
    let here = Some("production");

    for (told, why) in [
        (refused(Some("staging"), "shop", "till", &class("a", &[])), "environment"),
        (refused(here, "bank", "till", &class("a", &[])), "namespace"),
        (refused(here, "shop", "drawer", &class("a", &[])), "class"),
        (refused(here, "shop", "till", &class("b", &[])), "object"),
        (refused(here, "shop", "till", &class("a", &[("kmsKey", "transit/bank")])), "kmsKey"),
        (refused(here, "shop", "till", &class("a", &[("kms", "openbao")])), "kms"),
        (refused(here, "shop", "till", &class("a", &[("kms", "nobody")])), "no provider"),
    ] {
        assert!(told.contains(why), "{why}: {told}");
    }

    let nameless = Sealed::new(sealer(&bao, None)).source_of("shop", "till", &class("a", &[])).unwrap();
    let refused = read(&*nameless, &pod(&issuer, "shop", "till"), 0).await.unwrap_err();
    assert!(refused.is_unasked() && refused.to_string().contains("--environment"), "{refused}");
}

/// Somebody who writes the words of a text anew does not get further than the store, or than the value.
#[tokio::test]
async fn a_text_whose_words_were_changed_to_fit_does_not_open() {
    let (bao, issuer) = store();
    let (with_token, person) = person(&bao);
    let production = sealer(&bao, Some("production"));
    let seal = async |object| {
        production
            .seal(place(object), &with_token, &person, &format!("value of {object}").into())
            .await
            .unwrap()
    };
    let (one, other) = (seal("a").await, seal("b").await);
    let line = |text: &SealedText| text.lines().join(" ");
    let provider = Sealed::new(sealer(&bao, Some("production")));
    let till = pod(&issuer, "shop", "till");

    let renamed = SealedText::parse(&line(&one).replace("object=a", "object=b")).unwrap();
    let with_key = |wrapped: String| {
        let mut text = one.clone();
        text.wrapped = wrapped;
        text
    };
    let other_key = with_key(other.wrapped.clone());
    let altered = |at: usize| {
        let mut letters: Vec<_> = one.wrapped.chars().collect();
        letters[at] = if letters[at] == 'A' { 'B' } else { 'A' };
        with_key(letters.into_iter().collect())
    };
    for (object, text) in [("b", renamed), ("a", other_key), ("a", altered(12)), ("a", altered(40))] {
        let class = parameters(&[("objects", &objects(&[(object, &text)]))]);
        let source = provider.source_of("shop", "till", &class).unwrap();
        let refused = read(&*source, &till, 0).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid, "{refused}");
        assert!(!refused.to_string().contains("value of"), "{refused}");
    }
}

#[tokio::test]
async fn a_rotated_key_opens_what_the_older_version_sealed_until_that_is_taken_away() {
    let (bao, issuer) = store();
    let (with_token, person) = person(&bao);
    let production = sealer(&bao, Some("production"));
    let text = production.seal(place("a"), &with_token, &person, &"x".to_owned().into()).await.unwrap();
    let provider = Sealed::new(sealer(&bao, Some("production")));
    let source =
        provider.source_of("shop", "till", &parameters(&[("objects", &objects(&[("a", &text)]))])).unwrap();
    let till = pod(&issuer, "shop", "till");

    bao.write("transit/keys/shop/rotate", &json!({}));
    assert!(read(&*source, &till, 0).await.is_ok());

    bao.write("transit/keys/shop/config", &json!({"min_decryption_version": 2}));
    let refused = read(&*source, &till, 0).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid, "{refused}");

    let again = production.seal(place("a"), &with_token, &person, &"x".to_owned().into()).await.unwrap();
    assert!(again.wrapped.starts_with("vault:v2:"), "{}", again.wrapped);
}
