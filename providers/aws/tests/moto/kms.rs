//! What KMS of moto decrypts: objects of a class, and data keys of other providers.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use provider::{Ciphertext, Context, ErrorKind, Keyring, Provider as _, SecretBytes, Tenure, Workload};
use serde_json::{Value, json};
use std::sync::Arc;
use testing::{Answer, FaultServer, Moto};

use crate::support::{REGION, aws, class, files, only, parameters, source, workload};

/// A key, and its id.
fn key(moto: &Moto) -> String {
    moto.kms(REGION, "CreateKey", &json!({}))["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned()
}

fn encrypted(moto: &Moto, key: &str, base64: &str, context: &Value) -> String {
    let body = json!({"KeyId": key, "Plaintext": base64, "EncryptionContext": context});
    moto.kms(REGION, "Encrypt", &body)["CiphertextBlob"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_class_shows_what_kms_decrypts_to_the_byte_and_by_its_context_only() {
    let moto = Moto::start();
    let (key, context) = (key(&moto), json!({"app": "shop"}));
    // Bytes that are no text.
    let text = encrypted(&moto, &key, "AP+ACg==", &context);
    let object = |more: &str| format!("- {{objectName: a, objectType: kms, ciphertext: \"{text}\", {more}}}");

    let bytes =
        only(&moto, &object(&format!("kmsKey: {key}, encryptionContext: {{app: shop}}"))).await.unwrap();
    assert_eq!(bytes, [0, 255, 128, 10]);
    assert_eq!(only(&moto, &object("encryptionContext: {app: shop}")).await.unwrap(), bytes);

    for more in ["encryptionContext: {app: bank}", "optional: false"] {
        let refused = only(&moto, &object(more)).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid, "{refused}");
    }
    let altered = object("encryptionContext: {app: shop}").replace(&text[60..64], "AAAA");
    let refused = only(&moto, &altered).await.unwrap_err();
    assert!(matches!(refused.kind(), ErrorKind::Invalid | ErrorKind::NotFound), "{refused}");
}

#[tokio::test]
async fn secrets_and_ciphertexts_of_one_class_are_read_together() {
    let moto = Moto::start();
    moto.create_secret(REGION, "s", "secret");
    let text = encrypted(&moto, &key(&moto), "cGxhaW4=", &json!({}));
    let objects = format!(
        "- {{objectName: s, objectType: secretsmanager}}\n- {{objectName: dir/c, objectAlias: c, objectType: kms, ciphertext: \"{text}\"}}\n"
    );
    let shown = files(&*class(&aws(&moto.url()), &objects), &workload("v")).await.unwrap();
    let shown: Vec<_> = shown.iter().map(|(name, file)| (name.as_str(), file.contents.expose())).collect();
    assert_eq!(shown, [("c", &b"plain"[..]), ("s", &b"secret"[..])]);
}

#[tokio::test]
async fn a_ciphertext_that_another_object_holds_is_decrypted_whether_it_is_bytes_or_base64() {
    let moto = Moto::start();
    let text = encrypted(&moto, &key(&moto), "AP+ACg==", &json!({"app": "shop"}));
    moto.create_secret(REGION, "text", &text);
    moto.create_binary(REGION, "bytes", &BASE64_STANDARD.decode(&text).unwrap());
    moto.put_parameter(REGION, "/shop/held", &text);
    moto.create_secret(REGION, "long", &"A".repeat(9000));
    moto.create_secret(REGION, "other", "no ciphertext");
    let from = |name: &str, of: &str| {
        format!(
            "- {{objectName: {name}, objectType: kms, ciphertextFrom: {of}, encryptionContext: {{app: shop}}}}"
        )
    };

    for (name, of) in
        [("text", "secretsmanager"), ("bytes", "secretsmanager"), ("/shop/held", "ssmparameter")]
    {
        assert_eq!(only(&moto, &from(name, of)).await.unwrap(), [0, 255, 128, 10], "{name}");
    }
    for name in ["long", "other"] {
        let refused = only(&moto, &from(name, "secretsmanager")).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid, "{refused}");
    }
    let absent = only(&moto, &from("absent", "secretsmanager")).await.unwrap_err();
    assert_eq!(absent.kind(), ErrorKind::NotFound, "{absent}");
}

#[tokio::test]
async fn a_ciphertext_of_another_key_than_the_class_names_is_refused() {
    let moto = Moto::start();
    let (mine, other) = (key(&moto), key(&moto));
    let text = encrypted(&moto, &other, "AA==", &json!({}));
    let object = |key: &str| {
        format!("- {{objectName: a, objectType: kms, ciphertext: \"{text}\", kmsKey: \"{key}\"}}")
    };

    let foreign = format!("arn:aws:kms:{REGION}:999999999999:key/{other}");
    for key in [&mine, &foreign] {
        let refused = only(&moto, &object(key)).await.unwrap_err();
        // moto calls it a denial, and AWS an IncorrectKeyException.
        assert_ne!(refused.kind(), ErrorKind::Unavailable, "{refused}");
    }
    let elsewhere = "arn:aws:kms:us-east-1:123456789012:key/a";
    let class = aws(&moto.url()).source("shop", &parameters(&[("objects", &object(elsewhere))]));
    assert!(class.unwrap_err()[0].to_string().contains("of another region than eu-west-1"));
}

#[tokio::test]
async fn a_disabled_key_is_a_revocation_and_what_is_no_answer_of_kms_is_not_shown() {
    let answer = |plain: &str, key: &str| json!({"Plaintext": plain, "KeyId": key});
    let arn = format!("arn:aws:kms:{REGION}:111122223333:key/other");
    // moto decrypts with disabled keys too.
    for (says, kind) in [
        (
            Answer::json(400, &json!({"__type": "DisabledException", "message": "it is disabled"})),
            ErrorKind::Revoked,
        ),
        (Answer::json(400, &json!({"__type": "IncorrectKeyException"})), ErrorKind::Invalid),
        (Answer::json(200, &answer("AA==", &arn)), ErrorKind::Invalid),
        (Answer::json(200, &answer("*", "mine")), ErrorKind::Unavailable),
        (Answer::json(200, &json!({"Plaintext": "AA=="})), ErrorKind::Unavailable),
        (Answer::json(200, &json!({"__type": "X"})), ErrorKind::Unavailable),
        (Answer::Endless(100 << 20), ErrorKind::Unavailable),
    ] {
        let server = FaultServer::http(move |_| says.clone());
        let object = "- {objectName: a, objectType: kms, ciphertext: AQID, kmsKey: mine}";
        let class = source(&aws(&server.url()), &[("objects", object), ("secretfs.dev/auth", "keys")]);
        let credentials = ["access-key-id", "secret-access-key"]
            .map(|key| (key.to_owned(), SecretBytes::from("AKIA".to_owned())));
        let refused =
            files(&*class, &Workload { credentials: credentials.into(), ..workload("v") }).await.unwrap_err();
        assert_eq!(refused.kind(), kind, "{refused}");
    }
}

#[tokio::test]
async fn what_kms_says_that_it_encrypted_has_to_be_base64_and_of_the_named_key() {
    let arn = |id: &str| format!("arn:aws:kms:{REGION}:111122223333:key/{id}");
    for (text, key, is_sound) in [
        ("AQID", arn("mine"), true),
        ("AQID", arn("other"), false),
        ("A end SFS1", arn("mine"), false),
        ("AQID", format!("{}\n", arn("mine")), false),
        ("", arn("mine"), false),
    ] {
        let says = Answer::json(200, &json!({"CiphertextBlob": text, "KeyId": key}));
        let server = FaultServer::http(move |_| says.clone());
        let keys = aws(&server.url());
        let ring =
            keys.keys().unwrap().keyring("shop", &parameters(&[("secretfs.dev/auth", "keys")]), &[]).unwrap();
        let credentials = ["access-key-id", "secret-access-key"]
            .map(|key| (key.to_owned(), SecretBytes::from("AKIA".to_owned())));
        let person = Workload { credentials: credentials.into(), ..workload("v") };
        let made = ring.encrypt(&person, "mine", &SecretBytes::new(vec![7; 32]), &Context::default()).await;
        assert_eq!(made.is_ok(), is_sound, "{text} {key}: {made:?}");
    }
}

fn keyring(moto: &Moto, ciphertexts: &[Ciphertext]) -> Arc<dyn Keyring> {
    aws(&moto.url()).keys().unwrap().keyring("shop", &parameters(&[]), ciphertexts).unwrap()
}

async fn decrypted(moto: &Moto, ciphertext: Ciphertext, workload: &Workload) -> provider::Result<Vec<u8>> {
    let ring = keyring(moto, &[ciphertext]);
    let session = ring.session(workload, Tenure::Shared).await?;
    let reading = session.read(&ring.objects()[0].request).await?;
    Ok(ring.objects()[0].decoded(ring.extract(0, &reading)?)?.contents.expose().to_vec())
}

#[tokio::test]
async fn a_data_key_is_encrypted_and_decrypted_by_its_context_and_for_who_may_only() {
    let moto = Moto::start();
    let key = key(&moto);
    let context = Context::default().with("namespace", "shop").with("class", "till");
    let plain = SecretBytes::new(vec![7; 32]);
    let made = keyring(&moto, &[]).encrypt(&workload("v"), &key, &plain, &context).await.unwrap();
    let ciphertext = Ciphertext { key: key.clone(), text: made.text, context };

    assert_eq!(decrypted(&moto, ciphertext.clone(), &workload("v")).await.unwrap(), [7; 32]);
    let elsewhere =
        Ciphertext { context: Context::default().with("namespace", "bank"), ..ciphertext.clone() };
    let refused = decrypted(&moto, elsewhere, &workload("v")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid, "{refused}");

    let allowing = |action: &str| json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, "Resource": "*"}]});
    let [may, may_not] = [("may", "kms:Decrypt"), ("may-not", "kms:Encrypt")].map(|(name, action)| {
        let [id, secret] = moto.user(name, &allowing(action));
        let pairs = [("access-key-id", id), ("secret-access-key", secret)];
        let credentials = pairs.map(|(key, value)| (key.to_owned(), SecretBytes::from(value))).into();
        Workload { credentials, ..workload("v") }
    });
    moto.judge();
    assert_eq!(decrypted(&moto, ciphertext.clone(), &may).await.unwrap(), [7; 32]);
    let refused = decrypted(&moto, ciphertext, &may_not).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Denied, "{refused}");
}
