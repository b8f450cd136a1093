use provider::{ErrorKind, Found, Network, Tenure};
use serde_json::json;

use crate::support::{config, files, gcp, google, newest, only, shown, source, text, workload};

#[tokio::test]
async fn values_arrive_byte_for_byte() {
    let (google, issuer) = google();
    let gcp = gcp(&google);
    let workload = workload(&issuer, "web-0", "v1");
    let all: Vec<u8> = (0..=255).collect();
    let large: Vec<u8> = all.iter().cycle().take(64 * 1024).copied().collect();
    for (name, value) in
        [("binary", &all[..]), ("empty", b""), ("large", &large), ("text", b"\xff\xfe\n"), ("newline", b"\n")]
    {
        google.put(&format!("projects/p1/secrets/{name}"), value);
        let object = only(&*newest(&gcp, name), &workload).await.unwrap();
        assert!(object.contents.expose() == value, "{name}: {} bytes", object.contents.len());
    }
}

#[tokio::test]
async fn a_value_whose_checksum_is_wrong_is_not_shown_and_one_without_is() {
    let (google, issuer) = google();
    google.put("projects/p1/secrets/api", b"A");
    let gcp = gcp(&google);
    let (class, workload) = (newest(&gcp, "api"), workload(&issuer, "web-0", "v1"));

    google.order(&json!({"do": "checksum", "send": "wrong"}));
    let error = only(&*class, &workload).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("dataCrc32c"), "{error}");

    google.order(&json!({"do": "checksum", "send": "none"}));
    assert_eq!(shown(&*class, &workload).await.unwrap(), "A");
}

#[tokio::test]
async fn a_version_is_read_as_named_and_the_newest_follows_a_rotation() {
    let (google, issuer) = google();
    google.put("projects/p1/secrets/api", b"A");
    let gcp = gcp(&google);
    let secrets = "- {resourceName: projects/p1/secrets/api/versions/latest, path: new}\n\
                   - {resourceName: projects/p1/secrets/api/versions/1, path: first}\n";
    let class = source(&gcp, [("secrets", secrets)]);
    let session = class.session(&workload(&issuer, "web-0", "v1"), Tenure::Shared).await.unwrap();
    let now = async || {
        let files = files(&*class, &*session).await.unwrap();
        let version = files["new"].version.clone().unwrap();
        (text(&files["new"]), text(&files["first"]), version.rsplit('/').next().unwrap().to_owned())
    };

    assert_eq!(now().await, ("A".to_owned(), "A".to_owned(), "1".to_owned()));
    google.put("projects/p1/secrets/api", b"B");
    assert_eq!(now().await, ("B".to_owned(), "A".to_owned(), "2".to_owned()));
}

#[tokio::test]
async fn a_version_that_is_disabled_or_destroyed_is_revoked_and_what_is_deleted_is_not_found() {
    let (google, issuer) = google();
    google.put("projects/p1/secrets/api", b"A");
    google.put("projects/p1/secrets/api", b"B");
    let gcp = gcp(&google);
    let (class, workload) = (newest(&gcp, "api"), workload(&issuer, "web-0", "v1"));
    let outcome = async || shown(&*class, &workload).await.map_err(|error| error.kind());
    let newest = "projects/p1/secrets/api/versions/2";

    google.change(newest, "disable");
    assert_eq!(outcome().await, Err(ErrorKind::Revoked), "not the version before");
    google.change(newest, "enable");
    assert_eq!(outcome().await, Ok("B".to_owned()));
    google.change(newest, "destroy");
    assert_eq!(outcome().await, Err(ErrorKind::Revoked));
    google.put("projects/p1/secrets/api", b"C");
    assert_eq!(outcome().await, Ok("C".to_owned()));
    google.delete("projects/p1/secrets/api");
    assert_eq!(outcome().await, Err(ErrorKind::NotFound));
}

#[tokio::test]
async fn a_parameter_shows_the_secrets_that_it_refers_to() {
    let (google, issuer) = google();
    google.put("projects/p1/secrets/db", b"hunter2");
    let reference = "__REF__(\"//secretmanager.googleapis.com/projects/p1/secrets/db/versions/1\")";
    let name = "projects/p1/locations/us-east1/parameters/app/versions/v1";
    google.put_parameter(name, &format!("user: u\npassword: {reference}\n"));
    let gcp = gcp(&google);
    let secrets = format!("- {{resourceName: {name}, path: pass, extractYAMLKey: password}}");

    let class = source(&gcp, [("secrets", &secrets)]);

    assert_eq!(shown(&*class, &workload(&issuer, "web-0", "v1")).await.unwrap(), "hunter2");
}

#[tokio::test]
async fn an_encoding_and_what_stands_for_a_missing_secret_are_as_in_every_store() {
    let (google, issuer) = google();
    google.put("projects/p1/secrets/keystore", b"AAEC/w==\n");
    let gcp = gcp(&google);
    let secrets =
        "- {resourceName: projects/p1/secrets/keystore/versions/latest, path: ks, encoding: base64}";
    let class = source(&gcp, [("secrets", secrets)]);

    let object = only(&*class, &workload(&issuer, "web-0", "v1")).await.unwrap();

    assert_eq!(object.contents.expose(), [0, 1, 2, 255]);
}

#[tokio::test]
async fn google_is_believed_by_the_authority_that_the_class_or_the_administrator_names() {
    let (google, issuer) = google();
    google.put("projects/p1/secrets/api", b"A");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ca.crt"), google.authority().pem()).unwrap();
    let workload = workload(&issuer, "web-0", "v1");
    let config = provider_gcp::GcpConfig {
        endpoint: google.tls_url(),
        network: Network { tls_dir: Some(folder.path().to_owned()), ..Network::default() },
        ..config(&google)
    };
    let with_ca = provider_gcp::GcpConfig { ca: Some(folder.path().join("ca.crt")), ..config.clone() };
    let secrets = "- {resourceName: projects/p1/secrets/api/versions/latest, path: a}";

    let gcp = provider_gcp::Gcp::new(config).unwrap();
    let error = shown(&*source(&gcp, [("secrets", secrets)]), &workload).await.unwrap_err();
    assert!(error.to_string().contains("caCertPath"), "{error}");
    let named = source(&gcp, [("secrets", secrets), ("caCertPath", "ca.crt")]);
    assert_eq!(shown(&*named, &workload).await.unwrap(), "A");
    let gcp = provider_gcp::Gcp::new(with_ca).unwrap();
    assert_eq!(shown(&*newest(&gcp, "api"), &workload).await.unwrap(), "A");
}

#[tokio::test]
async fn every_read_is_new_for_nothing_is_vouched_for() {
    let (google, issuer) = google();
    google.put("projects/p1/secrets/api", b"A");
    let gcp = gcp(&google);
    let class = newest(&gcp, "api");
    let session = class.session(&workload(&issuer, "web-0", "v1"), Tenure::Shared).await.unwrap();
    let reading = session.read(&class.objects()[0].request).await.unwrap();

    let query = provider::Query { request: class.objects()[0].request.clone(), held: reading.version };

    assert!(matches!(session.read_many(&[query]).await.as_slice(), [Ok(Found::New(_))]));
}
