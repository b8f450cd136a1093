//! A process that holds secrets protects its memory.

use std::process::Stdio;

use program::hygiene;
use rustix::process::{DumpableBehavior, Resource};

use crate::support::again;

#[test]
fn a_sealed_process_leaves_no_dump_and_its_panics_tell_only_the_place() {
    if std::env::var_os("SECRETFS_TEST_SEALED").is_some() {
        return seal_and_panic();
    }

    let panicked = again("hygiene::a_sealed_process_leaves_no_dump_and_its_panics_tell_only_the_place")
        .env("SECRETFS_TEST_SEALED", "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();

    let said =
        String::from_utf8_lossy(&panicked.stderr).into_owned() + &String::from_utf8_lossy(&panicked.stdout);
    assert!(!panicked.status.success());
    assert!(said.contains("secretfs panicked at tests/suite/hygiene.rs:"), "{said}");
    assert!(said.contains("sealed as it should be"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

fn seal_and_panic() {
    hygiene::seal().unwrap();
    let core = rustix::process::getrlimit(Resource::Core);
    let no_core = (core.current, core.maximum) == (Some(0), Some(0));
    if no_core && rustix::process::dumpable_behavior().unwrap() == DumpableBehavior::NotDumpable {
        println!("sealed as it should be");
    }
    panic!("the password is hunter2");
}
