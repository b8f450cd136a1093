//! What callers want to find again after their own end.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::Bound;

use mounter_protocol::{Blob, Name, Reply};
use zeroize::Zeroizing;

/// Most blobs.
const MAX_COUNT: usize = 10_000;
/// Most bytes in all blobs: a quarter of what the chart lets this process have.
const MAX_TOTAL: usize = 16 << 20;

/// What is kept, bounded, and wiped when it is let go.
#[derive(Default)]
pub(crate) struct Blobs {
    by_name: BTreeMap<Name, Zeroizing<Vec<u8>>>,
    total: usize,
}

impl Blobs {
    pub(crate) fn keep(&mut self, name: &Name, blob: &Blob) -> io::Result<()> {
        let replaced = self.by_name.get(name).map(|old| old.len());
        let total = self.total - replaced.unwrap_or(0) + blob.len();
        let reason = match () {
            () if name.is_empty() => "nothing is kept without a name".to_owned(),
            () if replaced.is_none() && self.by_name.len() == MAX_COUNT => {
                format!("{MAX_COUNT} names are kept already; forget some")
            }
            () if total > MAX_TOTAL => format!("at most {MAX_TOTAL} bytes are kept in all; forget some"),
            () => {
                self.by_name.insert(name.clone(), Zeroizing::new(blob.to_vec()));
                self.total = total;
                return Ok(());
            }
        };
        Err(io::Error::new(io::ErrorKind::QuotaExceeded, reason))
    }

    pub(crate) fn forget(&mut self, name: &Name) {
        if let Some(blob) = self.by_name.remove(name) {
            self.total -= blob.len();
        }
    }

    /// As many as one reply takes, of those whose names come after `name`.
    pub(crate) fn reply_after(&self, name: &Name) -> Reply {
        let rest = self.by_name.range((Bound::Excluded(name), Bound::Unbounded));
        Reply::first_of(rest.filter_map(|(name, blob)| Some((name.clone(), Blob::of(blob.to_vec()).ok()?))))
    }
}

impl fmt::Debug for Blobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blobs({} of {} bytes)", self.by_name.len(), self.total)
    }
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

        blobs.keep(&name("a"), &blob(b"first")).unwrap();
        blobs.keep(&name("b"), &blob(b"other")).unwrap();
        blobs.keep(&name("a"), &blob(b"last")).unwrap();
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

        assert!(refused(blobs.keep(&name(""), &blob(b"x"))).contains("without a name"));
        for n in 0..MAX_TOTAL / large.len() {
            blobs.keep(&name(&n.to_string()), &large).unwrap();
        }
        assert!(refused(blobs.keep(&name("one more"), &blob(b"x"))).contains("bytes are kept in all"));
        blobs.keep(&name("0"), &blob(b"smaller")).unwrap();
        (MAX_TOTAL / large.len()..10_000)
            .for_each(|n| blobs.keep(&name(&n.to_string()), &blob(b"")).unwrap());
        assert!(refused(blobs.keep(&name("one more"), &blob(b"x"))).contains("10000 names"));
        blobs.keep(&name("1"), &blob(b"replaced")).unwrap();
    }
}
