//! What a store on this node learns of a volume, and the tmpfs that it gets to write the volume's files into.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use manifest::PREFIX;
use mounter::{Mounter, Tmpfs};
use program::failpoint;
use provider::{Error, ErrorKind, Lent, Result, Site};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::volume::Publish;

/// How many files and directories fit into the tmpfs.
const LENT_INODES: u64 = 16_384;

/// One volume, as a store on this node sees it.
#[derive(Debug)]
pub(super) struct VolumeSite {
    mounter: Arc<dyn Mounter>,
    target: std::path::PathBuf,
    attributes: BTreeMap<String, String>,
    tmpfs: Tmpfs,
    /// Locked from the check to the end of the system calls, even if the caller went away meanwhile. Otherwise a tmpfs
    /// might be made after the end of the volume, and stay.
    lending: Arc<Mutex<Lending>>,
}

#[derive(Debug, Default)]
struct Lending {
    lent: bool,
    ended: bool,
}

impl VolumeSite {
    /// The site of the volume that `publish` asks for. Its tmpfs holds at most `bytes`.
    pub(super) fn new(mounter: Arc<dyn Mounter>, publish: &Publish, bytes: u64) -> Self {
        let tmpfs = Tmpfs { size: bytes, inodes: LENT_INODES, mode: 0o700, gid: 0, selinux_context: None };
        let (target, attributes) = (publish.target.clone(), attributes(publish));
        Self { mounter, target, attributes, tmpfs, lending: Arc::default() }
    }

    /// Unmounts the tmpfs, and makes no new one.
    pub(super) async fn end(&self) {
        let mut lending = Arc::clone(&self.lending).lock_owned().await;
        lending.ended = true;
        if let Err(error) = self.take_back_held(lending).await {
            tracing::warn!(mounted_at = %self.target.display(), %error, "the tmpfs beside the volume stays for now");
        }
    }

    /// Allows a tmpfs again, because the volume could not be unmounted.
    pub(super) async fn resume(&self) {
        self.lending.lock().await.ended = false;
    }

    async fn take_back_held(&self, mut lending: OwnedMutexGuard<Lending>) -> Result<()> {
        if !lending.lent {
            return Ok(());
        }
        let (mounter, target) = (Arc::clone(&self.mounter), self.target.clone());
        blocking(move || {
            mounter.take_back(&target)?;
            lending.lent = false;
            Ok(())
        })
        .await
    }
}

#[async_trait]
impl Site for VolumeSite {
    fn attributes(&self) -> BTreeMap<String, String> {
        self.attributes.clone()
    }

    async fn lend(&self) -> Result<Lent> {
        let mut lending = Arc::clone(&self.lending).lock_owned().await;
        if lending.ended {
            return Err(Error::new(ErrorKind::Unavailable, "the volume is being taken away"));
        }
        let (mounter, target, tmpfs) = (Arc::clone(&self.mounter), self.target.clone(), self.tmpfs.clone());
        let root = blocking(move || {
            lending.lent = true;
            mounter.lend(&tmpfs, &target)
        });
        let lent = Lent { path: mounter::beside(&self.target), root: root.await? };
        failpoint::hit("site.lent");
        Ok(lent)
    }

    async fn take_back(&self) -> Result<()> {
        failpoint::hit("site.answered");
        let lending = Arc::clone(&self.lending).lock_owned().await;
        self.take_back_held(lending).await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::result::Result<T, mounter::Error> + Send + 'static,
) -> Result<T> {
    let unavailable = |error: crate::volume::Error| Error::new(ErrorKind::Unavailable, error.to_string());
    crate::volume::blocking(move || Ok(work()?)).await.map_err(unavailable)
}

/// The volume attributes as kubelet sends them, with those of the pod's author. Keys of secretfs are left out.
fn attributes(publish: &Publish) -> BTreeMap<String, String> {
    let own = publish.attributes.iter().filter(|(key, _)| !key.starts_with(PREFIX));
    let mut all: BTreeMap<_, _> = own.map(|(key, value)| (key.clone(), value.clone())).collect();
    let mut told = |key: &str, value: &str| drop(all.insert(key.to_owned(), value.to_owned()));
    told("secretProviderClass", &publish.class.name);
    let subject = &publish.subject;
    told("csi.storage.k8s.io/pod.namespace", subject.namespace());
    told("csi.storage.k8s.io/serviceAccount.name", subject.service_account());
    if let Some(pod) = &subject.pod {
        told("csi.storage.k8s.io/ephemeral", "true");
        told("csi.storage.k8s.io/pod.name", &pod.name);
        told("csi.storage.k8s.io/pod.uid", &pod.uid);
    }
    all
}
