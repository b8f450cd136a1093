use std::fmt;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use fuse_tree::Contents;
use sys::{HandedPages, PrivatePages, Protection};

/// Values of one set, in memory that is wiped when the last of them goes.
///
/// It is `memfd_secret` memory where the kernel has that and as far as it may be locked, else locked memory, else
/// ordinary memory: [`Store::protection`] says which.
///
/// A store that is [to be handed over](Store::to_hand_over) is in a memory file instead, and stays as it is when this
/// process ends: who keeps the file gives it to the next.
#[derive(Debug)]
pub struct Store(Pages);

#[derive(Debug)]
enum Pages {
    Private(PrivatePages),
    Handed(HandedPages),
}

impl Pages {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Private(pages) => pages.bytes(),
            Self::Handed(pages) => pages.bytes(),
        }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Private(pages) => pages.bytes_mut(),
            Self::Handed(pages) => pages.bytes_mut(),
        }
    }
}

/// Takes the values of a set.
#[derive(Debug)]
pub struct StoreBuilder {
    pages: Pages,
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
        Ok(StoreBuilder { pages: Pages::Private(PrivatePages::new(bytes)?), used: 0, slots: Vec::new() })
    }

    /// The same in a file that the next process can be given.
    ///
    /// # Errors
    ///
    /// There is no memory.
    pub fn to_hand_over(bytes: usize) -> io::Result<StoreBuilder> {
        Ok(StoreBuilder { pages: Pages::Handed(HandedPages::new(bytes)?), used: 0, slots: Vec::new() })
    }

    /// What an earlier process handed over: values of these lengths, in the order they came.
    ///
    /// # Errors
    ///
    /// `InvalidData` where it is none, or holds less; there is no memory.
    pub fn of_earlier(file: OwnedFd, lengths: &[usize]) -> io::Result<(Arc<Self>, Vec<Slot>)> {
        let (mut used, mut places) = (0_usize, Vec::new());
        for length in lengths {
            let end = used.checked_add(*length).ok_or(io::ErrorKind::InvalidData)?;
            places.push(used..end);
            used = end;
        }
        let store = Arc::new(Self(Pages::Handed(HandedPages::of_earlier(file, used)?)));
        Ok(Slot::all_of(store, places))
    }

    /// The file that is to be handed over, if there is one.
    pub fn file(&self) -> Option<BorrowedFd<'_>> {
        match &self.0 {
            Pages::Private(_) => None,
            Pages::Handed(pages) => Some(pages.as_fd()),
        }
    }

    /// Hands the values over to nobody: they are wiped when the last of them goes.
    pub fn hand_over_no_more(&self) {
        if let Pages::Handed(pages) = &self.0 {
            pages.are_last();
        }
    }

    /// What memory it is.
    pub fn protection(&self) -> Protection {
        match &self.0 {
            Pages::Private(pages) => pages.protection(),
            Pages::Handed(pages) => pages.protection(),
        }
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
        Slot::all_of(Arc::new(Store(self.pages)), self.slots)
    }
}

impl Slot {
    fn all_of(store: Arc<Store>, places: Vec<Range<usize>>) -> (Arc<Store>, Vec<Self>) {
        let slots = places.into_iter().map(|place| Self { store: store.clone(), place }).collect();
        (store, slots)
    }

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

    #[test]
    fn the_next_process_reads_what_was_handed_over() {
        let mut builder = Store::to_hand_over(5).unwrap();
        builder.push(b"ab").unwrap();
        builder.push(b"cde").unwrap();
        let (store, slots) = builder.build();
        let file = || store.file().unwrap().try_clone_to_owned().unwrap();
        let (found, again) = Store::of_earlier(file(), &[2, 3]).unwrap();
        drop((slots, store.clone()));

        let mut into = [0; 9];
        assert_eq!((again[1].copy(1, &mut into), &into[..2]), (Some(2), &b"de"[..]));
        assert!(
            found.protection() <= Protection::Ordinary
                && Store::with_room(1).unwrap().build().0.file().is_none()
        );
        assert!(
            Store::of_earlier(file(), &[1 << 20]).is_err()
                && Store::of_earlier(file(), &[usize::MAX, 2]).is_err()
        );
    }
}
