//! The claims of a service account token. Nobody has verified the signature here, so the claims are compared with what
//! kubelet vouches for. Kubelet does not state the uid of the account, so that claim cannot be compared. It still can
//! be trusted, because the uid of the pod is compared: the API server invents that uid when it creates the pod, so no
//! author of a pod can write it into a token.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use provider::{Identity, Pod, SecretBytes};
use serde::Deserialize;

/// The longest token that is read, in bytes. Those of an API server have one to two thousand.
const MAX_TOKEN: usize = 16 << 10;
/// The longest uid, in bytes. Those of an API server have 36.
const MAX_UID: usize = 128;

#[derive(Deserialize)]
struct Claims {
    #[serde(rename = "kubernetes.io")]
    bound: Bound,
}

#[derive(Deserialize)]
struct Bound {
    namespace: String,
    pod: Option<Named>,
    serviceaccount: Named,
}

#[derive(Deserialize)]
struct Named {
    name: String,
    uid: String,
}

/// The uid of the service account in `token`, if the token belongs to `identity` and `pod`.
///
/// # Errors
///
/// Why it does not belong to them, without any text from the token.
pub(super) fn account_uid(
    token: &SecretBytes,
    identity: &Identity,
    pod: &Pod,
) -> Result<String, &'static str> {
    let Bound { namespace, pod: bound, serviceaccount } = read(token)?.bound;
    if namespace != identity.namespace {
        return Err("it is for another namespace");
    }
    if serviceaccount.name != identity.name {
        return Err("it is for another service account");
    }
    match bound {
        Some(bound) if bound.name == pod.name && bound.uid == pod.uid => {}
        Some(_) => return Err("it is for another pod"),
        None => return Err("it is bound to no pod"),
    }
    match serviceaccount.uid {
        uid if is_plain(&uid) => Ok(uid),
        _ => Err("the uid in it is none of an API server's"),
    }
}

fn read(token: &SecretBytes) -> Result<Claims, &'static str> {
    let odd = "it is no token of a Kubernetes service account";
    if token.len() > MAX_TOKEN {
        return Err("it is too long");
    }
    let payload = token.expose_str().and_then(|text| text.split('.').nth(1)).ok_or(odd)?;
    let payload = URL_SAFE_NO_PAD.decode(payload).map(SecretBytes::new).map_err(|_| odd)?;
    serde_json::from_slice(payload.expose()).map_err(|_| odd)
}

fn is_plain(uid: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    (1..=MAX_UID).contains(&uid.len()) && uid.bytes().all(plain)
}
