//! What callers want to find again after their own end: things under names, with words about each.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::Bound;

use mounter_protocol::{Blob, Name, Reply};
use zeroize::Zeroizing;

/// Most bytes of words in all: a quarter of what the chart lets this process have.
const MAX_TOTAL: usize = 16 << 20;

/// What is kept, bounded. The words are wiped when they are let go: some are sealed secrets.
pub(crate) struct Kept<T, const MOST: usize> {
    by_name: BTreeMap<Name, (Zeroizing<Vec<u8>>, T)>,
    total: usize,
}

/// Blobs alone.
pub(crate) type Blobs = Kept<(), 10_000>;

impl<T, const MOST: usize> Kept<T, MOST> {
    pub(crate) fn keep(&mut self, name: &Name, words: &Blob, thing: T) -> io::Result<()> {
        let replaced = self.by_name.get(name).map(|(words, _)| words.len());
        let total = self.total - replaced.unwrap_or(0) + words.len();
        match () {
            () if name.is_empty() => full("nothing is kept without a name".to_owned()),
            () if replaced.is_none() && self.by_name.len() >= MOST => {
                full(format!("{MOST} names are kept already; forget some"))
            }
            () if total > MAX_TOTAL => {
                full(format!("at most {MAX_TOTAL} bytes are kept in all; forget some"))
            }
            () => {
                self.by_name.insert(name.clone(), (Zeroizing::new(words.to_vec()), thing));
                self.total = total;
                Ok(())
            }
        }
    }

    pub(crate) fn forget(&mut self, name: &Name) {
        if let Some((words, _)) = self.by_name.remove(name) {
            self.total -= words.len();
        }
    }

    pub(crate) fn get(&self, name: &Name) -> Option<&T> {
        self.by_name.get(name).map(|(_, thing)| thing)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (&Name, &T)> {
        self.by_name.iter().map(|(name, (_, thing))| (name, thing))
    }

    /// As many as one reply takes, of those whose names come after `name`.
    pub(crate) fn reply_after(&self, name: &Name) -> Reply {
        let rest = self.by_name.range((Bound::Excluded(name), Bound::Unbounded));
        Reply::first_of(
            rest.filter_map(|(name, (words, _))| Some((name.clone(), Blob::of(words.to_vec()).ok()?))),
        )
    }
}

impl<T, const MOST: usize> Default for Kept<T, MOST> {
    fn default() -> Self {
        Self { by_name: BTreeMap::new(), total: 0 }
    }
}

impl<T, const MOST: usize> fmt::Debug for Kept<T, MOST> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kept({} of {} bytes)", self.by_name.len(), self.total)
    }
}

/// Refuses to keep something.
pub(crate) fn full(reason: String) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::QuotaExceeded, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::of(text.to_owned()).unwrap()
    }

    fn blob(bytes: &[u8]) -> Blob {
        Blob::of(bytes.to_vec()).unwrap()
    }

    #[test]
    fn a_name_keeps_its_last_blob_until_it_is_forgotten() {
        let mut blobs = Blobs::default();

        blobs.keep(&name("a"), &blob(b"first"), ()).unwrap();
        blobs.keep(&name("b"), &blob(b"other"), ()).unwrap();
        blobs.keep(&name("a"), &blob(b"last"), ()).unwrap();
        blobs.forget(&name("b"));
        blobs.forget(&name("never kept"));

        assert_eq!(blobs.reply_after(&name("")), Reply::Kept(vec![(name("a"), blob(b"last"))]));
        assert_eq!(blobs.reply_after(&name("a")), Reply::Kept(Vec::new()));
        assert_eq!(blobs.total, 4);
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_refusal_says_how() {
        let mut blobs = Blobs::default();
        let large = blob(&[0; 64 << 10]);
        let refused = |kept: io::Result<()>| kept.unwrap_err().to_string();

        assert!(refused(blobs.keep(&name(""), &blob(b"x"), ())).contains("without a name"));
        for n in 0..MAX_TOTAL / large.len() {
            blobs.keep(&name(&n.to_string()), &large, ()).unwrap();
        }
        assert!(refused(blobs.keep(&name("one more"), &blob(b"x"), ())).contains("bytes are kept in all"));
        blobs.keep(&name("0"), &blob(b"smaller"), ()).unwrap();
        (MAX_TOTAL / large.len()..10_000)
            .for_each(|n| blobs.keep(&name(&n.to_string()), &blob(b""), ()).unwrap());
        assert!(refused(blobs.keep(&name("one more"), &blob(b"x"), ())).contains("10000 names"));
        blobs.keep(&name("1"), &blob(b"replaced"), ()).unwrap();
    }
}
