//! Whatever stands in a table of mounts, its paths are absolute and come from its lines.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|table: &[u8]| {
    let lines = table.split(|byte| *byte == b'\n').count();
    let mounts: Vec<_> = mountinfo::mounts(table).collect();

    assert!(mounts.len() <= lines);
    assert!(mounts.iter().all(|mount| mount.point.is_absolute() && mount.root.is_absolute()));
});
