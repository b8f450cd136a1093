use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use crate::{
    Error, ErrorKind, ObjectRef, Reading, Request, Result, SecretBytes, Session, Source, Tenure, Workload,
};

/// A store without logins: each call carries the pod's token, and the store checks only the token's service account.
///
/// [`listed`] makes its source and sessions. A store that takes several keys from one answer, has logins, or pushes,
/// implements [`Source`] and [`Session`] itself.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// As [`Source::store`].
    fn name(&self) -> &str;

    /// The audience of the tokens for [`read`](Self::read).
    fn audience(&self) -> &str;

    /// Makes one call with the rights of `token`'s owner.
    ///
    /// # Errors
    ///
    /// As [`Session::read`].
    async fn read(&self, token: &SecretBytes, request: &Request) -> Result<Reading>;
}

/// A source that reads `objects` from `store`. Each object is a file that shows the whole answer to its request.
pub fn listed(store: Arc<dyn Store>, objects: Vec<ObjectRef>) -> Arc<dyn Source> {
    Arc::new(Listed { store, objects })
}

#[derive(Debug)]
struct Listed {
    store: Arc<dyn Store>,
    objects: Vec<ObjectRef>,
}

#[async_trait]
impl Source for Listed {
    fn store(&self) -> &str {
        self.store.name()
    }

    fn audience(&self) -> Option<&str> {
        Some(self.store.audience())
    }

    fn objects(&self) -> &[ObjectRef] {
        &self.objects
    }

    async fn session(&self, workload: &Workload, _tenure: Tenure) -> Result<Arc<dyn Session>> {
        let store = Arc::clone(&self.store);
        let token = Mutex::new(token(&*store, workload)?);
        Ok(Arc::new(Bearer { identity: identity(workload), store, token }))
    }
}

/// A session for the owner of the token.
#[derive(Debug)]
struct Bearer {
    store: Arc<dyn Store>,
    identity: String,
    /// The newest token.
    token: Mutex<SecretBytes>,
}

#[async_trait]
impl Session for Bearer {
    fn identity(&self) -> &str {
        &self.identity
    }

    fn hand_over(&self, workload: &Workload) {
        if let Ok(newer) = token(&*self.store, workload)
            && identity(workload) == self.identity
        {
            *self.token.lock().unwrap_or_else(PoisonError::into_inner) = newer;
        }
    }

    async fn read(&self, request: &Request) -> Result<Reading> {
        let token = self.token.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.store.read(&token, request).await
    }
}

/// Kubelet vouches for a pod's service account. On a plain host nobody vouches for the owner of a token, so such a
/// volume shares nothing.
fn identity(workload: &Workload) -> String {
    match workload.pod {
        Some(_) => workload.identity.to_string(),
        None => format!("{} volume {}", workload.identity, workload.volume),
    }
}

fn token(store: &dyn Store, workload: &Workload) -> Result<SecretBytes> {
    let audience = store.audience();
    let missing = || {
        let text =
            format!("no token of {} for audience {audience:?} came with the volume", workload.identity);
        Error::new(ErrorKind::NoCredential, text)
            .remedy(format!("add audience {audience:?} to tokenRequests of the CSIDriver object"))
    };
    workload.tokens.get(audience).cloned().ok_or_else(missing)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{Identity, Pod};

    /// A store that returns the token that it got.
    #[derive(Debug)]
    struct Echo;

    #[async_trait]
    impl Store for Echo {
        fn name(&self) -> &str {
            "echo"
        }

        fn audience(&self) -> &str {
            "echo"
        }

        async fn read(&self, token: &SecretBytes, _: &Request) -> Result<Reading> {
            Ok(Reading::new(token.clone()))
        }
    }

    fn workload(account: &str, pod: Option<&str>, volume: &str, token: &str) -> Workload {
        Workload {
            identity: Identity::named("shop", account),
            pod: pod.map(|name| Pod { name: name.to_owned(), uid: format!("uid-{name}") }),
            volume: volume.to_owned(),
            tokens: BTreeMap::from([("echo".to_owned(), token.to_owned().into())]),
            credentials: BTreeMap::new(),
        }
    }

    async fn session(workload: &Workload) -> Arc<dyn Session> {
        listed(Arc::new(Echo), Vec::new()).session(workload, Tenure::Shared).await.unwrap()
    }

    #[tokio::test]
    async fn a_session_goes_on_with_the_newest_token_of_its_own_account() {
        let session = session(&workload("till", Some("p"), "v", "old")).await;

        session.hand_over(&workload("till", Some("q"), "w", "new"));
        session.hand_over(&workload("stranger", Some("r"), "x", "foreign"));

        let shown = session.read(&Request::shared("a")).await.unwrap();
        assert_eq!(shown.body.expose(), b"new");
    }

    #[tokio::test]
    async fn pods_of_one_account_share_and_volumes_of_a_host_do_not() {
        let of = async |pod, volume| session(&workload("till", pod, volume, "t")).await.identity().to_owned();

        assert_eq!(of(Some("p"), "v").await, of(Some("q"), "w").await);
        assert_ne!(of(None, "v").await, of(None, "w").await);
    }

    #[tokio::test]
    async fn a_missing_token_is_told_with_its_audience() {
        let none = Workload { tokens: BTreeMap::new(), ..workload("till", Some("p"), "v", "t") };

        let error = listed(Arc::new(Echo), Vec::new()).session(&none, Tenure::Shared).await.unwrap_err();

        assert_eq!(error.kind(), ErrorKind::NoCredential);
        assert!(error.to_string().contains("audience \"echo\" to tokenRequests"), "{error}");
    }
}
