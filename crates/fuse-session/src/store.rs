use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use fuse_tree::Contents;
use sys::{PrivatePages, Protection};

/// Values of one set, in memory that is wiped when the last of them goes.
///
/// It is `memfd_secret` memory where the kernel has that and as far as it may be locked, else locked memory, else
/// ordinary memory: [`Store::protection`] says which.
#[derive(Debug)]
pub struct Store(PrivatePages);

/// Takes the values of a set.
#[derive(Debug)]
pub struct StoreBuilder {
    pages: PrivatePages,
    used: usize,
    slots: Vec<Range<usize>>,
}

/// One value of a [`Store`], which it keeps.
#[derive(Clone)]
pub struct Slot {
    store: Arc<Store>,
    place: Range<usize>,
}

impl Store {
    /// Room for values of so many bytes in all.
    ///
    /// # Errors
    ///
    /// There is no memory.
    pub fn with_room(bytes: usize) -> io::Result<StoreBuilder> {
        Ok(StoreBuilder { pages: PrivatePages::new(bytes)?, used: 0, slots: Vec::new() })
    }

    /// What memory it is.
    pub fn protection(&self) -> Protection {
        self.0.protection()
    }
}

impl StoreBuilder {
    /// Copies one value.
    ///
    /// # Errors
    ///
    /// `StorageFull`.
    pub fn push(&mut self, value: &[u8]) -> io::Result<()> {
        let end = self.used.checked_add(value.len()).ok_or(io::ErrorKind::StorageFull)?;
        let room = self.pages.bytes_mut().get_mut(self.used..end).ok_or(io::ErrorKind::StorageFull)?;
        room.iter_mut().zip(value).for_each(|(to, byte)| *to = *byte);
        self.slots.push(self.used..end);
        self.used = end;
        Ok(())
    }

    /// The values, in the order they came.
    pub fn build(self) -> (Arc<Store>, Vec<Slot>) {
        let store = Arc::new(Store(self.pages));
        let slots = self.slots.into_iter().map(|place| Slot { store: store.clone(), place }).collect();
        (store, slots)
    }
}

impl Slot {
    fn bytes(&self) -> &[u8] {
        self.store.0.bytes().get(self.place.clone()).unwrap_or_default()
    }
}

impl Contents for Slot {
    fn len(&self) -> u64 {
        self.place.len() as u64
    }

    fn copy(&self, offset: u64, into: &mut [u8]) -> Option<usize> {
        let rest =
            usize::try_from(offset).ok().and_then(|offset| self.bytes().get(offset..)).unwrap_or_default();
        let count = rest.len().min(into.len());
        into.iter_mut().zip(rest).for_each(|(to, byte)| *to = *byte);
        Some(count)
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.place.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_reads_as_it_was_and_ends_where_the_next_begins() {
        let mut builder = Store::with_room(7).unwrap();
        builder.push(b"abc").unwrap();
        builder.push(b"").unwrap();
        builder.push(b"defg").unwrap();
        assert_eq!(builder.push(b"h").unwrap_err().kind(), io::ErrorKind::StorageFull);

        let (store, slots) = builder.build();

        let read = |slot: &Slot, offset| {
            let mut into = [0; 9];
            let count = slot.copy(offset, &mut into).unwrap();
            into[..count].to_vec()
        };
        let all: Vec<_> = slots.iter().map(|slot| read(slot, 0)).collect();
        assert_eq!(all, [b"abc".to_vec(), b"".to_vec(), b"defg".to_vec()]);
        assert_eq!((read(&slots[0], 2), read(&slots[0], u64::MAX)), (b"c".to_vec(), Vec::new()));
        assert_eq!(format!("{:?}", slots[0]), "3 bytes");
        assert!(store.protection() <= Protection::Ordinary);
    }
}
