use class::ClassName;
use engine::mode::Appearance;
use engine::snapshot::FingerprintKey;
use engine::subject::Subject;
use engine::volume::Publish;
use engine::volume::freshness::Condition;
use engine::volume::status::{ObjectState, VolumeState};
use provider::{Identity, Pod};
use serde_json::json;

use super::object::{resource, wanted};
use super::*;

const BEGUN: &str = "2026-01-01T00:00:00Z";

/// The state of a volume in namespace `shop`.
fn state(id: &str, pod: &str, class: &str) -> VolumeState {
    let publish = Publish {
        id: VolumeId(id.to_owned()),
        target: format!("/pods/{id}").into(),
        class: ClassName { namespace: "shop".to_owned(), name: class.to_owned() },
        subject: Subject {
            identity: Identity::named("shop", "sa"),
            pod: Some(Pod { name: pod.to_owned(), uid: format!("uid-{pod}") }),
        },
        attributes: BTreeMap::new(),
        appearance: Appearance::default(),
        timeout: Duration::ZERO,
    };
    let objects = vec![object("z", Some("3")), object("a", None), object("m", Some(""))];
    VolumeState { provider: Some("vault".to_owned()), objects, ..VolumeState::new(&publish) }
}

fn object(name: &str, version: Option<&str>) -> ObjectState {
    let path = name.try_into().unwrap();
    ObjectState {
        name: name.to_owned(),
        path: name.to_owned(),
        request: String::new(),
        origin: None,
        composed: Vec::new(),
        version: version.map(str::to_owned),
        fingerprint: Some(FingerprintKey::new(&[7; 32]).fingerprint(&path, b"value")),
        condition: Condition::Fresh,
        withdrawn: false,
        confirmed: None,
        error: None,
    }
}

fn statuses(states: &[VolumeState]) -> BTreeMap<Name, PodStatus> {
    wanted(&states.iter().map(|state| (state.id.clone(), state.clone())).collect(), BEGUN)
}

fn names(states: &[VolumeState]) -> Vec<String> {
    statuses(states).into_keys().map(|name| name.to_string()).collect()
}

#[test]
fn a_status_is_what_readers_of_upstreams_expect() {
    let statuses = statuses(&[state("csi-1", "web", "db")]);
    let (name, status) = statuses.first_key_value().unwrap();
    let manifest = status.manifest(name, "node-1", &resource());

    assert_eq!(manifest["apiVersion"], "secrets-store.csi.x-k8s.io/v1");
    assert_eq!(manifest["metadata"]["name"], "web-shop-db");
    assert_eq!(
        manifest["metadata"]["labels"],
        json!({"internal.secrets-store.csi.k8s.io/node-name": "node-1"})
    );
    let owner = json!([{"apiVersion": "v1", "kind": "Pod", "name": "web", "uid": "uid-web"}]);
    assert_eq!(manifest["metadata"]["ownerReferences"], owner);
    let told = &manifest["status"];
    assert_eq!((&told["podName"], &told["secretProviderClassName"]), (&json!("web"), &json!("db")));
    assert_eq!((&told["mounted"], &told["targetPath"]), (&json!(true), &json!("/pods/csi-1")));
}

#[test]
fn objects_are_in_order_and_one_without_a_version_shows_its_fingerprint() {
    let statuses = statuses(&[state("csi-1", "web", "db")]);
    let (name, status) = statuses.first_key_value().unwrap();
    let manifest = status.manifest(name, "node-1", &resource());

    let objects = manifest["status"]["objects"].as_array().unwrap();
    assert_eq!(objects.iter().map(|object| &object["id"]).collect::<Vec<_>>(), ["a", "m", "z"]);
    assert_eq!(objects[2]["version"], "3");
    for unversioned in &objects[..2] {
        assert_eq!(unversioned["version"].as_str().unwrap().len(), 24, "{unversioned}");
    }
}

#[test]
fn two_volumes_of_one_pod_and_class_have_a_status_each_and_one_has_upstreams_name() {
    let both =
        names(&[state("csi-2", "web", "db"), state("csi-1", "web", "db"), state("csi-3", "web", "other")]);

    assert_eq!(both.len(), 3);
    assert_eq!((both[0].as_str(), both[2].as_str()), ("shop/web-shop-db", "shop/web-shop-other"));
    assert!(both[1].starts_with("shop/web-shop-db-"), "{both:?}");
}

#[test]
fn a_name_is_cut_only_where_it_is_longer_than_names_may_be() {
    let longest = "c".repeat(253 - "web-shop-".len());
    assert_eq!(names(&[state("csi-1", "web", &longest)]), [format!("shop/web-shop-{longest}")]);

    let cut = names(&[
        state("csi-1", "web", &format!("{longest}d")),
        state("csi-2", "web", &format!("{longest}e")),
    ]);
    assert!(cut.len() == 2 && cut.iter().all(|name| name.len() <= "shop/".len() + 253), "{cut:?}");
}

#[test]
fn nothing_is_told_of_what_is_not_known_yet_or_of_no_pod() {
    let unknown = VolumeState { provider: None, ..state("csi-1", "web", "db") };
    let plain = VolumeState { pod: None, ..state("csi-2", "web", "db") };

    assert!(names(&[unknown, plain]).is_empty());
}

#[test]
fn a_label_that_a_node_name_is_too_long_for_is_left_out() {
    let statuses = statuses(&[state("csi-1", "web", "db")]);
    let (name, status) = statuses.first_key_value().unwrap();

    assert_eq!(status.manifest(name, &"n".repeat(64), &resource())["metadata"]["labels"], json!({}));
}

#[test]
fn a_refusal_of_one_status_holds_up_no_other_and_a_missing_right_does_not_pass_for_one() {
    for (code, message) in
        [(422, "invalid"), (403, "ns is being terminated"), (404, "namespaces \"x\" not found")]
    {
        assert!(is_about_this_one(code, message), "{code} {message}");
    }
    for (code, message) in
        [(403, "may not patch"), (404, "the server could not find"), (429, "slow"), (500, "no")]
    {
        assert!(!is_about_this_one(code, message), "{code} {message}");
    }
}
