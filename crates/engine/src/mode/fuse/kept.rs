//! What this process has the mounter keep, shared out between namespaces: the mounter knows none.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use mounter::Error;
use provider::{Counts, leaves_room};

/// Most files of all namespaces: as many as a mounter keeps.
const FILES: usize = 16_384;
/// Most bytes of words about them, likewise.
const BYTES: usize = 16 << 20;

/// A file, and the words about it.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) about: Vec<u8>,
    pub(super) file: OwnedFd,
    /// Whose share it takes.
    tenant: Arc<str>,
}

impl Kept {
    pub(super) fn new(
        name: &str,
        about: &[u8],
        file: BorrowedFd<'_>,
        tenant: &Arc<str>,
    ) -> Result<Self, Error> {
        let file = file.try_clone_to_owned().map_err(Error::of("keep", name.as_ref()))?;
        Ok(Self { about: about.to_vec(), file, tenant: Arc::clone(tenant) })
    }
}

/// All that this process has kept, by name, and how much of it each namespace has.
#[derive(Debug, Default)]
pub(super) struct Ours {
    by_name: BTreeMap<String, Kept>,
    files: Counts<Arc<str>>,
    bytes: Counts<Arc<str>>,
}

impl Ours {
    /// Refuses what leaves too little to other namespaces. Who keeps words that are no longer than before is never refused.
    pub(super) fn has_room(&self, name: &str, kept: &Kept) -> io::Result<()> {
        let before = self.by_name.get(name).map(|before| before.about.len());
        let (files, bytes) =
            (usize::from(before.is_none()), kept.about.len().saturating_sub(before.unwrap_or_default()));
        let (of_files, of_bytes) = (self.files.of(&kept.tenant), self.bytes.of(&kept.tenant));
        let fits = (files == 0 || leaves_room(of_files, self.files.total(), files, FILES))
            && (bytes == 0 || leaves_room(of_bytes, self.bytes.total(), bytes, BYTES));
        if fits {
            return Ok(());
        }
        let reason = format!(
            "namespace {} has its share of what is kept for volumes of mode fuse: {of_files} files and {of_bytes} bytes \
             of words about them, and the rest of {FILES} files and {BYTES} bytes is for other namespaces; let its \
             classes have fewer files, or choose mode tmpfs",
            kept.tenant
        );
        Err(io::Error::new(io::ErrorKind::QuotaExceeded, reason))
    }

    pub(super) fn insert(&mut self, name: &str, kept: Kept) {
        self.remove(name);
        self.files.add(Arc::clone(&kept.tenant), 1);
        self.bytes.add(Arc::clone(&kept.tenant), kept.about.len());
        self.by_name.insert(name.to_owned(), kept);
    }

    pub(super) fn remove(&mut self, name: &str) {
        if let Some(kept) = self.by_name.remove(name) {
            self.files.give_back(&kept.tenant, 1);
            self.bytes.give_back(&kept.tenant, kept.about.len());
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Kept> {
        self.by_name.get(name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.by_name.keys()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &Kept)> {
        self.by_name.iter()
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use rustix::fs::MemfdFlags;

    use super::*;

    fn keep(ours: &mut Ours, name: &str, about: usize, tenant: &str) -> io::Result<()> {
        let file = rustix::fs::memfd_create("test", MemfdFlags::CLOEXEC).unwrap();
        let kept = Kept::new(name, &vec![0; about], file.as_fd(), &tenant.into()).unwrap();
        ours.has_room(name, &kept)?;
        ours.insert(name, kept);
        Ok(())
    }

    #[test]
    fn a_namespace_with_many_words_about_its_files_leaves_room_for_others_and_is_told_of_its_share() {
        let (mut ours, most) = (Ours::default(), 64 << 10);
        let hostile = (0..1000).take_while(|n| keep(&mut ours, &format!("h/{n}"), most, "hostile").is_ok());
        assert_eq!(hostile.count(), BYTES / most / 2);

        let refused = keep(&mut ours, "h/more", 1, "hostile").unwrap_err().to_string();
        assert!(
            refused.contains("namespace hostile has its share") && refused.contains("mode tmpfs"),
            "{refused}"
        );
        keep(&mut ours, "s/1", most, "shop").unwrap();
        keep(&mut ours, "h/0", most, "hostile").unwrap();
        keep(&mut ours, "h/0", 1, "hostile").unwrap();
        keep(&mut ours, "h/0", most, "hostile").unwrap_err();

        let names: Vec<String> = ours.names().cloned().collect();
        names.iter().for_each(|name| ours.remove(name));
        assert!(ours.files.is_empty() && ours.bytes.is_empty());
    }
}
