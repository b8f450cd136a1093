//! Ends logins whose leases nobody needs any more: now, later, or in the next process.
//!
//! Before a volume reads its first lease through a login, what is needed to end this login is encrypted with a key of
//! this boot and given to the mounter. So a login can be ended even if this process dies. The mounter has the blobs and
//! not the key. The state directory has the key and no blobs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use futures::StreamExt as _;
use futures::future::join_all;
use futures::stream::FuturesUnordered;
use metrics::Metrics;
use mounter::Mounter;
use provider::{Doubling, ErrorKind, Moment as _, Provider, Providers, SecretBytes};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::volume::VolumeId;
use crate::volume::admission::{Admission, Bounds, Lane, Shares};

/// How long one try to end a login may take.
const TRY: Duration = Duration::from_secs(15);
/// Pauses between these tries.
const PAUSES: Doubling =
    Doubling { first: Duration::from_secs(1), longest: Duration::from_secs(60), spread: [0.5, 1.0] };

/// How many logins may be ended at the same time. The logins of one store wait only for each other.
const TRIES: Bounds = Bounds { process: 64, namespace: 64, place: 16, waiting: 100_000 };
/// How many bytes of logins may be kept. The mounter has room for more, so that logins of an earlier process fit as
/// well.
const KEPT: Bounds = Bounds { process: 12 << 20, namespace: 4 << 20, place: 8 << 20, waiting: 0 };
/// What a login costs in addition to its own bytes, here and in the mounter.
const KEPT_BESIDE: usize = 1024;
/// Largest encrypted login that is kept, in bytes.
const MOST_BYTES: usize = 16 << 10;

/// The name of a kept login: `volume id/number`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LoginName(String);

impl LoginName {
    /// Whether the login belongs to `volume`.
    pub fn is_of(&self, volume: &VolumeId) -> bool {
        self.0.rsplit_once('/').is_some_and(|(owner, _)| owner == volume.0)
    }
}

/// The logins that are kept, and those that wait to be ended.
pub struct Revocations {
    mounter: Arc<dyn Mounter>,
    providers: Providers,
    key: RandomizedNonceKey,
    next: AtomicU64,
    kept: Mutex<Kept>,
    pending: Mutex<BTreeMap<LoginName, Pending>>,
    wake: Notify,
    turns: Arc<Admission>,
    metrics: Metrics,
}

/// What this process gave the mounter to keep. A mounter that restarts loses it and gets it again.
#[derive(Debug, Default)]
struct Kept {
    logins: BTreeMap<LoginName, Sealed>,
    shares: Shares,
}

#[derive(Debug, Clone)]
struct Sealed {
    bytes: Vec<u8>,
    lane: Lane,
}

#[derive(Debug)]
struct Pending {
    login: Login,
    due: Instant,
    failures: u32,
    under_way: bool,
}

/// What is needed to end a login.
#[derive(Debug, Clone)]
struct Login {
    provider: String,
    remains: SecretBytes,
}

/// Why a login is not kept.
#[derive(Debug, thiserror::Error)]
pub enum NotKept {
    /// The mounter refused or could not be reached.
    #[error("{0}")]
    Mounter(#[from] mounter::Error),
    /// The namespace, or its store, already has as many bytes of logins as it may.
    #[error("the kept logins of namespace {namespace} take all the room that they may; some must end first")]
    Crowded {
        /// The namespace.
        namespace: String,
    },
    /// The login is longer than a login may be; its length in bytes.
    #[error("it takes {0} bytes, and at most {MOST_BYTES} are kept")]
    TooLong(usize),
}

impl Sealed {
    fn cost(&self) -> usize {
        self.bytes.len() + KEPT_BESIDE
    }
}

impl Kept {
    fn add(&mut self, name: LoginName, sealed: Sealed) {
        self.shares.take(&sealed.lane, sealed.cost());
        self.logins.insert(name, sealed);
    }

    fn remove(&mut self, name: &LoginName) {
        if let Some(sealed) = self.logins.remove(name) {
            self.shares.give_back(&sealed.lane, sealed.cost());
        }
    }
}

impl Revocations {
    /// Keeps logins with `mounter`, encrypted with the 32 bytes of `key`. `metrics` counts each try to end one.
    ///
    /// # Errors
    ///
    /// `key` has another length.
    pub fn new(
        mounter: Arc<dyn Mounter>,
        providers: Providers,
        metrics: Metrics,
        key: &[u8],
    ) -> anyhow::Result<Self> {
        let key = RandomizedNonceKey::new(&AES_256_GCM, key)
            .map_err(|_| anyhow::anyhow!("the key that seals logins must be 32 bytes"))?;
        Ok(Self {
            mounter,
            providers,
            key,
            next: AtomicU64::new(0),
            kept: Mutex::default(),
            pending: Mutex::default(),
            wake: Notify::new(),
            turns: Admission::new(TRIES),
            metrics,
        })
    }

    /// Keeps a login of `volume`, whose workload is in `namespace`, until it is [ended](Self::end).
    ///
    /// # Errors
    ///
    /// The login is not kept. The caller must not read leases through it then.
    pub fn keep(
        &self,
        volume: &VolumeId,
        namespace: &str,
        provider: &str,
        remains: &SecretBytes,
    ) -> Result<LoginName, NotKept> {
        let random = fastrand::u32(..);
        let name = LoginName(format!("{volume}/{random:08x}{}", self.next.fetch_add(1, Ordering::Relaxed)));
        let login = Login { provider: provider.to_owned(), remains: remains.clone() };
        let bytes = self.seal(&name, &login).ok_or_else(|| mounter::Error {
            action: "seal a login of",
            target: volume.0.clone().into(),
            source: std::io::Error::other("encryption failed"),
        })?;
        if bytes.len() > MOST_BYTES {
            return Err(NotKept::TooLong(bytes.len()));
        }
        let sealed = Sealed { bytes, lane: Lane::new(namespace, &self.store_of(&login)) };
        self.add(&name, sealed.clone())?;
        if let Err(error) = self.mounter.keep(&name.0, &sealed.bytes) {
            self.kept().remove(&name);
            return Err(error.into());
        }
        Ok(name)
    }

    fn add(&self, name: &LoginName, sealed: Sealed) -> Result<(), NotKept> {
        let mut kept = self.kept();
        if !kept.shares.fits(&sealed.lane, sealed.cost(), &KEPT) {
            return Err(NotKept::Crowded { namespace: sealed.lane.namespace().to_owned() });
        }
        kept.add(name.clone(), sealed);
        Ok(())
    }

    /// The store that can end a login, or the provider's name if the store is not known.
    fn store_of(&self, login: &Login) -> String {
        let provider = self.providers.get(&login.provider);
        provider
            .and_then(|provider| provider.endings()?.store_of(&login.remains))
            .unwrap_or_else(|| login.provider.clone())
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the mounter every login of this process that it no longer has.
    ///
    /// # Errors
    ///
    /// The mounter cannot be asked.
    pub fn keep_again(&self) -> Result<(), mounter::Error> {
        let there: BTreeSet<_> = self.mounter.kept()?.into_iter().map(|(name, _)| LoginName(name)).collect();
        let lost: Vec<_> = {
            let kept = self.kept();
            let lost = kept.logins.iter().filter(|(name, _)| !there.contains(name));
            lost.map(|(name, sealed)| (name.clone(), sealed.bytes.clone())).collect()
        };
        for (name, bytes) in lost {
            tracing::warn!(login = name.0, "the mounter lost a login, and is given it again");
            self.mounter.keep(&name.0, &bytes)?;
        }
        Ok(())
    }

    /// Ends a login as soon as its store answers. Returns at once.
    pub fn end(&self, name: LoginName, provider: &str, remains: SecretBytes) {
        self.push(name, Login { provider: provider.to_owned(), remains });
    }

    /// Ends every kept login of `volume`, also those that an earlier process kept.
    ///
    /// # Errors
    ///
    /// The mounter cannot be asked.
    pub fn end_all_of(&self, volume: &VolumeId) -> Result<(), mounter::Error> {
        self.end_where(|name| name.is_of(volume))
    }

    /// Ends every kept login whose volume is not in `live`. A process that died left them.
    ///
    /// # Errors
    ///
    /// The mounter cannot be asked.
    pub fn end_orphans(&self, live: &BTreeSet<VolumeId>) -> Result<(), mounter::Error> {
        self.end_where(|name| !live.iter().any(|volume| name.is_of(volume)))
    }

    /// The kept logins of `volume`, for the process that takes the volume over.
    ///
    /// # Errors
    ///
    /// The mounter cannot be asked.
    pub fn kept_of(&self, volume: &VolumeId) -> Result<Vec<LoginName>, mounter::Error> {
        let names = self.mounter.kept()?.into_iter().map(|(name, _)| LoginName(name));
        Ok(names.filter(|name| name.is_of(volume)).collect())
    }

    /// Ends a kept login by name.
    ///
    /// # Errors
    ///
    /// The mounter cannot be asked.
    pub fn end_kept(&self, name: &LoginName) -> Result<(), mounter::Error> {
        self.end_where(|kept| kept == name)
    }

    fn end_where(&self, wanted: impl Fn(&LoginName) -> bool) -> Result<(), mounter::Error> {
        for (name, sealed) in self.mounter.kept()? {
            let name = LoginName(name);
            if !wanted(&name) {
                continue;
            }
            match self.open(&name, sealed) {
                Some(login) => self.push(name, login),
                None => {
                    tracing::warn!(login = name.0, "a kept login cannot be decrypted; it ends by itself");
                    self.mounter.forget(&name.0)?;
                }
            }
        }
        Ok(())
    }

    fn push(&self, name: LoginName, login: Login) {
        let pending = Pending { login, due: Instant::now(), failures: 0, under_way: false };
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_insert(pending);
        self.wake.notify_one();
    }

    /// How many logins wait to be ended.
    pub fn waiting(&self) -> usize {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Ends logins until `shutdown`. The mounter keeps the remaining ones for the next process. A store that hangs
    /// delays only its own logins.
    pub async fn run(&self, shutdown: CancellationToken) {
        let mut attempts = FuturesUnordered::new();
        loop {
            let next = self.next_due();
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.wake.notified() => {}
                () = async { match next { Some(due) => sleep_until(due).await, None => std::future::pending().await } } => {}
                Some(()) = attempts.next() => {}
            }
            attempts.extend(
                self.take_due(Instant::now()).into_iter().map(|(name, login)| self.attempt(name, login)),
            );
        }
    }

    /// Tries once more to end every waiting login, before the process ends.
    pub async fn flush(&self) {
        let all: Vec<_> = {
            let pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
            pending.iter().map(|(name, pending)| (name.clone(), pending.login.clone())).collect()
        };
        join_all(all.into_iter().map(|(name, login)| self.attempt(name, login))).await;
    }

    fn next_due(&self) -> Option<Instant> {
        let pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.values().filter(|pending| !pending.under_way).map(|pending| pending.due).min()
    }

    fn take_due(&self, now: Instant) -> Vec<(LoginName, Login)> {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let due = pending.iter_mut().filter(|(_, pending)| !pending.under_way && pending.due <= now);
        due.map(|(name, pending)| {
            pending.under_way = true;
            (name.clone(), pending.login.clone())
        })
        .collect()
    }

    async fn attempt(&self, name: LoginName, login: Login) {
        let lane = self.kept().logins.get(&name).map(|sealed| sealed.lane.clone());
        // If an earlier process kept the login, its namespace is not known.
        let lane = lane.unwrap_or_else(|| Lane::new("", &self.store_of(&login)));
        let Ok(_turn) = self.turns.enter_lane(lane).await else {
            return self.again(&name, "too many logins wait to be ended");
        };
        let ended = match self.providers.get(&login.provider) {
            Some(provider) => timeout(TRY, end(&*provider, &login.remains)).await,
            None => Ok(Ok(())),
        };
        let failure = match &ended {
            Ok(ended) => ended.as_ref().err().map(provider::Error::kind),
            Err(_) => Some(ErrorKind::Unavailable),
        };
        self.metrics.lease_end(self.metrics.provider(&login.provider), failure);
        match ended {
            Ok(Ok(())) => self.ended(&name),
            Ok(Err(error)) => self.again(&name, &error.to_string()),
            Err(_) => self.again(&name, "the store did not answer"),
        }
    }

    fn ended(&self, name: &LoginName) {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        self.kept().remove(name);
        if let Err(error) = self.mounter.forget(&name.0) {
            tracing::warn!(login = name.0, %error, "the mounter still keeps a login that has ended");
        }
    }

    fn again(&self, name: &LoginName, error: &str) {
        tracing::warn!(login = name.0, error, "a login could not be ended yet; trying again");
        if let Some(pending) = self.pending.lock().unwrap_or_else(PoisonError::into_inner).get_mut(name) {
            pending.due = Instant::now().later(PAUSES.pause(pending.failures, fastrand::f64()));
            pending.failures = pending.failures.saturating_add(1);
            pending.under_way = false;
        }
    }

    fn seal(&self, name: &LoginName, login: &Login) -> Option<Vec<u8>> {
        let length = u8::try_from(login.provider.len()).ok()?;
        let mut text = vec![length];
        text.extend_from_slice(login.provider.as_bytes());
        text.extend_from_slice(login.remains.expose());
        let nonce = self.key.seal_in_place_append_tag(Aad::from(name.0.as_bytes()), &mut text).ok()?;
        text.extend_from_slice(nonce.as_ref());
        Some(text)
    }

    fn open(&self, name: &LoginName, mut sealed: Vec<u8>) -> Option<Login> {
        let nonce = sealed.split_off(sealed.len().checked_sub(aws_lc_rs::aead::NONCE_LEN)?);
        let nonce = Nonce::try_assume_unique_for_key(&nonce).ok()?;
        let text = self.key.open_in_place(nonce, Aad::from(name.0.as_bytes()), &mut sealed).ok()?;
        let (length, rest) = text.split_first()?;
        let (provider, remains) = rest.split_at_checked(usize::from(*length))?;
        let provider = std::str::from_utf8(provider).ok()?.to_owned();
        let remains = SecretBytes::new(remains.to_vec());
        sealed.fill(0);
        Some(Login { provider, remains })
    }
}

/// Ends a login. Succeeds if the provider has no logins that can be ended.
async fn end(provider: &dyn Provider, remains: &SecretBytes) -> provider::Result<()> {
    match provider.endings() {
        Some(endings) => endings.revoke(remains).await,
        None => Ok(()),
    }
}

impl fmt::Debug for Revocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revocations").field("waiting", &self.waiting()).finish_non_exhaustive()
    }
}
