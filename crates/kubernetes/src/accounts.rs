//! Annotations of service accounts, for stores whose classes leave it to the service account which role a pod uses.
//!
//! This is the only call to the API server that a publish waits for, and only if the class names no role. So its
//! deadline is short, callers that ask at the same time share one call, and an API server that does not answer is not
//! asked again for a moment. Meanwhile the last answer holds, as the last known class does; without one the publish
//! fails.

mod known;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::core::PartialObjectMeta;
use kube::{Api, Client};
use provider::{Accounts, Error, ErrorKind, Identity, LONGEST_ANNOTATION, Result, Span, TenantShares};
use tokio::time::{Instant, timeout};

use crate::refusal::told;
use known::{Answer, Known, Slot};

/// How long the API server may take. kubelet waits two minutes for a publish, and pods of other stores do not wait for
/// this.
const ANSWER: Duration = Duration::from_secs(5);
/// Most calls at the same time. Namespaces share them.
const AT_ONCE: usize = 32;
/// The name of the call, for error texts.
const WISH: &str = "get serviceaccounts";

/// The service accounts of a cluster.
pub struct ServiceAccounts {
    client: Client,
    /// The annotations that stores declare. No others are kept.
    names: BTreeSet<&'static str>,
    /// The namespaces whose service accounts are read; `*` means all.
    namespaces: Vec<String>,
    known: Known,
    turns: Arc<TenantShares>,
}

impl fmt::Debug for ServiceAccounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServiceAccounts({})", self.namespaces.join(","))
    }
}

impl ServiceAccounts {
    /// The service accounts of `namespaces` (`*` means all), for annotations with these `names`. Makes no call yet.
    pub fn new(client: Client, names: BTreeSet<&'static str>, namespaces: Vec<String>) -> Self {
        Self { client, names, namespaces, known: Known::default(), turns: TenantShares::new(AT_ONCE) }
    }

    fn looks_in(&self, namespace: &str) -> bool {
        self.namespaces.iter().any(|name| name == "*" || name == namespace)
    }

    /// The service account `of`, from memory if the last answer is young enough.
    async fn account(&self, of: &Identity) -> Answer {
        let slot = self.known.slot(of);
        let mut slot = slot.lock().await;
        if let Some(answer) = slot.current(of, Instant::now()) {
            return answer;
        }
        if let Err(silent) = self.known.may_ask(Instant::now()) {
            return slot.last(of).unwrap_or_else(|| Err(unasked(of, &silent)));
        }
        self.ask(of, &mut slot).await
    }

    async fn ask(&self, of: &Identity, slot: &mut Slot) -> Answer {
        let namespace = Arc::from(of.namespace.as_str());
        let Some(_turn) = self.turns.take([&namespace]) else {
            return Err(unasked(of, "its other questions are not answered yet"));
        };
        let api: Api<ServiceAccount> = Api::namespaced(self.client.clone(), &of.namespace);
        let asked = timeout(ANSWER, api.get_metadata(&of.name)).await;
        let silent = |why: String| {
            self.known.is_silent(&why, Instant::now());
            why
        };
        let why = match asked {
            Ok(Ok(found)) => return slot.note(of, self.read(found), Instant::now()),
            Ok(Err(kube::Error::Api(status))) if status.code < 500 && status.code != 429 => {
                return slot.note(of, Err(refused(of, &kube::Error::Api(status))), Instant::now());
            }
            Ok(Err(error)) => silent(told(&error, WISH)),
            Err(_) => silent(format!("no answer within {} s", ANSWER.as_secs())),
        };
        slot.last(of).unwrap_or_else(|| Err(unasked(of, &why)))
    }

    /// Keeps the uid and the declared annotations.
    fn read(&self, found: PartialObjectMeta<ServiceAccount>) -> Result<known::Account> {
        let annotations = found.metadata.annotations.unwrap_or_default().into_iter();
        let kept =
            annotations.filter_map(|(name, text)| Some((*self.names.get(name.as_str())?, bounded(text))));
        Ok(known::Account { uid: found.metadata.uid, annotations: kept.collect::<BTreeMap<_, _>>() })
    }
}

/// Cuts a text so that it is still longer than an annotation may be: its reader must see that it is too long.
fn bounded(mut text: String) -> String {
    text.truncate(text.ceil_char_boundary(LONGEST_ANNOTATION.saturating_add(1)));
    text
}

#[async_trait]
impl Accounts for ServiceAccounts {
    async fn annotation(&self, of: &Identity, name: &'static str) -> Result<Option<String>> {
        if !self.looks_in(&of.namespace) {
            return Ok(None);
        }
        let account = self.account(of).await?;
        Ok(account.annotations.get(name).cloned())
    }
}

/// The error if the API server was not asked or did not answer. It says that the store was not asked, so it does not
/// count for the store's breaker.
fn unasked(of: &Identity, why: &str) -> Error {
    let Identity { namespace, name, .. } = of;
    let message = format!("the API server does not tell of service account {namespace}/{name}: {why}");
    Error::new(ErrorKind::Unavailable, message)
        .remedy("the class can name the role itself, and then nobody asks")
        .retry_after(Some(Span::from(known::LEFT_ALONE)))
        .unasked()
}

fn refused(of: &Identity, error: &kube::Error) -> Error {
    let Identity { namespace, name, .. } = of;
    let is_gone = matches!(error, kube::Error::Api(status) if status.code == 404);
    let (why, remedy) = match is_gone {
        true => ("it is gone".to_owned(), "make it again, and the pod with it"),
        false => {
            (told(error, WISH), "set serviceAccountAnnotations in the chart, or name the role in the class")
        }
    };
    let message = format!("the API server does not tell of service account {namespace}/{name}: {why}");
    Error::new(ErrorKind::NoCredential, message).remedy(remedy)
}

#[cfg(test)]
mod tests;
