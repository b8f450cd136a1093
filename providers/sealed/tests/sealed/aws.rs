//! Values sealed with keys of a real moto, which judges signatures and the policies of users as AWS's IAM does. It does not
//! judge the policies of the keys themselves; no test here is about those.

use std::collections::BTreeMap;
use std::sync::Arc;

use provider::{ErrorKind, Identity, Parameters, Provider, Providers, SecretBytes, Workload};
use provider_aws::{Aws, AwsConfig};
use provider_sealed::{Sealed, Sealer};
use serde_json::json;
use testing::Moto;

use crate::texts::{changed, objects, place, read};

const REGION: &str = "eu-west-1";

/// What a process with no file of another's has: the address of AWS and its own environment.
fn sealer(moto: &Moto) -> Sealer {
    let config = AwsConfig { endpoint: Some(moto.url()), ..AwsConfig::default() };
    let aws: Arc<dyn Provider> = Arc::new(Aws::new(config).unwrap());
    Sealer::new(Some("production".to_owned()), Providers::default().with(&aws))
}

fn key(moto: &Moto) -> String {
    moto.kms(REGION, "CreateKey", &json!({}))["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned()
}

/// A user who may do `action` and nothing else, once moto judges.
fn who_may(moto: &Moto, action: &str) -> Workload {
    let policy = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, "Resource": "*"}]});
    let [id, secret] = moto.user(&action.replace(':', "-"), &policy);
    let pairs = [("access-key-id", id), ("secret-access-key", secret)];
    Workload {
        identity: Identity::named("shop", "till"),
        pod: None,
        volume: action.to_owned(),
        tokens: BTreeMap::new(),
        credentials: pairs.map(|(key, value)| (key.to_owned(), SecretBytes::from(value))).into(),
    }
}

fn parameters(key: &str, objects: &str) -> Parameters {
    let theirs = format!("{{region: {REGION}, secretfs.dev/auth: keys}}");
    [("kms", "aws"), ("kmsKey", key), ("kmsParameters", &theirs), ("objects", objects)]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

#[tokio::test]
async fn what_was_sealed_with_a_key_of_kms_opens_elsewhere_for_who_may_decrypt_and_for_nobody_else() {
    let moto = Moto::start();
    let key = key(&moto);
    let [seals, opens] = ["kms:Encrypt", "kms:Decrypt"].map(|action| who_may(&moto, action));
    moto.judge();
    let desk = sealer(&moto);
    let kms = desk.kms(&parameters(&key, "")).unwrap();
    let values: [(&str, &[u8]); 4] =
        [("binary", &[0, 255, 10, 128]), ("empty", b""), ("big", &[7; 64 << 10]), ("text", b"hunter2\n")];
    let mut texts = Vec::new();
    for (name, value) in values {
        let value = SecretBytes::new(value.to_vec());
        texts.push(desk.seal(place(name), &kms, &seals, &value).await.unwrap());
    }
    let listed: Vec<_> = values.iter().zip(&texts).map(|((name, _), text)| (*name, text)).collect();

    let elsewhere = Sealed::new(sealer(&moto));
    let source = elsewhere.source_of("shop", "till", &parameters(&key, &objects(&listed))).unwrap();
    for (index, (name, value)) in values.iter().enumerate() {
        let shown = read(&*source, &opens, index).await.unwrap();
        assert_eq!(shown.contents.expose(), *value, "{name}");
    }

    let denied = read(&*source, &seals, 0).await.unwrap_err();
    assert_eq!(denied.kind(), ErrorKind::Denied, "who may encrypt may not decrypt: {denied}");
    let denied = desk.seal(place("a"), &kms, &opens, &SecretBytes::new(vec![1])).await.unwrap_err();
    assert_eq!(denied.kind(), ErrorKind::Denied, "who may decrypt may not encrypt: {denied}");
}

#[tokio::test]
async fn data_keys_and_key_names_that_were_swapped_between_texts_of_kms_do_not_open() {
    let moto = Moto::start();
    let (mine, theirs) = (key(&moto), key(&moto));
    let [seals, opens] = ["kms:Encrypt", "kms:Decrypt"].map(|action| who_may(&moto, action));
    let desk = sealer(&moto);
    let seal = async |key: &str, object| {
        let kms = desk.kms(&parameters(key, "")).unwrap();
        desk.seal(place(object), &kms, &seals, &format!("value of {object}").into()).await.unwrap()
    };
    let (one, other, foreign) = (seal(&mine, "a").await, seal(&mine, "b").await, seal(&theirs, "a").await);

    let swapped = changed(&one, |text| text.wrapped = other.wrapped.clone());
    let renamed = changed(&foreign, |text| text.key = mine.clone());
    let cut = changed(&one, |text| text.wrapped = one.wrapped[..40].to_owned());
    for text in [swapped, renamed, cut] {
        let class = parameters(&mine, &objects(&[("a", &text)]));
        let source = Sealed::new(sealer(&moto)).source_of("shop", "till", &class).unwrap();
        let refused = read(&*source, &opens, 0).await.unwrap_err();
        // moto calls another key a denial, and AWS an IncorrectKeyException.
        assert_ne!(refused.kind(), ErrorKind::Unavailable, "{refused}");
        assert!(!refused.to_string().contains("value of"), "{refused}");
    }
    let class = parameters(&mine, &objects(&[("a", &foreign)]));
    let refused = Sealed::new(sealer(&moto)).source_of("shop", "till", &class).unwrap_err();
    assert!(refused[0].to_string().contains("kmsKey"), "{refused:?}");
    let class = parameters(&mine, &objects(&[("a", &changed(&one, |text| text.wrapped = "*".to_owned()))]));
    let refused = Sealed::new(sealer(&moto)).source_of("shop", "till", &class).unwrap_err();
    assert!(refused[0].to_string().contains("no ciphertext of KMS"), "{refused:?}");
}
