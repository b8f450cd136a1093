//! What one volume owns at its store: its login, the leases read through it, and
//! readings that nobody else may share.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use provider::{ErrorKind, LeaseId, Leases, Moment as _, Request, SecretBytes, Session, Span, Validity};
use tokio::time::Instant;

use crate::readings::Held;
use crate::volume::revocations::{LoginName, NotKept, Revocations};
use crate::volume::{Publish, VolumeId};

/// Share of its life after which what ends is prolonged or read again.
const TENDED: f64 = 2.0 / 3.0;
/// Pause before a renewal that failed is tried again.
const RENEW_AGAIN: Duration = Duration::from_secs(5);
/// Longest time that a replaced login lives on beside its successor. Long enough for a pool of connections to be
/// made anew, and short enough that who took a class's access away need not wait for an hour's lease.
const LONGEST_OVERLAP: Duration = Duration::from_secs(300);

/// Soonest time at which something that was just issued or prolonged is due again, however short its life: a store
/// that grants nothing is not asked without end.
const SOONEST: Span = Span::from_secs(5);

/// How long others may go on reading through a shared login that is to end.
const OTHERS_FINISH: Duration = Duration::from_secs(10);

/// The login and the readings of one volume alone.
#[derive(Debug)]
pub struct Tenancy {
    volume: VolumeId,
    namespace: String,
    provider: String,
    revocations: Arc<Revocations>,
    login: Option<Login>,
    owned: BTreeMap<Request, Owned>,
    retired: Vec<Retired>,
}

/// The volume's own login.
#[derive(Debug)]
struct Login {
    session: Arc<dyn Session>,
    kept: Option<(LoginName, SecretBytes)>,
    term: Option<Term>,
}

/// A reading of the volume's own.
#[derive(Debug)]
struct Owned {
    held: Arc<Held>,
    term: Option<Term>,
    /// To be read again: it was replaced, it ends soon, or somebody ordered it.
    due: bool,
}

/// A login that was replaced, with leases that may still be in use.
#[derive(Debug)]
struct Retired {
    kept: (LoginName, Option<SecretBytes>),
    /// When its leases end by themselves.
    ends: Instant,
    /// When it is to be ended; not before its successor's values are shown.
    end_at: Option<Instant>,
}

/// The life of something that ends.
#[derive(Debug, Clone)]
struct Term {
    validity: Validity,
    tend_at: Instant,
    ends: Instant,
}

impl Term {
    fn from(validity: Validity, now: Instant) -> Self {
        let tend_at = now.later(validity.duration.times(TENDED).max(SOONEST));
        Self { tend_at, ends: now.later(validity.duration), validity }
    }

    /// The term after a renewal; `None` if so little was granted that the end is near.
    fn renewed(&self, granted: &Validity, now: Instant) -> Option<Self> {
        let enough = granted.duration >= self.validity.duration.times(TENDED);
        let full =
            Validity { duration: granted.duration.max(self.validity.duration), ..self.validity.clone() };
        enough.then(|| Self {
            validity: full,
            tend_at: now.later(granted.duration.times(TENDED).max(SOONEST)),
            ends: now.later(granted.duration),
        })
    }
}

impl Tenancy {
    /// Owns nothing yet.
    pub fn new(publish: &Publish, provider: String, revocations: Arc<Revocations>) -> Self {
        let (volume, namespace) = (publish.id.clone(), publish.subject.namespace().to_owned());
        let (owned, retired) = (BTreeMap::new(), Vec::new());
        Self { volume, namespace, provider, revocations, login: None, owned, retired }
    }

    /// A tenancy of the same volume that owns nothing.
    pub fn clone_empty(of: &Self) -> Self {
        let (owned, retired) = (BTreeMap::new(), Vec::new());
        Self {
            volume: of.volume.clone(),
            namespace: of.namespace.clone(),
            provider: of.provider.clone(),
            revocations: Arc::clone(&of.revocations),
            login: None,
            owned,
            retired,
        }
    }

    /// Whose it is.
    pub fn volume(&self) -> &str {
        &self.volume.0
    }

    /// The namespace of its workload.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The provider, as the class names it.
    pub fn provider(&self) -> &str {
        &self.provider
    }

    /// Takes over the logins that an earlier process kept for this volume: they are ended once
    /// the volume shows what a login of this process read.
    pub fn inherit(&mut self, names: Vec<LoginName>) {
        let ends = Instant::now().later(LONGEST_OVERLAP);
        self.retired.extend(names.into_iter().map(|name| Retired { kept: (name, None), ends, end_at: None }));
    }

    /// The volume's own login, if it has one.
    pub fn session(&self) -> Option<&Arc<dyn Session>> {
        self.login.as_ref().map(|login| &login.session)
    }

    /// Whether `session` is this volume's own.
    pub fn holds(&self, session: &Arc<dyn Session>) -> bool {
        self.session().is_some_and(|own| Arc::ptr_eq(own, session))
    }

    /// Makes `session` this volume's own and sees to it that it will be ended, whatever happens to us.
    ///
    /// # Errors
    ///
    /// `Unavailable` if it cannot be kept: no lease may be read through it then.
    pub fn take(&mut self, session: &Arc<dyn Session>) -> provider::Result<()> {
        if self.holds(session) {
            return Ok(());
        }
        let leases = session.leases();
        let kept = match leases.and_then(Leases::remains) {
            Some(remains) => {
                let kept = self.keep(&remains).map_err(|error| not_kept(&error))?;
                Some((kept, remains))
            }
            None => None,
        };
        let term = leases.and_then(Leases::validity).map(|validity| Term::from(validity, Instant::now()));
        self.retire();
        self.login = Some(Login { session: Arc::clone(session), kept, term });
        Ok(())
    }

    fn keep(&self, remains: &SecretBytes) -> Result<LoginName, NotKept> {
        self.revocations.keep(&self.volume, &self.namespace, &self.provider, remains)
    }

    /// Stops using the volume's login; it ends some time after [`settled`](Self::settled).
    ///
    /// To end it at once would pull the password from under the program that uses it. So the old login lives on beside
    /// its successor until the new values are shown and the program had time to read them. An example: the class of a
    /// running pod is edited, and `db/pass` comes from another role. The old login is retired, `db/pass` is read through
    /// a new one, and the files change. Connections with the old password live on, for at most half of what the
    /// lease had left and at most five minutes; then the old login is revoked, and its leases with it. A pod that goes
    /// away ends its login at once: nobody uses it any more.
    pub fn retire(&mut self) {
        let Some(login) = self.login.take() else { return };
        login.session.discard();
        let now = Instant::now();
        let leases =
            self.owned.values().filter(|owned| owned.is_leased()).filter_map(|owned| owned.term.as_ref());
        let ends = leases.map(|term| term.ends).max().unwrap_or(now);
        self.owned.values_mut().filter(|owned| owned.is_leased()).for_each(|owned| owned.due = true);
        if let Some((name, remains)) = login.kept {
            self.retired.push(Retired { kept: (name, Some(remains)), ends, end_at: None });
        }
    }

    /// Ends a login that others have too, through which this volume read a lease that so is
    /// nobody's: not at once, for others may be in the middle of reading. They log in anew.
    pub fn abandon(&mut self, session: &Arc<dyn Session>) {
        session.discard();
        let Some(remains) = session.leases().and_then(Leases::remains) else { return };
        match self.keep(&remains) {
            Ok(name) => {
                let ends = Instant::now().later(OTHERS_FINISH);
                self.retired.push(Retired { kept: (name, Some(remains)), ends, end_at: Some(ends) });
            }
            Err(error) => tracing::warn!(%error, "a lease that nobody uses stays until it ends by itself"),
        }
    }

    /// The volume's own reading of `request`, unless it is to be read again.
    pub fn current(&self, request: &Request) -> Option<Arc<Held>> {
        self.owned.get(request).filter(|owned| !owned.due).map(|owned| Arc::clone(&owned.held))
    }

    /// Whether the volume ever read `request` for itself.
    pub fn owns(&self, request: &Request) -> bool {
        self.owned.contains_key(request)
    }

    /// Holds a reading of the volume's own.
    pub fn hold(&mut self, request: &Request, held: &Arc<Held>) {
        let term = held.reading.validity.clone().map(|validity| Term::from(validity, held.at));
        self.owned.insert(request.clone(), Owned { held: Arc::clone(held), term, due: false });
    }

    /// Has everything read again: a class edit or an order.
    pub fn reissue(&mut self) {
        self.owned.values_mut().for_each(|owned| owned.due = true);
        if self.has_leases() {
            self.retire();
        }
    }

    /// Lets go of readings that the class does not ask for any more.
    pub fn retain(&mut self, requests: &[Request]) {
        self.owned.retain(|request, _| requests.contains(request));
    }

    /// The volume shows what it holds now: logins that were replaced may end, with some time for who just read.
    pub fn settled(&mut self, now: Instant) {
        if self.owned.values().any(|owned| owned.due) {
            return;
        }
        for retired in self.retired.iter_mut().filter(|retired| retired.end_at.is_none()) {
            let left = retired.ends.saturating_duration_since(now);
            retired.end_at = Some(now.later(Span::from(left).times(0.5).min(LONGEST_OVERLAP.into())));
        }
    }

    /// Prolongs what is due, ends what was replaced.
    pub async fn tend(&mut self, now: Instant) {
        self.end_retired(now);
        if self.has_leases() && !self.tend_login(now).await {
            self.retire();
        }
        let Some(session) = self.session().cloned() else {
            return self.mark_ended(now);
        };
        for owned in self.owned.values_mut() {
            owned.tend(&*session, now).await;
        }
        let replace_login = self.owned.values().any(|owned| owned.due && owned.is_leased());
        if replace_login {
            self.retire();
        }
        self.mark_ended(now);
    }

    fn mark_ended(&mut self, now: Instant) {
        for owned in self.owned.values_mut().filter(|owned| !owned.is_leased()) {
            owned.due |= owned.term.as_ref().is_some_and(|term| term.tend_at <= now);
        }
    }

    /// `false` if the login ends soon and cannot be prolonged.
    async fn tend_login(&mut self, now: Instant) -> bool {
        let Some(login) = &mut self.login else { return true };
        let Some(term) = login.term.as_mut().filter(|term| term.tend_at <= now) else { return true };
        if !term.validity.renewable {
            return false;
        }
        match renew(&*login.session).await {
            Ok(granted) => match term.renewed(&granted, Instant::now()) {
                Some(renewed) => *term = renewed,
                None => return false,
            },
            Err(error) if error.kind() == ErrorKind::Unavailable && now < term.ends => {
                term.tend_at = now.later(RENEW_AGAIN);
            }
            Err(_) => return false,
        }
        true
    }

    fn end_retired(&mut self, now: Instant) {
        let (over, rest) = std::mem::take(&mut self.retired)
            .into_iter()
            .partition(|retired| retired.end_at.is_some_and(|at| at <= now));
        self.retired = rest;
        self.end(over);
    }

    fn end(&self, retired: Vec<Retired>) {
        for Retired { kept: (name, remains), .. } in retired {
            match remains {
                Some(remains) => self.revocations.end(name, &self.provider, remains),
                None => {
                    if let Err(error) = self.revocations.end_kept(&name) {
                        tracing::warn!(%error, "a replaced login could not be ended");
                    }
                }
            }
        }
    }

    /// When [`tend`](Self::tend) has something to do.
    pub fn next_due(&self) -> Option<Instant> {
        let readings = self.owned.values().filter(|owned| !owned.due).filter_map(|owned| owned.term.as_ref());
        let login = self.login.iter().filter(|_| self.has_leases()).filter_map(|login| login.term.as_ref());
        let terms = readings.chain(login).map(|term| term.tend_at);
        terms.chain(self.retired.iter().filter_map(|retired| retired.end_at)).min()
    }

    /// Whether it owns something, or did not long ago.
    pub fn has_own(&self) -> bool {
        !(self.owned.is_empty() && self.retired.is_empty())
    }

    /// Whether the volume holds leases.
    pub fn has_leases(&self) -> bool {
        self.owned.values().any(Owned::is_leased)
    }

    /// The leases' ends, for who must live without us.
    pub fn lease_ends(&self) -> Vec<(Request, Instant)> {
        let leased = self.owned.iter().filter(|(_, owned)| owned.is_leased());
        leased.filter_map(|(request, owned)| Some((request.clone(), owned.term.as_ref()?.ends))).collect()
    }

    /// Ends every login of the volume, as soon as the store lets us.
    pub fn end_all(&mut self) {
        self.retire();
        self.owned.clear();
        let retired = std::mem::take(&mut self.retired);
        self.end(retired);
    }
}

async fn renew(session: &dyn Session) -> provider::Result<Validity> {
    leases(session)?.renew().await
}

async fn renew_lease(session: &dyn Session, lease: &LeaseId) -> provider::Result<Validity> {
    leases(session)?.renew_lease(lease).await
}

/// What a session can do about leases. One that can do nothing has read none.
fn leases(session: &dyn Session) -> provider::Result<&dyn Leases> {
    let none = || provider::Error::new(ErrorKind::Denied, "this store prolongs nothing");
    session.leases().ok_or_else(none)
}

fn not_kept(error: &NotKept) -> provider::Error {
    let told = format!("a login cannot be kept safe: {error}");
    let told = provider::Error::new(ErrorKind::Unavailable, told);
    match error {
        NotKept::Mounter(_) => told.remedy("is secretfs-mounter running?"),
        NotKept::Crowded { .. } => told.remedy("does its store end them, and are its leases long enough?"),
        NotKept::TooLong(_) => told,
    }
}

impl Owned {
    fn is_leased(&self) -> bool {
        self.held.reading.validity.as_ref().is_some_and(|validity| validity.lease.is_some())
    }

    /// Prolongs the lease if it is time; if that cannot be, the reading is due.
    async fn tend(&mut self, session: &dyn Session, now: Instant) {
        let Some(term) = self.term.as_mut().filter(|term| !self.due && term.tend_at <= now) else { return };
        let Some(lease) = term.validity.lease.clone().filter(|_| term.validity.renewable) else {
            self.due = true;
            return;
        };
        match renew_lease(session, &lease).await {
            Ok(granted) => match term.renewed(&granted, Instant::now()) {
                Some(renewed) => *term = renewed,
                None => self.due = true,
            },
            Err(error) if error.kind() == ErrorKind::Unavailable && now < term.ends => {
                term.tend_at = now.later(RENEW_AGAIN);
            }
            Err(error) => {
                tracing::info!(%error, "a lease is not prolonged any more; reading anew");
                self.due = true;
            }
        }
    }
}
