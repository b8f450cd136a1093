//! Ways of showing files that tests look into.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use provider::{ObjectPath, SecretBytes};

use super::mounter::not_faked;
use crate::mode::{self, Abilities, Appearance, Mode, Mounted, Prepared, ShownFile, Usage};
use crate::mounter::MountId;
use crate::snapshot::Snapshot;

/// Mounts that are tables in memory, how often one was read back, and what the mode is called.
#[derive(Debug, Clone)]
pub(in crate::volume) struct FakeMode(
    pub(in crate::volume) Arc<Mutex<BTreeMap<PathBuf, BTreeMap<String, String>>>>,
    pub(in crate::volume) Arc<AtomicUsize>,
    &'static str,
);

impl Default for FakeMode {
    fn default() -> Self {
        Self::named("tmpfs")
    }
}

impl FakeMode {
    /// A mode of another name has mounts of its own, and other abilities than tmpfs.
    pub(in crate::volume) fn named(name: &'static str) -> Self {
        Self(Arc::default(), Arc::default(), name)
    }

    pub(in crate::volume) fn files(&self, target: &str) -> Option<BTreeMap<String, String>> {
        self.0.lock().unwrap().get(Path::new(target)).cloned()
    }

    pub(in crate::volume) fn file(&self, target: &str, path: &str) -> Option<String> {
        self.files(target)?.get(path).cloned()
    }
}

#[derive(Debug)]
struct FakeMount(FakeMode, PathBuf);

#[derive(Debug)]
struct FakeMounting(FakeMount, Snapshot);

impl FakeMount {
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
        Abilities { rotates_through_sub_path: other, knows_contents_when_opened: other }
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

    fn adopt(&self, target: &Path, _: &Appearance) -> Result<Option<Box<dyn Mounted>>, mode::Error> {
        let there = self.0.lock().unwrap().contains_key(target);
        Ok(there.then(|| Box::new(FakeMount(self.clone(), target.to_owned())) as Box<dyn Mounted>))
    }

    fn is_mounted(&self, target: &Path) -> Result<bool, mode::Error> {
        Ok(self.0.lock().unwrap().contains_key(target))
    }
}
