use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use csi_proto::csi::VolumeCapability;
use csi_proto::csi::volume_capability::BlockVolume;

use super::*;

const POD: &str = "0b6c9d1e-5a31-4c0e-9d3a-5f2f8f3b7c11";
const TARGET: &str =
    "/var/lib/kubelet/pods/0b6c9d1e-5a31-4c0e-9d3a-5f2f8f3b7c11/volumes/kubernetes.io~csi/secrets/mount";
/// printf %s 0b6c9d1e-5a31-4c0e-9d3a-5f2f8f3b7c11secrets | sha256sum
const VOLUME: &str = "csi-ab0f89aaa8d87d2fe238c7c01ff7c76ac83e4517fe91646339c65735c9502829";
const TIMEOUT: Duration = Duration::from_secs(115);

fn requests() -> Requests {
    Requests { pods: PathBuf::from("/var/lib/kubelet/pods") }
}

fn strings(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn mounted(mount: MountVolume) -> Option<VolumeCapability> {
    Some(VolumeCapability { access_type: Some(AccessType::Mount(mount)), access_mode: None })
}

/// The request of kubelet for an ordinary pod.
fn from_kubelet() -> NodePublishVolumeRequest {
    NodePublishVolumeRequest {
        volume_id: VOLUME.to_owned(),
        target_path: TARGET.to_owned(),
        volume_capability: mounted(MountVolume::default()),
        readonly: true,
        volume_context: strings(&[
            ("secretProviderClass", "shop"),
            (EPHEMERAL, "true"),
            (POD_NAME, "web-0"),
            (POD_NAMESPACE, "prod"),
            (POD_UID, POD),
            (SERVICE_ACCOUNT, "web"),
        ]),
        ..Default::default()
    }
}

/// The same request with a change.
fn with(change: impl FnOnce(&mut NodePublishVolumeRequest)) -> NodePublishVolumeRequest {
    let mut request = from_kubelet();
    change(&mut request);
    request
}

fn with_attribute(key: &str, value: &str) -> NodePublishVolumeRequest {
    with(|request| drop(request.volume_context.insert(key.to_owned(), value.to_owned())))
}

fn without_attribute(key: &str) -> NodePublishVolumeRequest {
    with(|request| drop(request.volume_context.remove(key)))
}

fn with_mount(mount: MountVolume) -> NodePublishVolumeRequest {
    with(|request| request.volume_capability = mounted(mount))
}

fn accepted(request: NodePublishVolumeRequest) -> Publish {
    requests().publish(request, TIMEOUT).unwrap().0
}

/// The tokens and credentials that came with `request`.
fn brought(request: NodePublishVolumeRequest) -> Credentials {
    requests().publish(request, TIMEOUT).unwrap().1
}

/// The message with which `request` is refused as invalid.
fn refused(request: NodePublishVolumeRequest) -> String {
    match requests().publish(request, TIMEOUT) {
        Err(Refusal::Invalid(message)) => message,
        other => panic!("{other:?}"),
    }
}

/// The message with which `request` is refused because pod information is missing.
fn unvouched(request: NodePublishVolumeRequest) -> String {
    match requests().publish(request, TIMEOUT) {
        Err(refusal @ Refusal::NoPodInfo(_)) => refusal.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_kubelet_sends_is_understood() {
    let publish = accepted(with_attribute("own", "setting"));

    assert_eq!(publish.id, VolumeId(VOLUME.to_owned()));
    assert_eq!(publish.target, PathBuf::from(TARGET));
    assert_eq!(publish.class, ClassName { namespace: "prod".to_owned(), name: "shop".to_owned() });
    assert_eq!(publish.subject.identity.namespace, "prod");
    assert_eq!(publish.subject.identity.name, "web");
    assert_eq!(publish.subject.pod, Some(Pod { name: "web-0".to_owned(), uid: POD.to_owned() }));
    assert_eq!(publish.attributes, strings(&[("own", "setting")]));
    assert_eq!(publish.appearance, Appearance::default());
    assert_eq!(publish.timeout, TIMEOUT);
}

#[test]
fn a_request_without_id_target_or_capability_is_refused() {
    assert!(refused(with(|r| r.volume_id.clear())).contains("volume_id"));
    assert!(refused(with(|r| r.target_path.clear())).contains("target_path"));
    assert!(refused(with(|r| r.volume_capability = None)).contains("volume_capability"));
    assert!(
        refused(with(|r| r.volume_capability = Some(VolumeCapability::default()))).contains("access type")
    );
}

#[test]
fn what_is_missing_is_told_before_what_is_not_vouched_for() {
    let bare = NodePublishVolumeRequest { volume_id: "any".to_owned(), ..Default::default() };
    assert!(refused(bare).contains("target_path"));
}

#[test]
fn a_block_volume_is_refused() {
    let block = Some(AccessType::Block(BlockVolume {}));
    let request =
        with(|r| r.volume_capability = Some(VolumeCapability { access_type: block, access_mode: None }));
    assert!(refused(request).contains("block"));
}

#[test]
fn a_staged_volume_is_refused() {
    assert!(refused(with(|r| r.staging_target_path = "/staging".to_owned())).contains("staging"));
}

#[test]
fn a_writable_volume_is_refused_with_what_to_write() {
    assert!(refused(with(|r| r.readonly = false)).contains("readOnly: true"));
}

#[test]
fn without_kubelets_word_for_the_pod_nothing_is_published() {
    for key in [EPHEMERAL, POD_NAME, POD_NAMESPACE, POD_UID, SERVICE_ACCOUNT] {
        for request in [without_attribute(key), with_attribute(key, "")] {
            let message = unvouched(request);
            assert!(message.contains(key) && message.contains("podInfoOnMount"), "{message}");
        }
    }
    assert!(unvouched(with_attribute(EPHEMERAL, "false")).contains(EPHEMERAL));
}

#[test]
fn keys_that_only_kubelet_may_set_and_does_not_are_refused() {
    let message = refused(with_attribute("csi.storage.k8s.io/pod.nodeName", "n1"));
    assert!(message.contains("pod.nodeName"), "{message}");
}

#[test]
fn a_target_that_is_not_kubelets_is_refused() {
    for target in [
        "/",
        "/tmp/target",
        "/var/lib/kubelet/pods",
        "/var/lib/kubelet/pods-of-others/u/volumes/kubernetes.io~csi/v/mount",
        "/var/lib/kubelet/pods/../pods/u/volumes/kubernetes.io~csi/v/mount",
        "/var/lib/kubelet/pods/../volumes/kubernetes.io~csi/v/mount",
        "/var/lib/kubelet/pods/u/volumes/kubernetes.io~csi/../mount",
        "/var/lib/kubelet/pods/u/volumes/kubernetes.io~csi/./mount",
        "/var/lib/kubelet/pods//volumes/kubernetes.io~csi/v/mount",
        "/var/lib/kubelet/pods/u/volumes/kubernetes.io~csi/v/mount/",
        "/var/lib/kubelet/pods/u/volumes/kubernetes.io~csi/v/mount/x",
        "/var/lib/kubelet/pods/u/volumes/kubernetes.io~csi/v\0/mount",
        "/var/lib/kubelet/pods/u/volumes/kubernetes.io~secret/v/mount",
        "var/lib/kubelet/pods/u/volumes/kubernetes.io~csi/v/mount",
    ] {
        let message = refused(with(|r| r.target_path = target.to_owned()));
        assert!(message.contains("target path"), "{target}: {message}");
    }
}

#[test]
fn a_pod_that_is_not_the_targets_is_refused() {
    let message = unvouched(with_attribute(POD_UID, "another"));
    assert!(message.contains(POD) && message.contains("another"), "{message}");
}

#[test]
fn a_volume_id_that_is_not_the_hash_of_pod_and_volume_is_refused() {
    let other = VOLUME.replace("csi-", "csi-0");
    assert!(refused(with(|r| r.volume_id = other)).contains("volume_id"));
    let elsewhere = TARGET.replace("/secrets/", "/others/");
    assert!(refused(with(|r| r.target_path = elsewhere)).contains("volume_id"));
}

#[test]
fn attributes_beyond_64_kib_are_refused_and_tokens_do_not_count() {
    assert!(refused(with_attribute("big", &"x".repeat(MAX_ATTRIBUTES))).contains("bytes"));
    let mut tokens = of_kubelet(&[("vault", &token(OWN, "old"))]);
    tokens.push_str(&" ".repeat(MAX_ATTRIBUTES));
    assert_eq!(brought(with_attribute(TOKENS, &tokens)).tokens.len(), 1);
}

#[test]
fn a_volume_without_a_class_is_refused_with_what_to_write() {
    assert!(refused(without_attribute(CLASS)).contains("secretProviderClass"));
    assert!(refused(with_attribute(CLASS, "")).contains("secretProviderClass"));
}

#[test]
fn the_pods_fs_group_owns_the_files() {
    let mount = |group: &str| MountVolume { volume_mount_group: group.to_owned(), ..Default::default() };

    assert_eq!(accepted(with_mount(mount("2000"))).appearance.fs_group, Some(2000));

    for odd in ["staff", "-1", "4294967296", "1.5"] {
        assert!(refused(with_mount(mount(odd))).contains("volume_mount_group"), "{odd}");
    }
}

#[test]
fn the_selinux_label_is_the_only_mount_flag() {
    let mount = |flags: &[&str]| MountVolume {
        mount_flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
        ..Default::default()
    };
    let label = "system_u:object_r:container_file_t:s0:c1,c2";

    for flag in [format!("context={label}"), format!("context=\"{label}\"")] {
        assert_eq!(accepted(with_mount(mount(&[&flag]))).appearance.selinux_context.as_deref(), Some(label));
    }

    for flags in [
        &["suid"][..],
        &["context="],
        &["context=\"\""],
        &["context=a b"],
        &["context=a\nb"],
        &["context=a", "context=b"],
        &["context=a", "exec"],
    ] {
        assert!(refused(with_mount(mount(flags))).contains("mount flag"), "{flags:?}");
    }
}

/// The audiences of the accepted tokens, each with the signature of its token.
fn tokens_of(credentials: &Credentials) -> Vec<(&str, &str)> {
    let tokens = credentials.tokens.iter();
    tokens
        .map(|(audience, token)| (audience.as_str(), token.expose_str().unwrap().rsplit('.').next().unwrap()))
        .collect()
}

/// The claims of kubelet's token for the ordinary pod.
const OWN: &str = r#"{"namespace":"prod","serviceaccount":{"name":"web","uid":"sa-1"},
    "pod":{"name":"web-0","uid":"0b6c9d1e-5a31-4c0e-9d3a-5f2f8f3b7c11"},"warnafter":1}"#;

/// A token with the claims `bound` under `kubernetes.io`.
fn token(bound: &str, signature: &str) -> String {
    let claims =
        format!(r#"{{"aud":["vault"],"kubernetes.io":{bound},"sub":"system:serviceaccount:prod:web"}}"#);
    format!("e30.{}.{signature}", URL_SAFE_NO_PAD.encode(claims))
}

/// Tokens by audience, as kubelet writes them.
fn of_kubelet(tokens: &[(&str, &str)]) -> String {
    let bound = |(audience, token): &(&str, &str)| {
        format!(r#""{audience}":{{"token":"{token}","expirationTimestamp":"2026-01-01T00:00:00Z"}}"#)
    };
    format!("{{{}}}", tokens.iter().map(bound).collect::<Vec<_>>().join(","))
}

#[test]
fn tokens_are_taken_from_the_secrets_and_from_the_attributes_where_kubelet_is_older() {
    let old_place = of_kubelet(&[("vault", &token(OWN, "old"))]);
    assert_eq!(tokens_of(&brought(with_attribute(TOKENS, &old_place))), [("vault", "old")]);

    let both = with(|request| {
        let new_place = of_kubelet(&[("vault", &token(OWN, "new")), ("", &token(OWN, "api"))]);
        request.volume_context.insert(TOKENS.to_owned(), old_place);
        request.secrets.insert(TOKENS.to_owned(), new_place);
    });
    let (publish, credentials) = requests().publish(both, TIMEOUT).unwrap();

    assert_eq!(tokens_of(&credentials), [("", "api"), ("vault", "new")]);
    assert!(publish.attributes.is_empty() && credentials.named.is_empty());
}

#[test]
fn a_token_of_somebody_else_is_no_token_whichever_field_brings_it() {
    for other in [
        OWN.replace("\"prod\"", "\"kube-system\""),
        OWN.replace("\"web\"", "\"admin\""),
        OWN.replace("\"web-0\"", "\"web-1\""),
        OWN.replace(POD, "11111111-5a31-4c0e-9d3a-5f2f8f3b7c11"),
        OWN.replace("sa-1", ""),
        OWN.replace("sa-1", "a uid\\u000a with a line of its own"),
        OWN.replace("\"pod\"", "\"node\""),
        "{}".to_owned(),
        "7".to_owned(),
    ] {
        let tokens = of_kubelet(&[("vault", &token(&other, "stolen"))]);
        let by_attribute = with_attribute(TOKENS, &tokens);
        let by_secret = with(|request| drop(request.secrets.insert(TOKENS.to_owned(), tokens)));
        for request in [by_attribute, by_secret] {
            let (publish, credentials) = requests().publish(request, TIMEOUT).unwrap();
            assert!(credentials.tokens.is_empty(), "{other}");
            assert_eq!(publish.subject.identity, Identity::named("prod", "web"), "{other}");
        }
    }
}

#[test]
fn what_is_no_token_of_a_service_account_is_no_token() {
    let long = token(&OWN.replace("sa-1", &"u".repeat(20 << 10)), "s");
    for odd in ["", "opaque", "e30.e30.c2ln", "..", "e30.%%.s", "e30..s", &long] {
        let tokens = of_kubelet(&[("vault", odd)]);
        assert!(brought(with_attribute(TOKENS, &tokens)).tokens.is_empty(), "{odd}");
    }
}

#[test]
fn the_uid_of_the_service_account_is_what_all_tokens_tell() {
    let own = of_kubelet(&[("", &token(OWN, "a")), ("vault", &token(OWN, "b"))]);
    let publish = accepted(with_attribute(TOKENS, &own));
    assert_eq!(publish.subject.identity.uid.as_deref(), Some("sa-1"));

    let other = token(&OWN.replace("sa-1", "sa-2"), "b");
    let mixed = of_kubelet(&[("", &token(OWN, "a")), ("vault", &other)]);
    let (publish, credentials) = requests().publish(with_attribute(TOKENS, &mixed), TIMEOUT).unwrap();
    assert_eq!(publish.subject.identity.uid.as_deref(), Some("sa-1"));
    assert_eq!(tokens_of(&credentials), [("", "a")]);
}

proptest::proptest! {
    #[test]
    fn a_token_of_any_form_is_taken_or_not(text in r#"[a-zA-Z0-9._={}"\\]{0,80}|\PC{0,60}"#, bound in r#"[{}\[\]":,a-c0-9]{0,60}"#) {
        let identity = Identity::named("prod", "web");
        let pod = Pod { name: "web-0".to_owned(), uid: POD.to_owned() };
        for token in [text, token(&bound, "s")] {
            proptest::prop_assert!(claims::account_uid(&token.into(), &identity, &pod).is_err());
        }
    }
}

#[test]
fn tokens_that_cannot_be_read_are_no_tokens() {
    for json in ["", "null", "[]", "{", r#"{"vault":"bare"}"#, r#"{"vault":{"token":7}}"#] {
        assert!(brought(with_attribute(TOKENS, json)).tokens.is_empty(), "{json}");
    }
}

#[test]
fn other_secrets_are_the_pods_credentials() {
    let brought = brought(with(|r| r.secrets = strings(&[("role-id", "r"), ("secret-id", "s")])));

    let named: Vec<_> = brought.named.iter().map(|(k, v)| (k.as_str(), v.expose_str().unwrap())).collect();
    assert_eq!(named, [("role-id", "r"), ("secret-id", "s")]);
}

#[test]
fn an_unpublish_names_a_volume_and_a_target_of_kubelets() {
    let request = |id: &str, target: &str| NodeUnpublishVolumeRequest {
        volume_id: id.to_owned(),
        target_path: target.to_owned(),
    };

    let unpublished = requests().unpublish(request("csi-never-heard-of", TARGET)).unwrap();
    assert_eq!(unpublished, (VolumeId("csi-never-heard-of".to_owned()), PathBuf::from(TARGET)));

    for (id, target) in
        [("", TARGET), ("csi-1", ""), ("csi-1", "/etc"), ("csi-1", "/var/lib/kubelet/pods/../x")]
    {
        assert!(
            matches!(requests().unpublish(request(id, target)), Err(Refusal::Invalid(_))),
            "{id} {target}"
        );
    }
}

#[test]
fn stats_name_a_volume_and_a_path() {
    let request = |id: &str, path: &str| NodeGetVolumeStatsRequest {
        volume_id: id.to_owned(),
        volume_path: path.to_owned(),
        ..Default::default()
    };

    assert!(stats(request("csi-1", "/anywhere")).is_ok());
    assert!(matches!(stats(request("", "/anywhere")), Err(Refusal::Invalid(_))));
    assert!(matches!(stats(request("csi-1", "")), Err(Refusal::Invalid(_))));
}
