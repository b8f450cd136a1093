use std::fmt::Write as _;

use proptest::prelude::*;

use crate::{AuthShare, Class, Manifests};

fn class(parameters: &str) -> String {
    format!(
        "apiVersion: secrets-store.csi.x-k8s.io/v1\nkind: SecretProviderClass\nmetadata: {{name: shop}}\nspec:\n  provider: vault\n  parameters:\n{parameters}"
    )
}

fn refusal(text: &str) -> String {
    Class::read(text).unwrap_err().iter().map(|fault| format!("{fault}\n")).collect()
}

#[test]
fn keys_of_ours_become_settings_and_two_stay_for_providers() {
    let text = class(
        "    roleName: shop\n    secretfs.dev/refresh: 5m\n    secretfs.dev/auth: jwt\n    secretfs.dev/share: pod\n",
    );

    let class = Class::read(&text).unwrap().remove(0);

    assert_eq!(class.namespace, "default");
    assert_eq!(class.settings.auth.as_deref(), Some("jwt"));
    assert_eq!(class.settings.share, Some(AuthShare::Pod));
    let keys: Vec<_> = class.parameters.keys().map(String::as_str).collect();
    assert_eq!(keys, ["roleName", "secretfs.dev/auth", "secretfs.dev/share"]);
}

#[test]
fn a_value_that_is_no_text_is_to_be_quoted() {
    for (value, remedy) in [
        ("true", "quote it: \"true\""),
        ("yes", "quote it: \"yes\""),
        ("0400", "quote it: \"0400\""),
        ("1.5", "quote it: \"1.5\""),
        ("", "write a value, or \"\""),
        ("[a]", "block that begins with `|`"),
    ] {
        let refusal = refusal(&class(&format!("    a: b\n    key: {value}\n")));
        assert!(refusal.starts_with("line 8: key: it is") && refusal.contains(remedy), "{refusal}");
    }
}

#[test]
fn all_faults_are_told_at_once_each_at_its_line() {
    let text = "apiVersion: v2\nkind: SecretProviderClass\nmetadata:\n  name: Shop\n  namespace: a.b\nspec:\n  provider: no/slash\n  parameters:\n    secretfs.dev/refesh: 1m\n  secretObjects:\n  - type: Opaque\n    data:\n    - key: a\n";

    let refusal = refusal(text);

    for expected in [
        "line 1: apiVersion: \"v2\"",
        "line 4: metadata.name: \"Shop\"",
        "line 5: metadata.namespace: \"a.b\"",
        "line 7: spec.provider: \"no/slash\"",
        "line 9: secretfs.dev/refesh: there is no such key; did you mean secretfs.dev/refresh?",
        "line 11: spec.secretObjects[0].secretName: it is missing",
        "line 13: spec.secretObjects[0].data[0].objectName: it is missing",
    ] {
        assert!(refusal.contains(expected), "{expected} in\n{refusal}");
    }
    assert_eq!(refusal.lines().count(), 7, "{refusal}");
}

#[test]
fn a_fault_inside_a_block_is_at_its_line_of_the_file() {
    let text = class(
        "    secretfs.dev/files: |\n\n      - path: a\n        format: json\n        from: {a: b}\n      - path: ../b\n        format: json\n        from: {a: b}\n",
    );

    assert!(refusal(&text).starts_with("line 12: secretfs.dev/files[1].path"), "{}", refusal(&text));
}

#[test]
fn what_must_be_there_is_missed() {
    let refusal = refusal("kind: SecretProviderClass\n");
    for key in ["apiVersion", "metadata.name", "spec.provider", "spec.parameters"] {
        assert!(refusal.contains(key), "{refusal}");
    }
}

#[test]
fn secret_objects_are_trimmed_and_default_to_opaque() {
    let text = class("    a: b\n")
        + "  secretObjects: [{secretName: ' s ', labels: {x: z}, data: [{objectName: db/u, key: k}]}]\n";

    let class = Class::read(&text).unwrap().remove(0);

    let object = &class.secret_objects[0];
    assert_eq!((object.secret_name.as_str(), object.kind.as_str()), ("s", "Opaque"));
    assert_eq!(object.labels["x"], "z");
    assert_eq!(object.data[0].object_name, "db/u");
}

#[test]
fn both_versions_are_read() {
    let text = class("    a: b\n");
    let alpha = text.replace("/v1\n", "/v1alpha1\n");
    assert_eq!(Class::read(&text).unwrap(), Class::read(&alpha).unwrap());
}

fn as_block(parameters: &[(String, String)]) -> String {
    let mut text = String::new();
    for (key, value) in parameters {
        let _ = writeln!(text, "    {}: {}", json(key), json(value));
    }
    class(&text)
}

/// The text as JSON in ASCII only, because YAML accepts other control characters only if they are escaped.
fn json(text: &str) -> String {
    let mut quoted = String::from("\"");
    for unit in text.encode_utf16() {
        let _ = write!(quoted, "\\u{unit:04x}");
    }
    quoted + "\""
}

proptest! {
    #[test]
    fn a_class_is_read_as_it_was_written(
        parameters in prop::collection::btree_map("[a-zA-Z][a-zA-Z0-9]{0,12}", r"[^\x00]{0,80}|(- [a-z: \n]{0,30})", 1..8)
    ) {
        let pairs: Vec<_> = parameters.clone().into_iter().collect();

        let class = Class::read(&as_block(&pairs)).unwrap().remove(0);

        prop_assert_eq!(class.parameters, parameters);
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in r"[-a:{}\[\]&*!|>'\x22#,0-9 \n\t?%@.]{0,200}|\PC{0,200}") {
        let _ = Manifests::read(&text);
        let _ = Manifests::read(&class(&text));
    }

    #[test]
    fn no_broken_class_makes_the_reader_panic(cut in 0..400_usize, inserted in r"[-:{}\[\]&*!|>'\x22#,\n\t \x00]{0,3}") {
        let mut text = class("    roleName: shop\n    objects: |\n      - objectName: a\n    secretfs.dev/files: |\n      - {path: a, format: json, from: {a: b}}\n");
        let at = cut.min(text.len());
        text.insert_str(at, &inserted);
        let manifests = Manifests::read(&text);
        for located in &manifests.classes {
            let key = "objects[0].x".to_owned();
            let fault = located.fault(provider::Invalid { key, line: Some(9), reason: String::new(), remedy: String::new() });
            prop_assert!(fault.line.is_some());
        }
    }
}

#[test]
fn rules_in_a_mode_that_cannot_tell_containers_apart_are_a_fault() {
    let rules = "    secretfs.dev/access: |\n      - {containers: [web], paths: [a]}\n";

    let refusal = refusal(&class(rules));
    assert!(refusal.contains("line 7") && refusal.contains("write secretfs.dev/mode: fuse"), "{refusal}");
    let class = Class::read(&class(&format!("{rules}    secretfs.dev/mode: fuse\n"))).unwrap().remove(0);
    assert!(class.settings.access.allow("web", "a") && !class.settings.access.allow("web", "b"));
    assert_eq!(Class::read(&class.manifest()).unwrap().remove(0), class);
}

#[test]
fn a_class_whose_secrets_need_values_before_anybody_opens_a_file_is_refused() {
    let asking = class("    secretfs.dev/mode: fuse\n    secretfs.dev/fetch: on-open\n");
    let secrets = "  secretObjects: [{secretName: s, type: Opaque, data: [{objectName: a, key: k}]}]\n";

    assert!(Class::read(&asking).is_ok());
    let refused = refusal(&format!("{asking}{secrets}"));
    assert!(refused.contains("line 9: spec.secretObjects: the values are read only when"), "{refused}");
    assert!(refused.contains("secretfs.dev/fetch: eager"), "{refused}");
}
