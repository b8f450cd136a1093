//! Modes whose files tests can read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mounter::MountId;
use provider::{ObjectPath, SecretBytes};

use super::mounter::not_faked;
use crate::mode::{
    self, Abilities, Appearance, Caller, Confinement, Door, Listing, Loan, Mode, Mounted, Prepared,
    ShownFile, Usage,
};
use crate::snapshot::Snapshot;

/// The files of a mount that asks for contents, and the door where it asks.
type Asking = (Listing, Arc<dyn Door>);

/// Mounts as tables in memory; how often a mount was read back; the name of the mode; and the mounts that ask for
/// contents when a file is opened.
#[derive(Debug, Clone)]
pub(in crate::volume) struct FakeMode(
    pub(in crate::volume) Arc<Mutex<BTreeMap<PathBuf, BTreeMap<String, String>>>>,
    pub(in crate::volume) Arc<AtomicUsize>,
    &'static str,
    Arc<Mutex<BTreeMap<PathBuf, Asking>>>,
    /// The mounts that ask for contents and have access rules.
    Arc<Mutex<BTreeSet<PathBuf>>>,
);

impl Default for FakeMode {
    fn default() -> Self {
        Self::named("tmpfs")
    }
}

impl FakeMode {
    /// A mode of another name. It has mounts of its own, and other abilities than tmpfs.
    pub(in crate::volume) fn named(name: &'static str) -> Self {
        Self(Arc::default(), Arc::default(), name, Arc::default(), Arc::default())
    }

    pub(in crate::volume) fn files(&self, target: &str) -> Option<BTreeMap<String, String>> {
        self.0.lock().unwrap().get(Path::new(target)).cloned()
    }

    /// The files that the mount at `target` asks for when they are opened.
    pub(in crate::volume) fn listed(&self, target: &str) -> Option<Listing> {
        self.3.lock().unwrap().get(Path::new(target)).map(|(listing, _)| listing.clone())
    }

    /// Whether the mount at `target`, which asks for contents, has access rules.
    pub(in crate::volume) fn has_rules(&self, target: &str) -> bool {
        self.4.lock().unwrap().contains(Path::new(target))
    }

    /// Opens a file as a process does: asks at the door for its contents.
    pub(in crate::volume) async fn open(
        &self,
        target: &str,
        path: &str,
        caller: &Caller,
        patience: Duration,
    ) -> Result<Loan, mode::Error> {
        let door = self.3.lock().unwrap().get(Path::new(target)).map(|(_, door)| Arc::clone(door));
        door.expect("a volume that asks").open(&path.try_into().unwrap(), caller, patience).await
    }

    pub(in crate::volume) fn file(&self, target: &str, path: &str) -> Option<String> {
        self.files(target)?.get(path).cloned()
    }
}

#[derive(Debug)]
struct FakeMount(FakeMode, PathBuf);

#[derive(Debug)]
struct FakeMounting(FakeMount, Snapshot);

#[derive(Debug)]
struct FakeAsking(FakeMount, Listing, Arc<dyn Door>);

impl FakeMount {
    fn confine_asking(&self, confinement: Option<&Confinement>) {
        let mut confined = self.0.4.lock().unwrap();
        match confinement {
            Some(_) => confined.insert(self.1.clone()),
            None => confined.remove(&self.1),
        };
    }

    fn set(&self, snapshot: &Snapshot) {
        let text = |bytes: &SecretBytes| bytes.expose_str().unwrap().to_owned();
        let files = snapshot.iter().map(|(path, file)| (path.to_string(), text(&file.contents))).collect();
        self.0.0.lock().unwrap().insert(self.1.clone(), files);
    }
}

impl Prepared for FakeMounting {
    fn mount_id(&self) -> Option<MountId> {
        None
    }

    fn show(self: Box<Self>) -> Result<Box<dyn Mounted>, mode::Error> {
        self.0.set(&self.1);
        Ok(Box::new(self.0))
    }
}

impl Prepared for FakeAsking {
    fn mount_id(&self) -> Option<MountId> {
        None
    }

    fn show(self: Box<Self>) -> Result<Box<dyn Mounted>, mode::Error> {
        self.0.set(&Snapshot::default());
        self.0.list(&self.1, &self.2)?;
        Ok(Box::new(self.0))
    }
}

impl Mounted for FakeMount {
    fn mode(&self) -> &'static str {
        self.0.2
    }

    fn mount_id(&self) -> Option<MountId> {
        None
    }

    fn replace(&self, snapshot: &Snapshot, _: &BTreeSet<ObjectPath>) -> Result<(), mode::Error> {
        self.set(snapshot);
        Ok(())
    }

    fn list(&self, listing: &Listing, door: &Arc<dyn Door>) -> Result<(), mode::Error> {
        self.0.3.lock().unwrap().insert(self.1.clone(), (listing.clone(), Arc::clone(door)));
        Ok(())
    }

    fn confine(&self, confinement: Option<&Confinement>) -> Result<(), mode::Error> {
        match confinement {
            Some(_) if self.0.2 == "tmpfs" => {
                Err(mode::Error::Failed("mode tmpfs cannot tell containers apart".into()))
            }
            _ => {
                self.confine_asking(confinement);
                Ok(())
            }
        }
    }

    fn contents(&self) -> Result<Vec<ShownFile>, mode::Error> {
        self.0.1.fetch_add(1, Ordering::SeqCst);
        let files = self.0.files(self.1.to_str().unwrap()).ok_or_else(not_faked)?;
        let shown = |(path, text): (String, String)| ShownFile {
            path: path.as_str().try_into().unwrap(),
            contents: text.into(),
            mode: 0o644,
        };
        Ok(files.into_iter().map(shown).collect())
    }

    fn usage(&self) -> Result<Usage, mode::Error> {
        Ok(Usage { total_bytes: 1, used_bytes: 1, total_inodes: 1, used_inodes: 1 })
    }
}

impl Mode for FakeMode {
    fn name(&self) -> &'static str {
        self.2
    }

    fn abilities(&self) -> Abilities {
        let other = self.2 != "tmpfs";
        Abilities { rotates_through_sub_path: other, asks_when_opened: other }
    }

    fn prepare(
        &self,
        target: &Path,
        snapshot: &Snapshot,
        _: &Appearance,
    ) -> Result<Box<dyn Prepared>, mode::Error> {
        let mount = FakeMount(self.clone(), target.to_owned());
        Ok(Box::new(FakeMounting(mount, snapshot.clone())))
    }

    fn prepare_on_open(
        &self,
        target: &Path,
        listing: &Listing,
        appearance: &Appearance,
        door: &Arc<dyn Door>,
    ) -> Result<Box<dyn Prepared>, mode::Error> {
        let mount = FakeMount(self.clone(), target.to_owned());
        mount.confine_asking(appearance.access.as_ref());
        Ok(Box::new(FakeAsking(mount, listing.clone(), Arc::clone(door))))
    }

    fn adopt(&self, target: &Path, _: &Appearance) -> Result<Option<Box<dyn Mounted>>, mode::Error> {
        let there = self.0.lock().unwrap().contains_key(target);
        Ok(there.then(|| Box::new(FakeMount(self.clone(), target.to_owned())) as Box<dyn Mounted>))
    }

    fn is_mounted(&self, target: &Path) -> Result<bool, mode::Error> {
        Ok(self.0.lock().unwrap().contains_key(target))
    }

    fn is_mounted_at_once(&self, _: &Path) -> Option<bool> {
        None
    }
}
