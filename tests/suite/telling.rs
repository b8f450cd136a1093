//! Messages and log lines: each is written once, and in a form that can be read.

use std::fmt;
use std::process::{Command, Output};

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use testing::{PodVolume, RunningNode};

use crate::embedded::Store;
use crate::support::store_class;

/// The keys of a JSON object, repeated ones too.
struct Keys(Vec<String>);

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Keys;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
                let mut keys = Vec::new();
                while let Some((key, _)) = map.next_entry::<String, IgnoredAny>()? {
                    keys.push(key);
                }
                Ok(Keys(keys))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// The first key that occurs twice in one line, and that line.
fn key_that_repeats(log: &str) -> Option<(String, &str)> {
    log.lines().find_map(|line| {
        let Keys(mut keys) = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        keys.sort_unstable();
        let twice = keys.windows(2).find(|pair| pair[0] == pair[1])?;
        Some((twice[0].clone(), line))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_of_the_log_as_json_has_each_key_once() {
    let store = Store::init();
    store.put("shop", "app", "hunter2");
    let mut node = RunningNode::prepare(env!("CARGO_BIN_EXE_secretfs"), &["--log-format", "json"]);
    node.flag("--store", store.path());
    node.class("app", &store_class(&["objectName: password, item: app"]));
    node.class(
        "lacking",
        &store_class(&["objectName: password, item: missing"]).replace("name: app", "name: lacking"),
    );
    node.start_node().await;

    let pod = PodVolume::new("web", "app");
    node.publish(&pod).await.unwrap();
    node.unpublish(&pod).await.unwrap();
    node.publish(&PodVolume::new("other", "lacking")).await.unwrap_err();
    node.stop_node();

    let log = node.log();
    assert!(
        log.contains("\"message\":\"published\"") && log.contains("\"message\":\"not published\""),
        "{log}"
    );
    assert_eq!(key_that_repeats(&log), None);
}

/// Runs `secretfs mount` for an item that does not exist.
fn mount_what_is_missing() -> Output {
    let store = Store::init();
    let dir = tempfile::tempdir().unwrap();
    let class = dir.path().join("class.yaml");
    std::fs::write(&class, store_class(&["objectName: password, item: missing"])).unwrap();
    Command::new(env!("CARGO_BIN_EXE_secretfs"))
        .arg("mount")
        .arg(&class)
        .arg(dir.path().join("target"))
        .args(["--store", store.path()])
        .arg("--state-dir")
        .arg(dir.path().join("state"))
        .arg("--admin-dir")
        .arg(dir.path().join("admin"))
        .output()
        .unwrap()
}

#[test]
fn a_mount_that_fails_says_why_once() {
    let failed = mount_what_is_missing();

    let told = String::from_utf8(failed.stderr).unwrap();
    assert_eq!(failed.status.code(), Some(1), "{told}");
    let says = |line: &&str| line.contains("item missing of namespace shop");
    assert_eq!(told.lines().filter(says).count(), 1, "{told}");
}
