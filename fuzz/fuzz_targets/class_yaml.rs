//! No text makes the reader of manifests panic, and every fault has a line of the file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use manifest::Manifests;
use provider::Invalid;

fuzz_target!(|text: &str| {
    // A lone carriage return ends a line in YAML, and so may the end of the text.
    let lines = text.matches(['\n', '\r']).count() + 2;
    let manifests = Manifests::read(text);

    for fault in &manifests.faults {
        assert!(fault.line.is_none_or(|line| (1..=lines).contains(&line)), "{fault}");
        assert!(fault.reason.chars().count() < 400, "{fault}");
    }
    for located in &manifests.classes {
        let _ = manifest::compose::verify(&located.class.settings, &[], &[]);
        let invalid = Invalid {
            key: "objects[0].secretPath".to_owned(),
            line: Some(1),
            reason: String::new(),
            remedy: String::new(),
        };
        assert!(located.fault(invalid).line.is_some());
        let objects = located.class.parameters.get("objects").map(String::as_str).unwrap_or_default();
        let _ = manifest::yaml::read_objects::<serde_json::Value>("objects", objects);
    }
});
