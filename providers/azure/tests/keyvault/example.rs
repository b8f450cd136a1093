//! What upstream's manifests make, byte by byte.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use provider::{ErrorKind, Tenure};
use serde_json::json;

use crate::support::{CLIENT, Cloud, array, files, parameters, text};

/// The objects of the example in upstream's terms.
const EXAMPLE: &str = r#"array:
  - |
    objectName: db-password
    objectType: secret
    objectAlias: dbpw
    objectVersionHistory: 2
  - |
    objectName: blob
    objectType: secret
    objectEncoding: base64
    filePermission: "0400"
  - |
    objectName: web-cert
    objectType: secret
    objectAlias: web.pem
  - |
    objectName: web-cert
    objectType: cert
    objectAlias: web.crt
  - |
    objectName: signing
    objectType: key
"#;

const VAULT: &str = "/vault/shop-kv";

fn put(cloud: &Cloud, name: &str, value: &str) -> String {
    cloud.vault.put_into("shop-kv", name, value)
}

#[tokio::test]
async fn the_example_of_upstreams_provider_makes_exactly_its_table_of_files() {
    let cloud = Cloud::start();
    let versions: Vec<_> =
        ["v0", "v1", "v2", "v3"].iter().map(|value| put(&cloud, "db-password", value)).collect();
    put(&cloud, "blob", "AQI=");
    let certificate = cloud.vault.certificate_in("shop-kv", "web-cert", "application/x-pkcs12");
    cloud.vault.key_in("shop-kv", "signing", "RSA", "");
    let source = cloud.source(&[("clientID", CLIENT), ("objects", EXAMPLE)]);

    let files = cloud.files(&*source).await.unwrap();

    let paths: Vec<_> = files.keys().map(String::as_str).collect();
    assert_eq!(paths, ["blob", "dbpw/0", "dbpw/1", "dbpw/2", "signing", "web.crt", "web.pem"]);
    for (path, value, version) in
        [("dbpw/0", "v3", &versions[3]), ("dbpw/1", "v2", &versions[2]), ("dbpw/2", "v1", &versions[1])]
    {
        assert_eq!((text(&files[path]).as_str(), files[path].version.as_ref()), (value, Some(version)));
    }
    assert_eq!(files["blob"].contents.expose(), [1, 2]);
    let leaf = pem("CERTIFICATE", &STANDARD.decode(certificate["cer"].as_str().unwrap()).unwrap());
    assert_eq!(text(&files["web.crt"]), leaf);
    let (key, chain) = text(&files["web.pem"]).split_once("-----END PRIVATE KEY-----\n").map(owned).unwrap();
    assert!(key.starts_with("-----BEGIN PRIVATE KEY-----\n"), "{key}");
    assert!(chain.starts_with(&leaf), "the leaf comes first");
    assert_eq!(chain.matches("BEGIN CERTIFICATE").count(), 2, "and one intermediate");
    assert!(text(&files["signing"]).starts_with("-----BEGIN PUBLIC KEY-----\n"));
    let mode = |path: &str| source.objects().iter().find(|object| object.path.as_str() == path).unwrap().mode;
    assert_eq!(mode("blob").unwrap().bits(), 0o400);
    assert_eq!(mode("dbpw/0"), None);
}

fn owned((one, other): (&str, &str)) -> (String, String) {
    (one.to_owned(), other.to_owned())
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines = text.as_bytes().chunks(64).map(|line| format!("{}\n", String::from_utf8_lossy(line)));
    format!("-----BEGIN {label}-----\n{}-----END {label}-----\n", lines.collect::<String>())
}

#[tokio::test]
async fn contents_are_exact_for_values_that_are_empty_binary_or_the_longest_that_a_vault_takes() {
    let cloud = Cloud::start();
    let longest = "\u{e9}\n\"\\\u{1}".repeat(4_266);
    let binary: Vec<u8> = (0..=255).cycle().take(19_200).collect();
    put(&cloud, "empty", "");
    put(&cloud, "longest", &longest);
    put(&cloud, "binary", &STANDARD.encode(&binary));
    let source = cloud.class(
        "objectName: empty, objectType: secret\n\
         objectName: longest, objectType: secret\n\
         objectName: binary, objectType: secret, objectEncoding: base64",
    );

    let files = cloud.files(&*source).await.unwrap();

    assert_eq!(longest.len(), 25_596);
    assert_eq!(text(&files["longest"]), longest);
    assert_eq!(files["empty"].contents.expose(), b"");
    assert_eq!(files["binary"].contents.expose(), binary);
}

#[tokio::test]
async fn every_kind_of_public_key_that_a_vault_has_is_shown_as_pem() {
    let cloud = Cloud::start();
    for (name, kty, crv) in [
        ("rsa", "RSA", ""),
        ("p256", "EC", "P-256"),
        ("p384", "EC-HSM", "P-384"),
        ("p521", "EC", "P-521"),
        ("koblitz", "EC", "P-256K"),
    ] {
        cloud.vault.key_in("shop-kv", name, kty, crv);
        let shown = cloud.only(&*cloud.class(&format!("objectName: {name}, objectType: key"))).await;

        match shown {
            Ok(pem) => {
                assert!(pem.starts_with("-----BEGIN PUBLIC KEY-----\n") && name != "koblitz", "{name}")
            }
            Err(error) => assert_eq!((name, error.kind()), ("koblitz", ErrorKind::Invalid), "{error}"),
        }
    }
}

#[tokio::test]
async fn a_certificate_is_shown_in_every_form_that_a_class_asks_for() {
    let cloud = Cloud::start();
    cloud.vault.certificate_in("shop-kv", "pfx", "application/x-pkcs12");
    cloud.vault.certificate_in("shop-kv", "pem", "application/x-pem-file");
    put(&cloud, "plain", "v");
    let stored = cloud.vault.read(&format!("{VAULT}/secrets/pfx"))["value"].as_str().unwrap().to_owned();
    let stored_pem = cloud.vault.read(&format!("{VAULT}/secrets/pem"))["value"].as_str().unwrap().to_owned();
    let objects = array(
        "objectName: pfx, objectType: secret\n\
         objectName: pem, objectType: secret\n\
         objectName: plain, objectType: secret\n\
         objectName: pfx, objectType: secret, objectFormat: pfx, objectAlias: as-stored\n\
         objectName: pfx, objectType: secret, objectFormat: pfx, objectEncoding: base64, objectAlias: web.pfx",
    );
    let source =
        cloud.source(&[("clientID", CLIENT), ("certAndKeyInSeparateFiles", "true"), ("objects", &objects)]);

    let files = cloud.files(&*source).await.unwrap();

    let paths: Vec<_> = files.keys().map(String::as_str).collect();
    assert_eq!(
        paths,
        ["as-stored", "pem", "pem.crt", "pem.key", "pfx", "pfx.crt", "pfx.key", "plain", "web.pfx"],
        "a secret that backs no certificate has no parts"
    );
    assert_eq!(text(&files["as-stored"]), stored);
    assert_eq!(files["web.pfx"].contents.expose(), STANDARD.decode(&stored).unwrap());
    assert_eq!(text(&files["pem"]), stored_pem);
    for name in ["pem", "pfx"] {
        let (crt, key) = (text(&files[&format!("{name}.crt")]), text(&files[&format!("{name}.key")]));
        assert_eq!(format!("{key}{crt}"), text(&files[name]), "{name}");
        assert!(key.starts_with("-----BEGIN PRIVATE KEY-----"), "{name}");
    }
}

#[tokio::test]
async fn a_history_skips_disabled_versions_goes_over_all_pages_and_lists_them_once() {
    let cloud = Cloud::start();
    let versions: Vec<_> = (0..60).map(|n| put(&cloud, "db", &format!("v{n}"))).collect();
    cloud.vault.attributes_in("shop-kv", "db", &versions[58], &json!({"enabled": false}));
    let source = cloud.class("objectName: db, objectType: secret, objectVersionHistory: 2");

    let files = cloud.files(&*source).await.unwrap();

    let shown: Vec<_> = files.iter().map(|(path, object)| (path.as_str(), text(object))).collect();
    assert_eq!(shown, [("db/0", "v59".to_owned()), ("db/1", "v57".to_owned()), ("db/2", "v56".to_owned())]);
    assert_eq!(cloud.asked("/versions"), 3, "three pages of one list");
}

#[tokio::test]
async fn a_history_shows_what_there_is_and_begins_at_the_version_that_a_class_pins() {
    let cloud = Cloud::start();
    let versions: Vec<_> = ["v0", "v1", "v2"].iter().map(|value| put(&cloud, "db", value)).collect();
    let pinned = format!(
        "objectName: db, objectType: secret, objectVersionHistory: 3, objectVersion: {}",
        versions[1]
    );

    let whole = cloud
        .files(&*cloud.class("objectName: db, objectType: secret, objectVersionHistory: 5"))
        .await
        .unwrap();
    let pinned = cloud.files(&*cloud.class(&pinned)).await.unwrap();

    assert_eq!(whole.len(), 3);
    let pinned: Vec<_> = pinned.values().map(text).collect();
    assert_eq!(pinned, ["v1", "v0"]);
}

#[tokio::test]
async fn one_class_reads_several_vaults_with_one_login() {
    let cloud = Cloud::start();
    put(&cloud, "a", "of shop");
    cloud.vault.put_into("billing-kv", "a", "of billing");
    cloud.vault.put("a", "of a url");
    let more =
        format!("objectName: a, objectType: secret, objectAlias: url, keyvaultURL: {}", cloud.vault.url());
    let source = cloud.class(&format!(
        "objectName: a, objectType: secret\n\
         objectName: a, objectType: secret, objectAlias: billing, keyvaultName: billing-kv\n{more}"
    ));

    let files = cloud.files(&*source).await.unwrap();

    let shown: Vec<_> = files.values().map(text).collect();
    assert_eq!(shown, ["of shop", "of billing", "of a url"]);
    assert_eq!(cloud.asked("/oauth2/"), 1);
}

#[tokio::test]
async fn trap_one_bad_object_has_its_own_error_which_names_it_and_its_vault() {
    let cloud = Cloud::start();
    put(&cloud, "good", "v");

    let source = cloud.class("objectName: good, objectType: secret\nobjectName: bad, objectType: secret");
    let error = cloud.files(&*source).await.unwrap_err();

    assert_eq!(error.kind(), ErrorKind::NotFound);
    let told = error.to_string();
    assert!(
        told.contains("secret bad of http") && told.contains("SecretNotFound") && told.contains("objectName"),
        "{told}"
    );
}

#[tokio::test]
async fn trap_no_token_in_request_is_an_error_that_names_the_audience_and_asks_nobody() {
    let cloud = Cloud::start();
    let source = cloud.class("objectName: a, objectType: secret");
    let wrong = crate::support::with("web", "web-0", &[("vault", "a-token-for-another-audience")], &[]);

    let error = source.session(&wrong, Tenure::Shared).await.unwrap_err();

    assert_eq!(error.kind(), ErrorKind::NoCredential);
    let told = error.to_string();
    assert!(told.contains("api://AzureADTokenExchange") && told.contains("tokenRequests"), "{told}");
    assert_eq!(cloud.vault.seen().len(), 0, "a token of a wrong audience never leaves");
}

#[tokio::test]
async fn the_examples_manifest_is_accepted_as_it_is_for_the_public_cloud() {
    let azure = provider_azure::Azure::new(provider_azure::AzureConfig::default()).unwrap();
    let source = provider::Provider::source(
        &azure,
        "shop",
        &parameters(&[("clientID", CLIENT), ("objects", EXAMPLE)]),
    );

    assert_eq!(source.unwrap().store(), "https://shop-kv.vault.azure.net");
}

#[tokio::test]
async fn a_rotation_is_read_as_the_vaults_next_version() {
    let cloud = Cloud::start();
    let source = cloud.class("objectName: a, objectType: secret");
    let read = async || {
        let files = files(&*source, &cloud.workload("web-0")).await.unwrap();
        (text(&files["a"]), files["a"].version.clone().unwrap())
    };

    let old = put(&cloud, "a", "old");
    assert_eq!(read().await, ("old".to_owned(), old));
    let new = put(&cloud, "a", "new");
    assert_eq!(read().await, ("new".to_owned(), new));
}
