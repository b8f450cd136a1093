//! Whatever is accepted as a path stays below the volume's root.
#![no_main]

use std::path::{Component, Path};

use libfuzzer_sys::fuzz_target;
use provider::ObjectPath;

fuzz_target!(|raw: &str| {
    let Ok(path) = ObjectPath::try_from(raw) else { return };

    let plain = |component| matches!(component, Component::Normal(_));
    assert!(path.as_path().components().all(plain) && !path.as_str().is_empty());
    assert!(Path::new("/volume").join(path.as_path()).starts_with("/volume"));
    assert!(path.components().all(|name| name.len() <= 255 && !name.contains('\0') && name != ".."));
    assert!(!path.top().starts_with("..") && path.components().count() <= 8);
    if let Ok(longer) = path.with_suffix(".previous") {
        assert!(longer.as_str().starts_with(path.as_str()) && !path.is_ancestor_of(&longer));
    }
});
