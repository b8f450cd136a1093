use std::fmt;

use async_trait::async_trait;

use crate::{Error, ErrorKind, Identity, Key, Network, Result, Workload};

/// Longest text of an annotation that is taken, in bytes: the longest name of a role at AWS has that.
pub const LONGEST_ANNOTATION: usize = 2048;

/// What a cluster says of its service accounts, for stores whose manifests put there whom a pod reads as.
///
/// Who may write a pod may not write its service account, unless somebody gave them that right too. What is written
/// there is a stranger's text all the same, and the store judges what it names.
#[async_trait]
pub trait Accounts: fmt::Debug + Send + Sync {
    /// The annotation `name` of the service account `of`. `None` if it has none, and where nobody looks. Of a text longer
    /// than [`LONGEST_ANNOTATION`] the rest may be missing. `name` is one that a store
    /// [declares](crate::Declaration::annotations).
    ///
    /// All who ask at the same time share one question, which has a deadline. The answer is good for a while. Do not ask
    /// for what the class says itself.
    ///
    /// # Errors
    ///
    /// `Unavailable` and [unasked](Error::unasked) if the cluster cannot tell now, `NoCredential` if it does not tell
    /// us or the service account is gone.
    async fn annotation(&self, of: &Identity, name: &'static str) -> Result<Option<String>>;
}

impl Network {
    /// What the pod's service account has written in the annotation `key`, without spaces around it; `None` where
    /// there is no pod and where nobody looks.
    ///
    /// # Errors
    ///
    /// As [`Accounts::annotation`]; `Invalid` if it is too long.
    pub async fn annotation(&self, workload: &Workload, key: &'static Key) -> Result<Option<String>> {
        let Some(accounts) = self.accounts.as_ref().filter(|_| workload.pod.is_some()) else {
            return Ok(None);
        };
        let text = accounts.annotation(&workload.identity, key.name).await?;
        let text = text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        match text {
            Some(text) if text.len() > LONGEST_ANNOTATION => {
                Err(unfit_annotation(&workload.identity, key, "it is too long"))
            }
            text => Ok(text),
        }
    }
}

/// The annotation `key` of the service account `of` cannot be what it is meant to be, for this reason. Its text is not
/// told: anything may be there.
pub fn unfit_annotation(of: &Identity, key: &'static Key, reason: &str) -> Error {
    let Identity { namespace, name, .. } = of;
    let message = format!("annotation {} of service account {namespace}/{name}: {reason}", key.name);
    Error::new(ErrorKind::Invalid, message).remedy(format!("write it as {}", key.example))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{Holds, Pod};

    const KEY: Key = Key::new("example.com/role", Holds::Text, "", "shop");

    #[derive(Debug)]
    struct Saying(String);

    #[async_trait]
    impl Accounts for Saying {
        async fn annotation(&self, _: &Identity, name: &'static str) -> Result<Option<String>> {
            assert_eq!(name, KEY.name);
            Ok(Some(self.0.clone()))
        }
    }

    async fn told(text: &str, pod: Option<Pod>) -> Result<Option<String>> {
        let (tokens, credentials) = Default::default();
        let identity = Identity::named("shop", "web");
        let workload = Workload { identity, pod, volume: "v".to_owned(), tokens, credentials };
        let network = Network { accounts: Some(Arc::new(Saying(text.to_owned()))), ..Network::default() };
        network.annotation(&workload, &KEY).await
    }

    fn pod() -> Option<Pod> {
        Some(Pod { name: "web-0".to_owned(), uid: "uid-0".to_owned() })
    }

    #[tokio::test]
    async fn an_annotation_is_a_pods_and_an_empty_one_is_none() {
        assert_eq!(told(" shop\n", pod()).await.unwrap().as_deref(), Some("shop"));
        assert_eq!(told("shop", None).await.unwrap(), None);
        assert_eq!(told("  ", pod()).await.unwrap(), None);
    }

    #[tokio::test]
    async fn one_that_is_too_long_is_refused_and_not_told() {
        let error = told(&"x".repeat(LONGEST_ANNOTATION + 1), pod()).await.unwrap_err();

        assert_eq!(error.kind(), ErrorKind::Invalid);
        let told = error.to_string();
        assert!(
            told.contains("shop/web") && told.contains("write it as shop") && !told.contains("xxx"),
            "{told}"
        );
    }
}
