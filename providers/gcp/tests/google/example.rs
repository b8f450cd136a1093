use provider::Tenure;

use crate::support::{files, gcp, google, shown, source, text, workload};

/// The project as Google answers with it.
const NUMBER: &str = "123456789012";

const SECRETS: &str = "\
- resourceName: projects/p1/secrets/api/versions/latest
  path: api/key
  mode: 0400
- resourceName: projects/p1/locations/europe-west3/secrets/db/versions/2
  path: db.user
  extractJSONKey: user
- resourceName: projects/p1/locations/europe-west3/secrets/db/versions/2
  path: db.pass
  extractJSONKey: pass
- resourceName: projects/p1/locations/global/parameters/app/versions/v1
  path: app.yaml
- resourceName: projects/p1/locations/global/parameters/app/versions/v1
  path: app.host
  extractYAMLKey: host
";

#[tokio::test]
async fn upstreams_example_yields_upstreams_files() {
    let (google, issuer) = google();
    for version in ["1", "2", "3", "4", "5", "6", "A"] {
        google.put("projects/p1/secrets/api", version.as_bytes());
    }
    for value in ["old", r#"{"user":"u","pass":"p"}"#] {
        google.put("projects/p1/locations/europe-west3/secrets/db", value.as_bytes());
    }
    google.put_parameter("projects/p1/locations/global/parameters/app/versions/v1", "host: h\nport: 80\n");
    let gcp = gcp(&google);
    let source = source(&gcp, [("auth", "pod-adc"), ("secrets", SECRETS), ("someday", "ignored")]);

    let session = source.session(&workload(&issuer, "web-0", "v1"), Tenure::Shared).await.unwrap();
    let files = files(&*source, &*session).await.unwrap();

    let expected = [
        ("api/key", "A", "secrets/api/versions/7"),
        ("app.host", "h", "locations/global/parameters/app/versions/v1"),
        ("app.yaml", "host: h\nport: 80\n", "locations/global/parameters/app/versions/v1"),
        ("db.pass", "p", "locations/europe-west3/secrets/db/versions/2"),
        ("db.user", "u", "locations/europe-west3/secrets/db/versions/2"),
    ];
    assert_eq!(files.len(), expected.len());
    for ((path, object), (name, contents, version)) in files.iter().zip(expected) {
        assert_eq!((path.as_str(), text(object).as_str()), (name, contents));
        let version = format!("projects/{NUMBER}/{version}");
        assert_eq!(object.version.as_deref(), Some(version.as_str()));
    }
    let modes = source.objects().iter().map(|object| object.mode.map(|mode| mode.bits()));
    assert_eq!(modes.collect::<Vec<_>>(), [Some(0o400), None, None, None, None]);
    assert_eq!(google.asked("/v1/token"), 1);
    assert_eq!(google.asked("secrets/db/versions/2:access"), 1, "one call for two files");
    assert_eq!(google.asked("parameters/app/versions/v1:render"), 1);
}

#[tokio::test]
async fn a_key_that_has_no_text_is_refused_as_upstream_does() {
    let (google, issuer) = google();
    google.put_parameter("projects/p1/locations/global/parameters/app/versions/v1", "host: h\nport: 80\n");
    let gcp = gcp(&google);
    let port = "- {resourceName: projects/p1/locations/global/parameters/app/versions/v1, path: p, extractYAMLKey: port}";

    let class = source(&gcp, [("secrets", port)]);
    let told = shown(&*class, &workload(&issuer, "web-0", "v1")).await.unwrap_err().to_string();

    assert!(told.contains("unsupported value type for key \"port\""), "{told}");
}
