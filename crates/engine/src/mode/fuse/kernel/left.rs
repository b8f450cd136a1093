//! What an earlier process left with the mounter, and how this one goes on with it.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use fuse_session::{Agreed, Device, Journal, Resume, Sessions};
use fuse_tree::Volume;
use mounter::Mounter;
use program::failpoint;
use serde::{Deserialize, Serialize};

use super::{Kept, Kernel, Seen, Session, device_of_kept};
use crate::mode::Error;
use crate::mode::fuse::front::{Inheritance, KeptEdition, Left, Live};
use crate::mode::fuse::keeping::{Keeping, Listing};

/// What the names of files are made of, behind their volume.
pub(super) const DEVICE: &str = "device";
pub(super) const EDITION: &str = "edition-";
/// What the names of journals begin with. There are two only while a process takes over.
const JOURNAL: &str = "journal/";
/// For tests: requests that were left are found as on kernels before 6.9.
const BY_JOURNAL: &str = "SECRETFS_FUSE_BY_JOURNAL";

/// The name of a new journal.
pub(super) fn new_journal() -> String {
    format!("{JOURNAL}{:016x}", fastrand::u64(..))
}

/// What the names of the files of the volume at `target` begin with. The same in each process and version.
pub(super) fn beginning(target: &Path) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, target.as_os_str().as_encoded_bytes());
    let hex: String = digest.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("{hex}/")
}

/// What is known of a mount beside its device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct About {
    target: PathBuf,
    /// The volume's number in journals.
    key: u64,
    /// What its kernel and its first process agreed.
    agreed: String,
    file_system: u64,
    /// Whose share it takes; nobody's, where an earlier version wrote this.
    #[serde(default)]
    tenant: String,
}

impl About {
    pub(super) fn new(target: &Path, key: u64, agreed: Agreed, file_system: u64, tenant: &str) -> Self {
        let (target, tenant) = (target.to_owned(), tenant.to_owned());
        Self { target, key, agreed: agreed.to_string(), file_system, tenant }
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    fn read(bytes: &[u8]) -> Option<(Self, Agreed)> {
        let about: Self = serde_json::from_slice(bytes).ok()?;
        let agreed = about.agreed.parse().ok()?;
        Some((about, agreed))
    }
}

/// All that earlier processes left, read once.
#[derive(Debug, Default)]
pub(super) struct Estate(Mutex<Option<Arc<Found>>>);

#[derive(Debug, Default)]
struct Found {
    listing: Listing,
    journals: Vec<Journal>,
}

impl Estate {
    fn read(&self, keeping: &Keeping) -> Result<Arc<Found>, mounter::Error> {
        let mut found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = &*found {
            return Ok(Arc::clone(found));
        }
        let listing = keeping.listing()?;
        let names = listing.keys().filter(|name| name.starts_with(JOURNAL) && !keeping.has(name));
        // One that cannot be read tells nothing. It is worth no volume.
        let journals = names.filter_map(|name| Journal::of_earlier(keeping.take(name).ok()?).ok()).collect();
        let read = Arc::new(Found { listing, journals });
        *found = Some(Arc::clone(&read));
        Ok(read)
    }

    /// It is of no use any more.
    pub(super) fn close(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::default());
    }
}

impl Found {
    /// How a volume's requests are found that were read and not answered.
    fn resume(&self, agreed: Agreed) -> Resume<'_> {
        let is_told = failpoint::ARMED && std::env::var_os(BY_JOURNAL).is_some();
        if agreed.resends() && !is_told { Resume::Resend } else { Resume::Journals(&self.journals) }
    }
}

impl Kernel {
    pub(super) fn left_at(&self, target: &Path) -> Result<Left, Error> {
        let Some(keeping) = &self.keeping else { return Ok(Left::Nothing) };
        let found = self.estate.read(keeping)?;
        let kept = Kept::new(keeping, target, "");
        let Some(about) = found.listing.get(&kept.device()) else {
            return self.unserved(
                target,
                "the mounter that kept it has died together with the process that served it",
            );
        };
        let Some((about, agreed)) = About::read(about).filter(|(about, _)| about.target == target) else {
            return self.unserved(target, "a later version made it, and this one cannot serve it");
        };
        let device = Device::from_fd(keeping.take(&kept.device())?);
        let device = device.map_err(mounter::Error::of("serve the files of", target))?;
        if !device.is_connected() {
            return self.unserved(target, "its connection to the kernel has ended");
        }
        let (mounter, sessions) = (Arc::clone(&self.mounter), self.sessions()?);
        let (kept, target) = (kept.of(&about.tenant), target.to_owned());
        Ok(Left::Alive(Box::new(Heir { mounter, sessions, found, kept, target, device, about, agreed })))
    }

    /// What is mounted at `target` if it is ours: then nobody serves it.
    fn unserved(&self, target: &Path, why: &str) -> Result<Left, Error> {
        Ok(if self.is_ours(target)? { Left::Dead(why.to_owned()) } else { Left::Nothing })
    }

    /// Whether a FUSE file system of ours is mounted at `target`. A mounter that knows none has made none.
    pub(super) fn is_ours(&self, target: &Path) -> Result<bool, mounter::Error> {
        match self.mounter.enter_fuse(target) {
            Ok(root) => Ok(root.is_some()),
            Err(error) if error.source.kind() == std::io::ErrorKind::Unsupported => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// A mount that can be served further.
#[derive(Debug)]
struct Heir {
    mounter: Arc<dyn Mounter>,
    sessions: Arc<Sessions>,
    found: Arc<Found>,
    kept: Kept,
    target: PathBuf,
    device: Device,
    about: About,
    agreed: Agreed,
}

impl Inheritance for Heir {
    fn editions(&self) -> Result<Vec<KeptEdition>, Error> {
        let beginning = format!("{}{EDITION}", self.kept.beginning);
        let keeping = &self.kept.keeping;
        let kept = self.found.listing.iter().filter(|(name, _)| name.starts_with(&beginning));
        let take = |(name, about): (&String, &Vec<u8>)| {
            let values = keeping.take(name)?;
            keeping.adopt(name, about, values.as_fd(), &self.kept.tenant)?;
            Ok(KeptEdition { about: about.clone(), values })
        };
        kept.map(take).collect()
    }

    fn resume(self: Box<Self>, volume: &Arc<Volume>) -> Result<Arc<dyn Live>, Error> {
        let Self { mounter, sessions, found, kept, target, device, about, agreed } = *self;
        let failed = || mounter::Error::of("serve the files of", &target);
        kept.keeping.adopt(&kept.device(), &about.to_bytes(), device.as_fd(), &kept.tenant)?;
        let device = device_of_kept(device, Some(&kept)).map_err(failed())?;
        let resume = found.resume(agreed);
        sessions.resume(about.key, device, agreed, Arc::clone(volume), resume).map_err(failed())?;
        let mount = mounter.mounted_at(&target).ok().flatten();
        let file_system = about.file_system;
        let session = Session { sessions, key: about.key, target, mount, file_system, kept: Some(kept) };
        Ok(Arc::new(Seen { mounter, session }))
    }
}
