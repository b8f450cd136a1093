//! Whatever Google's servers answer, it becomes a value, a token or an error, and no message tells a secret.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use provider::{ErrorKind, SecretBytes, Span};
use provider_gcp::{Asked, GcpConfig, Plan, Refusal, Resource, account_token, extract, reading, token};

const NAMES: [&str; 2] =
    ["projects/p/secrets/s/versions/latest", "projects/p/locations/global/parameters/a/versions/v"];
const SECRETS: &str = "
- {resourceName: projects/p/secrets/s/versions/latest, path: whole}
- {resourceName: projects/p/secrets/s/versions/latest, path: json, extractJSONKey: k}
- {resourceName: projects/p/secrets/s/versions/latest, path: yaml, extractYAMLKey: k, encoding: base64}
- {resourceName: projects/p/secrets/s/versions/latest, path: hex, encoding: hex}
";
const OBJECTS: usize = 4;

static PLAN: LazyLock<Plan> = LazyLock::new(|| {
    let parameters = [("secrets".to_owned(), SECRETS.to_owned())].into();
    Plan::new(&parameters, &GcpConfig::default()).expect("a plan")
});

fuzz_target!(|body: &[u8]| {
    let secret = SecretBytes::new(body.to_vec());
    refuse(body);
    let granted = [token(&secret), account_token(&secret, jiff::Timestamp::UNIX_EPOCH)];
    assert!(granted.into_iter().flatten().all(|granted| granted.lasts <= Span::LONGEST));
    for name in NAMES {
        let asked = Resource::parse(name).expect("a resource");
        match reading(&asked, &secret) {
            Ok(reading) => show(&reading),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable),
        }
    }
    show(&provider::Reading::new(secret));
});

/// One value is the same file twice.
fn show(reading: &provider::Reading) {
    for index in 0..OBJECTS {
        match (extract(&PLAN, index, reading), extract(&PLAN, index, reading)) {
            (Ok(once), Ok(twice)) => assert_eq!(once.contents.expose(), twice.contents.expose()),
            (Err(once), Err(_)) => assert!(matches!(once.kind(), ErrorKind::NotFound | ErrorKind::Invalid)),
            _ => panic!("one value, two outcomes"),
        }
    }
}

/// A message repeats Google's words in one short line, and nothing that was sent in confidence.
fn refuse(body: &[u8]) {
    let retry_after = std::str::from_utf8(body).ok();
    for status in [307, 400, 403, 404, 429] {
        for asked in [Asked::Read, Asked::Exchange, Asked::Account, Asked::Machine] {
            let refusal = Refusal { status, retry_after, redirected_to: None, body };
            let error = refusal.error(asked, "x", &["hunter2"], jiff::Timestamp::UNIX_EPOCH);
            let told = error.to_string();
            assert!(!told.contains("hunter2") && !told.contains(char::is_control), "{told}");
            assert!(told.chars().count() < 700, "{told}");
            assert!(error.wait().is_none_or(|wait| wait.as_secs() <= 600));
        }
    }
}
