//! What one volume owns at its store: its login, the leases that it read through this login, and readings that no other
//! volume may share.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use provider::{ErrorKind, LeaseId, Leases, Moment as _, Request, SecretBytes, Session, Span, Validity};
use tokio::time::Instant;

use crate::readings::Held;
use crate::volume::revocations::{LoginName, NotKept, Revocations};
use crate::volume::{Publish, VolumeId};

/// A lease, a login or a reading is renewed or read again after this share of its life.
const TENDED: f64 = 2.0 / 3.0;
/// Pause after a renewal that failed because the store did not answer.
const RENEW_AGAIN: Duration = Duration::from_secs(5);
/// Longest time that a replaced login lives on beside its successor. It is long enough to open a pool of connections
/// anew. It is short enough that access which a class lost does not last as long as the lease.
const LONGEST_OVERLAP: Duration = Duration::from_secs(300);

/// Shortest time until something that was just issued or renewed is due again, even if its life is shorter: otherwise a
/// store that grants very short lives would be asked without end.
const SOONEST: Span = Span::from_secs(5);

/// How long other volumes may finish their reads through a shared login that is about to end.
const OTHERS_FINISH: Duration = Duration::from_secs(10);

/// The login and the readings that belong to one volume alone.
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

/// A reading that belongs to the volume alone.
#[derive(Debug)]
struct Owned {
    held: Arc<Held>,
    term: Option<Term>,
    /// Whether it must be read again: its login was replaced, it ends soon, or somebody ordered it.
    due: bool,
}

/// A login that was replaced. Programs may still use its leases.
#[derive(Debug)]
struct Retired {
    kept: (LoginName, Option<SecretBytes>),
    /// When its leases end by themselves.
    ends: Instant,
    /// When to end it; `None` until the values of its successor are shown.
    end_at: Option<Instant>,
}

/// The life of a lease, a login or a reading.
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

    /// The term after a renewal. `None` if the store granted less than two thirds of the life: then the end is near,
    /// and it is time to read again.
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
    /// A tenancy that owns nothing yet.
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

    /// The id of the volume that it belongs to.
    pub fn volume(&self) -> &str {
        &self.volume.0
    }

    /// The namespace of its workload.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The provider that the class names.
    pub fn provider(&self) -> &str {
        &self.provider
    }

    /// Takes over the logins that an earlier process kept for this volume. They end some time after the volume shows
    /// values that a login of this process read.
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

    /// Makes `session` this volume's own, and keeps what is needed to end it, so that it ends even if this process
    /// dies.
    ///
    /// # Errors
    ///
    /// `Unavailable` if that cannot be kept. The caller must not read leases through `session` then.
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

    /// Stops using the volume's login. The login ends some time after [`settled`](Self::settled).
    ///
    /// Ending it at once would make the password invalid while a program still uses it. So the old login lives on
    /// beside its successor until the new values are shown and programs had time to read them. An example: somebody
    /// edits the class of a running pod, and `db/pass` comes from another role now. The old login is retired, `db/pass`
    /// is read through a new login, and the files change. From then on the old login lives for half of what its lease
    /// had left, and for at most five minutes; then it is revoked, and its leases with it. Connections with the old
    /// password work until then. When a pod goes away, its login ends at once: nobody uses it any more.
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

    /// Ends a shared login through which this volume read a lease that no volume owns. Other volumes may be reading
    /// through it, so it ends a little later; they log in anew.
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

    /// The volume's own reading of `request`. `None` if it must be read again.
    pub fn current(&self, request: &Request) -> Option<Arc<Held>> {
        self.owned.get(request).filter(|owned| !owned.due).map(|owned| Arc::clone(&owned.held))
    }

    /// Whether the volume read `request` for itself.
    pub fn owns(&self, request: &Request) -> bool {
        self.owned.contains_key(request)
    }

    /// Keeps a reading that belongs to the volume alone.
    pub fn hold(&mut self, request: &Request, held: &Arc<Held>) {
        let term = held.reading.validity.clone().map(|validity| Term::from(validity, held.at));
        self.owned.insert(request.clone(), Owned { held: Arc::clone(held), term, due: false });
    }

    /// Makes every own reading due and retires a login with leases, after an edit of the class or an order.
    pub fn reissue(&mut self) {
        self.owned.values_mut().for_each(|owned| owned.due = true);
        if self.has_leases() {
            self.retire();
        }
    }

    /// Keeps only readings of these requests. If one of the others had a lease, the login behind it is replaced.
    pub fn give_up(&mut self, kept: &[Request]) {
        let has_lease =
            self.owned.iter().any(|(request, owned)| owned.is_leased() && !kept.contains(request));
        if has_lease {
            self.retire();
        }
        self.retain(kept);
    }

    /// Drops readings that the class no longer asks for.
    pub fn retain(&mut self, requests: &[Request]) {
        self.owned.retain(|request, _| requests.contains(request));
    }

    /// The volume now shows all the readings that it holds. So logins that were replaced get the time of their end,
    /// which leaves programs some time to read the new files.
    pub fn settled(&mut self, now: Instant) {
        if self.owned.values().any(|owned| owned.due) {
            return;
        }
        for retired in self.retired.iter_mut().filter(|retired| retired.end_at.is_none()) {
            let left = retired.ends.saturating_duration_since(now);
            retired.end_at = Some(now.later(Span::from(left).times(0.5).min(LONGEST_OVERLAP.into())));
        }
    }

    /// Renews what is due, and ends replaced logins whose time is over.
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

    /// Renews the login if it is due. `false` if it ends soon and cannot be renewed.
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

    /// When [`tend`](Self::tend) has something to do next.
    pub fn next_due(&self) -> Option<Instant> {
        let readings = self.owned.values().filter(|owned| !owned.due).filter_map(|owned| owned.term.as_ref());
        let login = self.login.iter().filter(|_| self.has_leases()).filter_map(|login| login.term.as_ref());
        let terms = readings.chain(login).map(|term| term.tend_at);
        terms.chain(self.retired.iter().filter_map(|retired| retired.end_at)).min()
    }

    /// Whether the volume owns a reading, or has a replaced login that did not end yet.
    pub fn has_own(&self) -> bool {
        !(self.owned.is_empty() && self.retired.is_empty())
    }

    /// Whether the volume holds leases.
    pub fn has_leases(&self) -> bool {
        self.owned.values().any(Owned::is_leased)
    }

    /// The requests with a lease, and when each lease ends if nobody renews it.
    pub fn lease_ends(&self) -> Vec<(Request, Instant)> {
        let leased = self.owned.iter().filter(|(_, owned)| owned.is_leased());
        leased.filter_map(|(request, owned)| Some((request.clone(), owned.term.as_ref()?.ends))).collect()
    }

    /// Ends every login of the volume as soon as the store answers.
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

/// The session's operations on leases. A session without them has read no leases.
fn leases(session: &dyn Session) -> provider::Result<&dyn Leases> {
    let none = || provider::Error::new(ErrorKind::Denied, "this store renews nothing");
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

    /// Renews the lease if it is due. If it cannot be renewed, the reading becomes due.
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
                tracing::info!(%error, "a lease cannot be renewed any more; reading the secret again");
                self.due = true;
            }
        }
    }
}
