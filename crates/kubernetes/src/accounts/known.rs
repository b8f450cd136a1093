//! What is known of service accounts, and for how long it is good. Plain state.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use provider::{Error, ErrorKind, Identity, Result};
use tokio::sync;
use tokio::time::Instant;

/// How long an answer is good. The first reading after that notices a changed annotation.
const GOOD: Duration = Duration::from_secs(60);
/// How long a refusal is good. It is short, so that a right that somebody grants works soon.
const REFUSED: Duration = Duration::from_secs(5);
/// How long an API server that did not answer is not asked again.
pub(super) const LEFT_ALONE: Duration = Duration::from_secs(5);
/// Most accounts of one namespace that are remembered. A node runs pods of few accounts.
const MOST_ACCOUNTS: usize = 64;
/// Most namespaces whose accounts are remembered.
const MOST_NAMESPACES: usize = 1024;

/// What is kept of a service account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) uid: Option<String>,
    /// Only the annotations that stores declare.
    pub(super) annotations: BTreeMap<&'static str, String>,
}

/// The API server's answer about one account.
pub(super) type Answer = Result<Arc<Account>>;

/// The known accounts, the most recently used last, and whether the API server answers at all.
#[derive(Debug, Default)]
pub(super) struct Known {
    namespaces: Mutex<VecDeque<(String, Accounts)>>,
    silent: Mutex<Option<(Instant, String)>>,
}

type Accounts = VecDeque<(String, Arc<sync::Mutex<Slot>>)>;

/// What is known of one account. The caller that asks keeps it locked, so that others wait for its answer.
#[derive(Debug, Default)]
pub(super) struct Slot {
    told: Option<(Instant, Answer)>,
}

impl Known {
    /// The slot of the account `of`. Makes one if there is none.
    pub(super) fn slot(&self, of: &Identity) -> Arc<sync::Mutex<Slot>> {
        let mut namespaces = locked(&self.namespaces);
        let mut accounts = used(&mut namespaces, &of.namespace, MOST_NAMESPACES);
        let slot = used(&mut accounts, &of.name, MOST_ACCOUNTS);
        accounts.push_back((of.name.clone(), Arc::clone(&slot)));
        namespaces.push_back((of.namespace.clone(), accounts));
        slot
    }

    /// Records that the API server did not answer, and why.
    pub(super) fn is_silent(&self, why: &str, now: Instant) {
        *locked(&self.silent) = Some((now, why.to_owned()));
    }

    /// Whether the API server may be asked.
    ///
    /// # Errors
    ///
    /// Why it did not answer a moment ago.
    pub(super) fn may_ask(&self, now: Instant) -> std::result::Result<(), String> {
        match &*locked(&self.silent) {
            Some((at, why)) if now.saturating_duration_since(*at) < LEFT_ALONE => Err(why.clone()),
            _ => Ok(()),
        }
    }
}

/// Takes `name` out of `all`, or makes a new value. If there are too many, removes the one that was not used for
/// longest.
fn used<T: Default>(all: &mut VecDeque<(String, T)>, name: &str, most: usize) -> T {
    if let Some((_, known)) = all.iter().position(|(known, _)| known == name).and_then(|at| all.remove(at)) {
        return known;
    }
    if all.len() >= most {
        all.pop_front();
    }
    T::default()
}

impl Slot {
    /// The last answer about `of`, if it is still good.
    pub(super) fn current(&self, of: &Identity, now: Instant) -> Option<Answer> {
        let (at, answer) = self.told.as_ref()?;
        let good = if answer.is_ok() { GOOD } else { REFUSED };
        let is_good = now.saturating_duration_since(*at) < good;
        (is_good && is_of(answer, of)).then(|| answer.clone())
    }

    /// The last successful answer about `of`, of any age.
    pub(super) fn last(&self, of: &Identity) -> Option<Answer> {
        self.told
            .as_ref()
            .map(|(_, answer)| answer)
            .filter(|answer| answer.is_ok() && is_of(answer, of))
            .cloned()
    }

    /// Keeps the API server's answer, and returns what it means for `of`.
    pub(super) fn note(&mut self, of: &Identity, said: Result<Account>, now: Instant) -> Answer {
        let answer = said.map(Arc::new);
        self.told = Some((now, answer.clone()));
        if is_of(&answer, of) { answer } else { Err(made_anew(of)) }
    }
}

/// Whether the answer is about this very account, and not about another one with the same name.
fn is_of(answer: &Answer, of: &Identity) -> bool {
    let Ok(account) = answer else { return true };
    of.uid.is_none() || account.uid == of.uid
}

fn made_anew(of: &Identity) -> Error {
    let message =
        format!("service account {}/{} was made anew since the pod got its token", of.namespace, of.name);
    Error::new(ErrorKind::NoCredential, message).remedy("delete the pod")
}

fn locked<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(uid: &str) -> Account {
        Account { uid: Some(uid.to_owned()), annotations: BTreeMap::new() }
    }

    fn web(uid: &str) -> Identity {
        Identity { uid: Some(uid.to_owned()), ..Identity::named("shop", "web") }
    }

    fn refusal() -> Result<Account> {
        Err(Error::new(ErrorKind::NoCredential, "no"))
    }

    #[test]
    fn an_answer_is_good_for_a_minute_and_a_refusal_for_seconds() {
        let (mut slot, now) = (Slot::default(), Instant::now());

        slot.note(&web("1"), Ok(account("1")), now).unwrap();
        assert!(slot.current(&web("1"), now + GOOD / 2).is_some());
        assert!(slot.current(&web("1"), now + GOOD).is_none() && slot.last(&web("1")).is_some());

        slot.note(&web("1"), refusal(), now).unwrap_err();
        assert!(slot.current(&web("1"), now + REFUSED / 2).unwrap().is_err());
        assert!(slot.current(&web("1"), now + REFUSED).is_none() && slot.last(&web("1")).is_none());
    }

    #[test]
    fn an_account_that_was_made_anew_is_another() {
        let (mut slot, now) = (Slot::default(), Instant::now());
        slot.note(&web("1"), Ok(account("1")), now).unwrap();

        assert!(slot.current(&web("2"), now).is_none() && slot.last(&web("2")).is_none());
        let told = slot.note(&web("1"), Ok(account("2")), now).unwrap_err().to_string();

        assert!(told.contains("shop/web was made anew"), "{told}");
        assert!(slot.current(&web("2"), now).is_some() && slot.current(&web("1"), now).is_none());
    }

    #[test]
    fn an_api_server_that_did_not_answer_is_left_alone_for_a_moment() {
        let (known, now) = (Known::default(), Instant::now());

        known.is_silent("it is away", now);

        assert_eq!(known.may_ask(now + LEFT_ALONE / 2), Err("it is away".to_owned()));
        assert_eq!(known.may_ask(now + LEFT_ALONE), Ok(()));
    }

    #[test]
    fn those_used_of_late_are_known_and_nobody_pushes_out_those_of_others() {
        let (known, shop) = (Known::default(), Identity::named("shop", "web"));
        let kept = known.slot(&shop);

        for n in 0..2 * MOST_ACCOUNTS {
            known.slot(&Identity::named("hostile", n.to_string()));
        }

        assert!(Arc::ptr_eq(&kept, &known.slot(&shop)));
        let namespaces = locked(&known.namespaces);
        assert_eq!(
            namespaces.iter().map(|(_, accounts)| accounts.len()).collect::<Vec<_>>(),
            [MOST_ACCOUNTS, 1]
        );
    }
}
