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
pub struct Store {
    pages: Pages,
    /// Goes behind the pages, which come first.
    _lent: Option<Lent>,
}

/// What a store takes of memory that others share. It is dropped when the last value has gone.
pub type Lent = Box<dyn fmt::Debug + Send + Sync>;

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
    lent: Option<Lent>,
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
        Ok(StoreBuilder::of(Pages::Private(PrivatePages::new(bytes)?), None))
    }

    /// The same in a file that the next process can be given. Without anything `lent` it is ordinary memory, so that it
    /// takes nothing of what others share.
    ///
    /// # Errors
    ///
    /// There is no memory.
    pub fn to_hand_over(bytes: usize, lent: Option<Lent>) -> io::Result<StoreBuilder> {
        let pages = if lent.is_some() { HandedPages::new(bytes)? } else { HandedPages::ordinary(bytes)? };
        Ok(StoreBuilder::of(Pages::Handed(pages), lent))
    }

    /// What an earlier process handed over: values of these lengths, in the order they came. If it is not secret, it is
    /// locked only with something `lent`.
    ///
    /// # Errors
    ///
    /// `InvalidData` where it is none, or holds less; there is no memory.
    pub fn of_earlier(
        file: OwnedFd,
        lengths: &[usize],
        lent: Option<Lent>,
    ) -> io::Result<(Arc<Self>, Vec<Slot>)> {
        let (mut used, mut places) = (0_usize, Vec::new());
        for length in lengths {
            let end = used.checked_add(*length).ok_or(io::ErrorKind::InvalidData)?;
            places.push(used..end);
            used = end;
        }
        let pages = Pages::Handed(HandedPages::of_earlier(file, used, lent.is_some())?);
        Ok(Slot::all_of(Arc::new(Self { pages, _lent: lent }), places))
    }

    /// Whether the kernel has memory that it cannot read itself.
    pub fn can_be_secret() -> bool {
        HandedPages::can_be_secret()
    }

    /// Whether a file that an earlier process handed over is secret memory, which is locked however it is mapped.
    pub fn is_secret(file: BorrowedFd<'_>) -> bool {
        HandedPages::is_secret(file)
    }

    /// The file that is to be handed over, if there is one.
    pub fn file(&self) -> Option<BorrowedFd<'_>> {
        match &self.pages {
            Pages::Private(_) => None,
            Pages::Handed(pages) => Some(pages.as_fd()),
        }
    }

    /// Hands the values over to nobody: they are wiped when the last of them goes.
    pub fn hand_over_no_more(&self) {
        if let Pages::Handed(pages) = &self.pages {
            pages.are_last();
        }
    }

    /// What memory it is.
    pub fn protection(&self) -> Protection {
        match &self.pages {
            Pages::Private(pages) => pages.protection(),
            Pages::Handed(pages) => pages.protection(),
        }
    }
}

impl StoreBuilder {
    fn of(pages: Pages, lent: Option<Lent>) -> Self {
        Self { pages, lent, used: 0, slots: Vec::new() }
    }

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
        Slot::all_of(Arc::new(Store { pages: self.pages, _lent: self.lent }), self.slots)
    }
}

impl Slot {
    fn all_of(store: Arc<Store>, places: Vec<Range<usize>>) -> (Arc<Store>, Vec<Self>) {
        let slots = places.into_iter().map(|place| Self { store: store.clone(), place }).collect();
        (store, slots)
    }

    fn bytes(&self) -> &[u8] {
        self.store.pages.bytes().get(self.place.clone()).unwrap_or_default()
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
    fn what_was_lent_for_values_goes_with_the_last_of_them_and_without_it_they_are_in_ordinary_memory() {
        let lent = Arc::new(());
        let (store, slots) =
            Store::to_hand_over(1, Some(Box::new(Arc::clone(&lent)))).map(StoreBuilder::build).unwrap();
        let file = || store.file().unwrap().try_clone_to_owned().unwrap();
        let next = Store::of_earlier(file(), &[1], Some(Box::new(Arc::clone(&lent)))).unwrap();
        assert_eq!(Arc::strong_count(&lent), 3);
        assert_eq!(Store::is_secret(store.file().unwrap()), store.protection() == Protection::Secret);
        drop((next, store));
        assert_eq!((Arc::strong_count(&lent), slots.len()), (1, 0));

        let (store, _) = Store::to_hand_over(1, None).map(StoreBuilder::build).unwrap();
        assert_eq!(store.protection(), Protection::Ordinary);
    }

    #[test]
    fn the_next_process_reads_what_was_handed_over() {
        let mut builder = Store::to_hand_over(5, Some(Box::new(()))).unwrap();
        builder.push(b"ab").unwrap();
        builder.push(b"cde").unwrap();
        let (store, slots) = builder.build();
        let file = || store.file().unwrap().try_clone_to_owned().unwrap();
        let (found, again) = Store::of_earlier(file(), &[2, 3], None).unwrap();
        drop((slots, store.clone()));

        let mut into = [0; 9];
        assert_eq!((again[1].copy(1, &mut into), &into[..2]), (Some(2), &b"de"[..]));
        assert!(
            found.protection() <= Protection::Ordinary
                && Store::with_room(1).unwrap().build().0.file().is_none()
        );
        assert!(
            Store::of_earlier(file(), &[1 << 20], None).is_err()
                && Store::of_earlier(file(), &[usize::MAX, 2], None).is_err()
        );
    }
}
