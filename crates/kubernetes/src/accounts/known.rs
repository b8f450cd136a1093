//! What is known of service accounts, and for how long that is good; plain state.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use provider::{Error, ErrorKind, Identity, Result};
use tokio::sync;
use tokio::time::Instant;

/// How long an answer is good: an annotation that is changed is noticed with the first reading after that.
const GOOD: Duration = Duration::from_secs(60);
/// How long a refusal is: who grants a right does not wait long.
const REFUSED: Duration = Duration::from_secs(5);
/// How long an API server is left alone that did not answer.
pub(super) const LEFT_ALONE: Duration = Duration::from_secs(5);
/// Most accounts of one namespace that are known; a node runs pods of few.
const MOST_ACCOUNTS: usize = 64;
/// Most namespaces of which any are.
const MOST_NAMESPACES: usize = 1024;

/// What counts of a service account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) uid: Option<String>,
    /// Only those that stores declare.
    pub(super) annotations: BTreeMap<&'static str, String>,
}

/// What the API server said of one.
pub(super) type Answer = Result<Arc<Account>>;

/// What is known, the latest used last, and whether the API server answers at all.
#[derive(Debug, Default)]
pub(super) struct Known {
    namespaces: Mutex<VecDeque<(String, Accounts)>>,
    silent: Mutex<Option<(Instant, String)>>,
}

type Accounts = VecDeque<(String, Arc<sync::Mutex<Slot>>)>;

/// What is known of one. Whoever asks holds it meanwhile, so that nobody else does.
#[derive(Debug, Default)]
pub(super) struct Slot {
    told: Option<(Instant, Answer)>,
}

impl Known {
    /// Where what is known of `of` is.
    pub(super) fn slot(&self, of: &Identity) -> Arc<sync::Mutex<Slot>> {
        let mut namespaces = locked(&self.namespaces);
        let mut accounts = used(&mut namespaces, &of.namespace, MOST_NAMESPACES);
        let slot = used(&mut accounts, &of.name, MOST_ACCOUNTS);
        accounts.push_back((of.name.clone(), Arc::clone(&slot)));
        namespaces.push_back((of.namespace.clone(), accounts));
        slot
    }

    /// The API server did not answer, and why.
    pub(super) fn is_silent(&self, why: &str, now: Instant) {
        *locked(&self.silent) = Some((now, why.to_owned()));
    }

    /// Whether the API server is to be asked.
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

/// Takes `name` out of `all`, or makes it where the longest unused one has to go for it.
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
    /// What was said of `of`, if that is still good.
    pub(super) fn current(&self, of: &Identity, now: Instant) -> Option<Answer> {
        let (at, answer) = self.told.as_ref()?;
        let good = if answer.is_ok() { GOOD } else { REFUSED };
        let is_good = now.saturating_duration_since(*at) < good;
        (is_good && is_of(answer, of)).then(|| answer.clone())
    }

    /// What was said of `of` last, however long ago that was.
    pub(super) fn last(&self, of: &Identity) -> Option<Answer> {
        self.told
            .as_ref()
            .map(|(_, answer)| answer)
            .filter(|answer| answer.is_ok() && is_of(answer, of))
            .cloned()
    }

    /// Notes what the API server said, and what that means for `of`.
    pub(super) fn note(&mut self, of: &Identity, said: Result<Account>, now: Instant) -> Answer {
        let answer = said.map(Arc::new);
        self.told = Some((now, answer.clone()));
        if is_of(&answer, of) { answer } else { Err(made_anew(of)) }
    }
}

/// Whether what was said is about that very account, and not about one of its name.
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
