//! Parses the request of a driver.

use std::collections::BTreeMap;

use csi_proto::provider::MountRequest;
use manifest::{Class, PREFIX, SHARED_WITH_PROVIDERS, Settings};
use provider::{FileMode, Identity, Parameters, Pod, SecretBytes, Workload};
use tonic::Status;

use crate::csi;

/// The prefix of attributes that kubelet sets.
const KUBELET: &str = "csi.storage.k8s.io/";
/// Attributes that describe the volume, not the class.
const OF_THE_VOLUME: [&str; 2] = ["secretProviderClass", "providerName"];

type Strings = BTreeMap<String, String>;

/// A parsed request.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) class: Class,
    pub(super) workload: Workload,
    /// The mode of files whose class sets none.
    pub(super) mode: FileMode,
}

/// Parses a `request` to the provider `name`.
///
/// # Errors
///
/// `InvalidArgument`. The message says what is wrong, and quotes nothing of the request.
pub(super) fn understand(name: &str, request: MountRequest) -> Result<Asked, Status> {
    let mut attributes = strings("attributes", &request.attributes.into())?;
    let mut credentials = strings("secrets", &request.secrets.into())?;
    let mode = mode(&request.permission)?;
    let mut kubelets = attributes.extract_if(.., |key, _| key.starts_with(KUBELET)).collect::<Strings>();
    let tokens = [&mut credentials, &mut kubelets].into_iter();
    let tokens = tokens.filter_map(|of| of.remove("csi.storage.k8s.io/serviceAccount.tokens")).next();
    let namespace = told(&mut kubelets, "pod.namespace")?;
    let pod = Pod { name: told(&mut kubelets, "pod.name")?, uid: told(&mut kubelets, "pod.uid")? };
    let identity = Identity::named(namespace.clone(), told(&mut kubelets, "serviceAccount.name")?);
    let (identity, tokens) = csi::own_tokens(tokens, identity, &pod);
    let workload = Workload {
        identity,
        // The call has no volume id. Pod and path together name the volume as well.
        volume: format!("{}:{}", pod.uid, request.target_path),
        pod: Some(pod),
        tokens,
        credentials: credentials.into_iter().map(|(key, value)| (key, SecretBytes::from(value))).collect(),
    };
    Ok(Asked { class: class(name, namespace, attributes)?, workload, mode })
}

/// A JSON object of strings. `null` and an empty text count as an empty object.
fn strings(field: &str, json: &SecretBytes) -> Result<Strings, Status> {
    if json.is_empty() {
        return Ok(Strings::new());
    }
    let parsed: Result<Option<Strings>, _> = serde_json::from_slice(json.expose());
    // The parser's message is not repeated, because it quotes what it read.
    let parsed = parsed.map_err(|_| invalid(format!("{field} is not a JSON object of strings")))?;
    Ok(parsed.unwrap_or_default())
}

fn told(kubelets: &mut Strings, key: &str) -> Result<String, Status> {
    let missing = || {
        invalid(format!(
            "attribute {KUBELET}{key} is missing; the CSIDriver object lacks podInfoOnMount: true"
        ))
    };
    kubelets.remove(&format!("{KUBELET}{key}")).filter(|value| !value.is_empty()).ok_or_else(missing)
}

/// A decimal number, as JSON writes it.
fn mode(permission: &str) -> Result<FileMode, Status> {
    let mode = permission.trim().parse().ok().and_then(|mode: u64| FileMode::try_from(mode).ok());
    mode.ok_or_else(|| invalid(format!("permission {permission:?} is not a file mode in decimal, as in 420")))
}

fn class(provider: &str, namespace: String, mut parameters: Parameters) -> Result<Class, Status> {
    let mut of_volume = OF_THE_VOLUME.map(|key| parameters.remove(key)).into_iter();
    let name = of_volume.next().flatten().unwrap_or_else(|| "?".to_owned());
    let mut settings = Settings::default();
    for (key, value) in parameters.iter().filter(|(key, _)| key.starts_with(PREFIX)) {
        let set = settings.set(key, value);
        set.map_err(|faults| {
            invalid(format!("class {namespace}/{name}: {}", provider::Invalid::all(&faults)))
        })?;
    }
    let is_own = |key: &str| key.starts_with(PREFIX) && !SHARED_WITH_PROVIDERS.contains(&key);
    let own = parameters.extract_if(.., |key, _| is_own(key)).collect();
    let provider = provider.to_owned();
    Ok(Class { namespace, name, provider, parameters, settings, own, secret_objects: Vec::new() })
}

fn invalid(message: String) -> Status {
    Status::invalid_argument(message)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::prelude::*;

    use super::*;

    fn request(attributes: &str, secrets: &str, permission: &str) -> MountRequest {
        MountRequest {
            attributes: attributes.to_owned(),
            secrets: secrets.to_owned(),
            target_path: "/t".to_owned(),
            permission: permission.to_owned(),
            current_object_version: Vec::new(),
        }
    }

    fn attributes(more: &str) -> String {
        format!(
            r#"{{"csi.storage.k8s.io/ephemeral":"true","csi.storage.k8s.io/pod.name":"web-0",
            "csi.storage.k8s.io/pod.namespace":"shop","csi.storage.k8s.io/pod.uid":"u",
            "csi.storage.k8s.io/serviceAccount.name":"web","secretProviderClass":"app"{more}}}"#
        )
    }

    /// Kubelet's token for the pod, if its service account were `account`.
    fn token(account: &str) -> String {
        let claims = format!(
            r#"{{"kubernetes.io":{{"namespace":"shop","pod":{{"name":"web-0","uid":"u"}},
            "serviceaccount":{{"name":"{account}","uid":"sa-1"}}}}}}"#
        );
        format!("e30.{}.s", URL_SAFE_NO_PAD.encode(claims))
    }

    fn refusal(request: MountRequest) -> String {
        let status = understand("vault", request).unwrap_err();
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
        status.message().to_owned()
    }

    #[test]
    fn what_upstreams_driver_sends_is_a_class_and_a_workload() {
        let tokens = format!(
            r#"{{\"vault\":{{\"token\":\"{}\",\"expirationTimestamp\":\"2099-01-01T00:00:00Z\"}}}}"#,
            token("web")
        );
        let more = format!(
            r#","roleName":"r\u003c","secretfs.dev/auth":"jwt","secretfs.dev/timeout":"7s",
            "csi.storage.k8s.io/serviceAccount.tokens":"{tokens}""#
        );

        let asked = understand("vault", request(&attributes(&more), "null", "420")).unwrap();

        assert_eq!((asked.class.namespace.as_str(), asked.class.name.as_str()), ("shop", "app"));
        assert_eq!(asked.class.parameters["roleName"], "r<");
        assert_eq!(asked.class.parameters.len(), 2, "secretfs.dev/auth is shared with providers");
        assert_eq!(asked.class.settings.timeout.as_secs(), 7);
        let Workload { identity, pod, tokens, credentials, .. } = asked.workload;
        assert_eq!((identity.namespace.as_str(), identity.name.as_str()), ("shop", "web"));
        assert_eq!(pod, Some(Pod { name: "web-0".to_owned(), uid: "u".to_owned() }));
        assert_eq!(identity.uid.as_deref(), Some("sa-1"));
        assert_eq!(tokens["vault"].expose_str(), Some(token("web").as_str()));
        assert!(credentials.is_empty());
        assert_eq!(asked.mode.bits(), 0o644);
    }

    #[test]
    fn tokens_and_credentials_may_come_among_the_secrets() {
        let secrets = |account: &str| {
            let tokens = format!(r#"{{\"v\":{{\"token\":\"{}\"}}}}"#, token(account));
            format!(r#"{{"role-id":"r","csi.storage.k8s.io/serviceAccount.tokens":"{tokens}"}}"#)
        };

        let asked = understand("vault", request(&attributes(""), &secrets("web"), "420")).unwrap();
        let of_another = understand("vault", request(&attributes(""), &secrets("admin"), "420")).unwrap();

        assert_eq!(asked.workload.tokens["v"].expose_str(), Some(token("web").as_str()));
        assert!(of_another.workload.tokens.is_empty());
        assert_eq!(asked.workload.credentials["role-id"].expose(), b"r");
        assert_eq!(asked.workload.credentials.len(), 1);
    }

    #[test]
    fn what_cannot_be_understood_is_refused_without_quoting_it() {
        let canary = r#"{"canary-77":["canary-77"]}"#;
        for refused in
            [refusal(request(canary, "null", "420")), refusal(request(&attributes(""), canary, "420"))]
        {
            assert!(!refused.contains("canary"), "{refused}");
        }
        assert!(refusal(request("{}", "null", "420")).contains("podInfoOnMount"));
        assert!(refusal(request(&attributes(""), "null", "0644x")).contains("420"));
        let key = attributes(r#","secretfs.dev/refesh":"1s""#);
        assert!(refusal(request(&key, "null", "420")).contains("secretfs.dev/refesh"));
    }

    proptest! {
        #[test]
        fn a_request_of_any_form_is_understood_or_refused(
            attributes in r#"[{}\[\]":,a-c\\]{0,40}|\PC{0,60}"#, secrets in r#"null|\{"a":"\PC{0,9}"\}|\PC{0,20}"#, permission in r"[0-9]{0,6}|\PC{0,9}"
        ) {
            let _ = understand("vault", request(&attributes, &secrets, &permission));
        }
    }
}
