//! Whatever a Vault server answers, it becomes a reading and files or an error, and the same ones twice.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use manifest::Class;
use provider::{ErrorKind, SecretBytes};
use provider_vault::{Asked, Call, Plan, Refusal, VaultConfig, extract, reading};

const CLASS: &str = r#"
apiVersion: secrets-store.csi.x-k8s.io/v1
kind: SecretProviderClass
metadata: {name: fuzz}
spec:
  provider: vault
  parameters:
    roleName: fuzz
    vaultAddress: https://vault
    objects: |
      - {objectName: text, secretPath: secret/data/a, secretKey: k}
      - {objectName: base64, secretPath: secret/data/a, secretKey: k, encoding: base64}
      - {objectName: hex, secretPath: secret/data/a, secretKey: k, encoding: hex}
      - {objectName: whole, secretPath: secret/data/a}
"#;
const OBJECTS: usize = 4;

static PLAN: LazyLock<Plan> = LazyLock::new(|| {
    let class = Class::read(CLASS).expect("a class").remove(0);
    Plan::new(&class.namespace, &class.parameters, &VaultConfig::default()).expect("a plan")
});

fuzz_target!(|body: &[u8]| {
    refuse(body);
    for (method, path) in [("GET", "secret/data/a"), ("PUT", "pki/issue/a")] {
        let call = Call::new(method, path).expect("a call");
        let Ok(reading) = reading(&call, SecretBytes::new(body.to_vec()), jiff::Timestamp::UNIX_EPOCH) else {
            continue;
        };
        for index in 0..OBJECTS {
            match (extract(&PLAN, index, &reading), extract(&PLAN, index, &reading)) {
                (Ok(once), Ok(twice)) => assert_eq!(once.contents.expose(), twice.contents.expose()),
                (Err(once), Err(_)) => assert_ne!(once.kind(), ErrorKind::Revoked),
                _ => panic!("one answer, two outcomes"),
            }
        }
    }
});

/// A message repeats the store's words in one short line, and nothing that was sent in confidence. What a store may ask
/// for in `Retry-After` has an end.
fn refuse(body: &[u8]) {
    let retry_after = std::str::from_utf8(body).ok();
    for status in [307, 403, 404, 429] {
        let refusal = Refusal { status, retry_after, redirected_to: None, body };
        let error = refusal.error(Asked::Read, "GET x", &["hunter2"], jiff::Timestamp::UNIX_EPOCH);
        let told = error.to_string();
        assert!(!told.contains("hunter2") && !told.contains(char::is_control), "{told}");
        assert!(told.chars().count() < 600, "{told}");
        assert!(error.wait().is_none_or(|wait| wait.as_secs() <= 600));
    }
}
