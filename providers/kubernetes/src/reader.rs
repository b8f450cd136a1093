use provider::{Error, ErrorKind, Identity, Result, SecretBytes, Workload};

/// The audience of the API server itself, as it is written in `tokenRequests` of a CSIDriver object.
pub(crate) const AUDIENCE: &str = "";
/// The credential that holds a plain host's token.
const CREDENTIAL: &str = "token";

/// The account that reads, and its namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Reader {
    pub(crate) namespace: String,
    account: Option<String>,
    /// Readings with equal identities are shared. It contains the uid, which distinguishes an account from a deleted
    /// one with the same name.
    pub(crate) identity: String,
}

impl Reader {
    /// The pods of a service account.
    pub(crate) fn of_account(account: &Identity) -> Self {
        let Identity { namespace, name, uid } = account;
        let uid = uid.as_ref().map(|uid| format!(" ({uid})")).unwrap_or_default();
        Self {
            namespace: namespace.clone(),
            account: Some(name.clone()),
            identity: format!("system:serviceaccount:{namespace}:{name}{uid}"),
        }
    }

    /// The owner of `token`. The token's own claims may be forged, so nothing is shared because of them.
    fn of_token(namespace: &str, token: &SecretBytes) -> Self {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token.expose());
        let short: String = digest.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let identity = format!("the token sha256:{short} in {namespace}");
        Self { namespace: namespace.to_owned(), account: None, identity }
    }

    /// The identity with which `workload` reads, and the token that proves it. A pod reads only with the token from
    /// kubelet. A credential that came with its volume may belong to anybody.
    ///
    /// # Errors
    ///
    /// `NoCredential` if there is no token.
    pub(crate) fn of(workload: &Workload) -> Result<(Self, SecretBytes)> {
        let namespace = &workload.identity.namespace;
        let own = workload.tokens.get(AUDIENCE);
        if workload.pod.is_some() {
            let reader = Self::of_account(&workload.identity);
            return own.map(|token| (reader.clone(), token.clone())).ok_or_else(|| no_token(&reader));
        }
        let token = workload.credentials.get(CREDENTIAL).or(own).ok_or_else(no_credential)?;
        Ok((Self::of_token(namespace, token), token.clone()))
    }

    /// The subject that a RoleBinding has to name.
    pub(crate) fn subject(&self) -> String {
        match &self.account {
            Some(account) => format!("ServiceAccount {account}"),
            None => "the owner of the token".to_owned(),
        }
    }
}

fn no_token(reader: &Reader) -> Error {
    let text = format!("no token of {} for the API server came with the volume", reader.identity);
    Error::new(ErrorKind::NoCredential, text)
        .remedy("add `audience: \"\"` to tokenRequests of the CSIDriver object")
}

fn no_credential() -> Error {
    Error::new(ErrorKind::NoCredential, "no token for the API server is given")
        .remedy("give one with --credential token=FILE")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use provider::Pod;

    use super::*;

    fn workload(in_pod: bool, token: Option<&str>, credential: Option<&str>) -> Workload {
        let secret =
            |key: &str, text: Option<&str>| text.map(|text| (key.to_owned(), text.to_owned().into()));
        Workload {
            identity: Identity::named("shop", "till"),
            pod: in_pod.then(|| Pod { name: "p".to_owned(), uid: "u".to_owned() }),
            volume: "v".to_owned(),
            tokens: secret(AUDIENCE, token).into_iter().collect::<BTreeMap<_, _>>(),
            credentials: secret(CREDENTIAL, credential).into_iter().collect(),
        }
    }

    fn identity(workload: &Workload) -> Result<(String, String)> {
        let (reader, token) = Reader::of(workload)?;
        Ok((reader.identity, token.expose_str().unwrap().to_owned()))
    }

    #[test]
    fn a_pod_reads_with_the_token_kubelet_hands_over_and_no_other() {
        let (identity_of_pod, token) = identity(&workload(true, Some("t"), Some("stolen"))).unwrap();
        assert_eq!((identity_of_pod.as_str(), token.as_str()), ("system:serviceaccount:shop:till", "t"));

        let refused = identity(&workload(true, None, Some("stolen"))).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::NoCredential);
        assert!(refused.to_string().contains("tokenRequests"), "{refused}");
    }

    #[test]
    fn on_a_host_each_token_is_an_identity_of_its_own() {
        let (one, token) = identity(&workload(false, None, Some("t"))).unwrap();
        let (other, _) = identity(&workload(false, Some("u"), None)).unwrap();

        assert_ne!(one, other);
        assert_eq!(token, "t");
        assert!(identity(&workload(false, None, None)).is_err());
    }
}
