//! Programs in containers that watch files by inotify: what they are told of a rotation, beside what kubelet tells them
//! of a Secret of its own.

use serde_json::{Value, json};

use super::world::{Namespace, pod, shared, until};

/// What is watched: our volume, and a volume of kubelet.
const OURS: &str = "/secrets/";
const KUBELETS: &str = "/kubelets/";
/// Both begin so when they show a new version of a file.
const SWAP: [&str; 2] = ["MOVED_FROM ..data_tmp", "MOVED_TO ..data"];

/// A pod with both volumes, and a container that writes down each event of their directories.
fn watching(class: &str, secret: &str) -> Value {
    let mut web = pod("web", class);
    let volumes = web["spec"]["volumes"].as_array_mut().unwrap();
    volumes.push(json!({"name": "kubelets", "secret": {"secretName": secret}}));
    volumes.push(json!({"name": "tools", "hostPath": {"path": testing::inotify(), "type": "Directory"}}));
    let main = &mut web["spec"]["containers"][0];
    main["volumeMounts"] = json!([
        {"name": "secrets", "mountPath": OURS, "readOnly": true},
        {"name": "kubelets", "mountPath": KUBELETS, "readOnly": true},
        {"name": "tools", "mountPath": "/tools", "readOnly": true},
    ]);
    main["command"] = json!(["/tools/loader", "--library-path", "/tools", "/tools/inotifywait"]);
    main["args"] = json!([
        "--monitor",
        "--format",
        "%w %e %f",
        "--event",
        "create,moved_from,moved_to,delete",
        OURS,
        KUBELETS,
    ]);
    web
}

/// What the program was told of one of them, in this order. Directories of versions are all called `..version`.
fn told(shop: &Namespace<'_>, directory: &str) -> Vec<String> {
    let text = shop.try_kubectl(&["logs", "web"]);
    let events = text.lines().filter_map(|line| line.strip_prefix(directory)?.trim().split_once(' '));
    events
        .map(|(event, name)| {
            let name = if name.starts_with("..data") { name } else { "..version" };
            format!("{event} {name}")
        })
        .collect()
}

fn native(shop: &Namespace<'_>, value: &str) {
    shop.apply(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "native"}, "stringData": {"db": value},
    }));
}

#[test]
fn a_program_that_watches_a_volume_in_its_container_is_told_of_a_rotation_as_of_one_of_kubelets() {
    let (world, _peace) = shared();
    let shop = Namespace::new(world, "watching");
    shop.secret("db", "first");
    native(&shop, "first");
    shop.vault_class("app", &["db"], &[]);
    shop.apply(&watching("app", "native"));
    shop.until_ready("web");
    // It says so after it has begun.
    let log = || shop.try_kubectl(&["logs", "web"]);
    until("it watches", || log().contains("Watches established"), log);

    shop.secret("db", "second");
    native(&shop, "second");

    let is_over = |directory: &str| told(&shop, directory).iter().any(|event| event.starts_with("DELETE"));
    let are_over = || {
        // Kubelet may not know the Secret's new version yet when it looks at the pod.
        world.cluster.sync(&shop.name, "web");
        is_over(OURS) && is_over(KUBELETS)
    };
    until("both were swapped, and the old versions are gone", are_over, log);
    let (ours, kubelets) = (told(&shop, OURS), told(&shop, KUBELETS));
    println!("ours {ours:?}, kubelet's {kubelets:?}");
    for told in [&ours, &kubelets] {
        let swaps: Vec<_> = told.iter().filter(|event| SWAP.contains(&event.as_str())).collect();
        assert_eq!(swaps, SWAP, "{told:?}");
    }
    assert_eq!(ours.last(), kubelets.last(), "the old version goes last");
}

crate::modes::again_in_mode_fuse! {
    a_program_that_watches_a_volume_in_its_container_is_told_of_a_rotation_as_of_one_of_kubelets,
}
