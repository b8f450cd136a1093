//! Keys of Cloud KMS. drongo keeps them, and does not really encrypt; who may do what is judged by the stub before it, which
//! refuses whom the test names.

use std::sync::Arc;

use provider::{
    Ciphertext, Context, ErrorKind, Keyring, Provider as _, Result, SecretBytes, Tenure, Workload,
};
use provider_gcp::{Gcp, GcpConfig};
use serde_json::json;
use testing::{Answer, FaultServer, Google};

use crate::support::{gcp, google, only, parameters, source, workload};

#[tokio::test]
async fn a_class_shows_what_cloud_kms_decrypts_to_the_byte_and_with_its_additional_data_only() {
    let (google, issuer) = google();
    let (key, other) = (google.create_key("r", "shop"), google.create_key("r", "other"));
    let bytes = [0, 255, 128, 10];
    let text = google.encrypt(&key, &bytes, "shop");
    google.put("projects/p1/secrets/text", text.as_bytes());
    google.put("projects/p1/secrets/none", b"no ciphertext");
    let web = workload(&issuer, "web-0", "v");
    let shown = async |key: &str, more: &str| {
        let secrets = format!("- {{resourceName: {key}, path: a, {more}}}");
        only(&*source(&gcp(&google), [("secrets", &secrets)]), &web).await
    };

    let from = |name: &str| format!("ciphertextFrom: projects/p1/secrets/{name}/versions/latest");
    let written = format!("ciphertext: \"{text}\"");
    for ciphertext in [written.clone(), from("text")] {
        let more = format!("{ciphertext}, additionalAuthenticatedData: shop");
        assert_eq!(shown(&key, &more).await.unwrap().contents.expose(), bytes);
        for (key, data) in [(&key, "bank"), (&other, "shop")] {
            let more = format!("{ciphertext}, additionalAuthenticatedData: {data}");
            let refused = shown(key, &more).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Invalid, "{refused}");
        }
        assert!(shown(&key, &ciphertext).await.is_err());
    }
    let absent = shown(&key, &from("absent")).await.unwrap_err();
    assert_eq!(absent.kind(), ErrorKind::NotFound, "{absent}");
    assert!(shown(&key, &from("none")).await.is_err());
}

#[tokio::test]
async fn what_is_no_answer_of_cloud_kms_is_not_shown() {
    let key = "projects/p1/locations/europe-west3/keyRings/r/cryptoKeys/shop";
    for says in [
        Answer::json(200, &json!({})),
        Answer::json(200, &json!({"plaintext": "*"})),
        Answer::json(200, &json!({"plaintext": "AA==", "plaintextCrc32c": "1"})),
        Answer::Endless(100 << 20),
    ] {
        let server = FaultServer::http(move |seen| match seen.target.contains("keyRings") {
            true => says.clone(),
            false => {
                Answer::json(200, &json!({"access_token": "t", "expires_in": 3600, "token_type": "Bearer"}))
            }
        });
        let config = GcpConfig {
            endpoint: server.url(),
            metadata_endpoint: server.url(),
            network: provider::Network {
                machine: provider::MachineIdentity {
                    namespaces: vec!["shop".to_owned()],
                    is_for_host: false,
                },
                ..Default::default()
            },
            ..GcpConfig::default()
        };
        let secrets = format!("- {{resourceName: {key}, path: a, ciphertext: AQID}}");
        let class = source(&Gcp::new(config).unwrap(), [("auth", "provider-adc"), ("secrets", &secrets)]);
        let refused = only(&*class, &crate::support::without_token()).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused}");
    }
}

fn keyring(google: &Google, ciphertexts: &[Ciphertext]) -> Arc<dyn Keyring> {
    gcp(google).keys().unwrap().keyring("shop", &parameters([]), ciphertexts).unwrap()
}

async fn decrypted(google: &Google, ciphertext: Ciphertext, workload: &Workload) -> Result<Vec<u8>> {
    let ring = keyring(google, &[ciphertext]);
    let session = ring.session(workload, Tenure::Shared).await?;
    let reading = session.read(&ring.objects()[0].request).await?;
    Ok(ring.objects()[0].decoded(ring.extract(0, &reading)?)?.contents.expose().to_vec())
}

#[tokio::test]
async fn a_data_key_is_bound_to_its_key_and_context_and_opened_for_who_may_only() {
    let (google, issuer) = google();
    let (key, other) = (google.create_key("r", "shop"), google.create_key("r", "other"));
    let context = Context::default().with("namespace", "shop").with("class", "till");
    let web = workload(&issuer, "web-0", "v");
    let plain = SecretBytes::new(vec![7; 32]);
    let made = keyring(&google, &[]).encrypt(&web, &key, &plain, &context).await.unwrap();
    assert_eq!(made.version.as_deref(), Some("v1"));
    let ciphertext = Ciphertext { key, text: made.text, context };

    assert_eq!(decrypted(&google, ciphertext.clone(), &web).await.unwrap(), [7; 32]);
    let elsewhere = Context::default().with("namespace", "bank");
    for wrong in [
        Ciphertext { context: elsewhere, ..ciphertext.clone() },
        Ciphertext { key: other, ..ciphertext.clone() },
        Ciphertext { text: ciphertext.text[..16].to_owned(), ..ciphertext.clone() },
    ] {
        let refused = decrypted(&google, wrong, &web).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid, "{refused}");
    }
    google.order(&json!({"do": "deny", "who": ".*", "match": ":decrypt"}));
    let refused = decrypted(&google, ciphertext, &web).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Denied, "{refused}");
}
