//! Ends logins whose leases nobody needs any more: now, later, or in the next process.
//!
//! What is needed to end a login is sealed with a key of this boot and kept by the
//! mounter from before the first lease is read: the mounter has blobs without the
//! key, the state directory a key without blobs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use provider::{Moment as _, SecretBytes, Span};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::mounter::{self, Mounter};
use crate::providers::Providers;
use crate::volume::VolumeId;

/// How long one try may take.
const TRY: Duration = Duration::from_secs(15);
/// Longest pause between two tries while the store is away.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Names one login that is to be ended some day: `volume id/number`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LoginName(String);

impl LoginName {
    /// Whether the login belongs to `volume`.
    pub fn is_of(&self, volume: &VolumeId) -> bool {
        self.0.rsplit_once('/').is_some_and(|(owner, _)| owner == volume.0)
    }
}

/// The logins that must be ended.
pub struct Revocations {
    mounter: Arc<dyn Mounter>,
    providers: Providers,
    key: RandomizedNonceKey,
    next: AtomicU64,
    /// What this process has the mounter keep, sealed: a mounter that was restarted is given it again.
    kept: Mutex<BTreeMap<LoginName, Vec<u8>>>,
    pending: Mutex<BTreeMap<LoginName, Pending>>,
    wake: Notify,
}

#[derive(Debug)]
struct Pending {
    login: Login,
    due: Instant,
    pause: Duration,
}

/// A login as it is kept.
#[derive(Debug, Clone)]
struct Login {
    provider: String,
    remains: SecretBytes,
}

impl Revocations {
    /// Keeps logins with `mounter`, sealed with the 32 bytes of `key`.
    ///
    /// # Errors
    ///
    /// `key` has another length.
    pub fn new(mounter: Arc<dyn Mounter>, providers: Providers, key: &[u8]) -> anyhow::Result<Self> {
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
        })
    }

    /// Keeps a login of `volume` until it is [ended](Self::end).
    ///
    /// # Errors
    ///
    /// The mounter refuses. The login must not be used to read leases then.
    pub fn keep(
        &self,
        volume: &VolumeId,
        provider: &str,
        remains: &SecretBytes,
    ) -> Result<LoginName, mounter::Error> {
        let random = fastrand::u32(..);
        let name = LoginName(format!("{volume}/{random:08x}{}", self.next.fetch_add(1, Ordering::Relaxed)));
        let login = Login { provider: provider.to_owned(), remains: remains.clone() };
        let sealed = self.seal(&name, &login).ok_or_else(|| mounter::Error {
            action: "seal a login of",
            target: volume.0.clone().into(),
            source: std::io::Error::other("encryption failed"),
        })?;
        self.mounter.keep(&name.0, &sealed)?;
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), sealed);
        Ok(name)
    }

    /// Sees to it that the mounter still keeps every login of this process.
    ///
    /// # Errors
    ///
    /// The mounter cannot be asked.
    pub fn keep_again(&self) -> Result<(), mounter::Error> {
        let there: BTreeSet<_> = self.mounter.kept()?.into_iter().map(|(name, _)| LoginName(name)).collect();
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (name, sealed) in kept.iter().filter(|(name, _)| !there.contains(name)) {
            tracing::warn!(login = name.0, "the mounter lost a login, and is given it again");
            self.mounter.keep(&name.0, sealed)?;
        }
        Ok(())
    }

    /// Ends a login as soon as its store lets us. Does not wait.
    pub fn end(&self, name: LoginName, provider: &str, remains: SecretBytes) {
        self.push(name, Login { provider: provider.to_owned(), remains });
    }

    /// Ends every kept login of `volume`, whoever kept it.
    ///
    /// # Errors
    ///
    /// The mounter cannot be asked.
    pub fn end_all_of(&self, volume: &VolumeId) -> Result<(), mounter::Error> {
        self.end_where(|name| name.is_of(volume))
    }

    /// Ends every kept login whose volume is not in `live`: the work of a process that died.
    ///
    /// # Errors
    ///
    /// The mounter cannot be asked.
    pub fn end_orphans(&self, live: &BTreeSet<VolumeId>) -> Result<(), mounter::Error> {
        self.end_where(|name| !live.iter().any(|volume| name.is_of(volume)))
    }

    /// The kept logins of `volume`, for the process that takes it over.
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
                    tracing::warn!(login = name.0, "a kept login cannot be opened; it ends by its own time");
                    self.mounter.forget(&name.0)?;
                }
            }
        }
        Ok(())
    }

    fn push(&self, name: LoginName, login: Login) {
        let pending = Pending { login, due: Instant::now(), pause: Duration::from_secs(1) };
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_insert(pending);
        self.wake.notify_one();
    }

    /// How many logins wait to be ended.
    pub fn waiting(&self) -> usize {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Ends logins until `shutdown`; what is left then is kept by the mounter for the next process.
    pub async fn run(&self, shutdown: CancellationToken) {
        loop {
            let next = self.next_due();
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.wake.notified() => {}
                () = async { match next { Some(due) => sleep_until(due).await, None => std::future::pending().await } } => {}
            }
            for (name, login) in self.due(Instant::now()) {
                self.attempt(name, login).await;
            }
        }
    }

    /// Tries every waiting login once more, for a process that is about to end.
    pub async fn flush(&self) {
        let all: Vec<_> = {
            let pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
            pending.iter().map(|(name, pending)| (name.clone(), pending.login.clone())).collect()
        };
        for (name, login) in all {
            self.attempt(name, login).await;
        }
    }

    fn next_due(&self) -> Option<Instant> {
        let pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.values().map(|pending| pending.due).min()
    }

    fn due(&self, now: Instant) -> Vec<(LoginName, Login)> {
        let pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let due = pending.iter().filter(|(_, pending)| pending.due <= now);
        due.map(|(name, pending)| (name.clone(), pending.login.clone())).collect()
    }

    async fn attempt(&self, name: LoginName, login: Login) {
        let ended = match self.providers.get(&login.provider) {
            Some(provider) => timeout(TRY, provider.revoke(&login.remains)).await,
            None => Ok(Ok(())),
        };
        match ended {
            Ok(Ok(())) => self.ended(&name),
            Ok(Err(error)) => self.again(&name, &error.to_string()),
            Err(_) => self.again(&name, "the store did not answer"),
        }
    }

    fn ended(&self, name: &LoginName) {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        if let Err(error) = self.mounter.forget(&name.0) {
            tracing::warn!(login = name.0, %error, "an ended login stays kept");
        }
    }

    fn again(&self, name: &LoginName, error: &str) {
        tracing::warn!(login = name.0, error, "a login could not be ended yet; trying again");
        if let Some(pending) = self.pending.lock().unwrap_or_else(PoisonError::into_inner).get_mut(name) {
            let pause = Span::from(pending.pause);
            pending.due = Instant::now().later(pause.times(0.5 + fastrand::f64() / 2.0));
            pending.pause = pause.times(2.0).get().min(LONGEST_PAUSE);
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

impl fmt::Debug for Revocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revocations").field("waiting", &self.waiting()).finish_non_exhaustive()
    }
}
