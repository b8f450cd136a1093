use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;

use zeroize::Zeroizing;

/// Longest name, in bytes.
pub(crate) const MAX_NAME: usize = 256;
/// Largest blob, in bytes.
pub(crate) const MAX_BLOB: usize = 64 << 10;
/// Most blobs.
const MAX_COUNT: usize = 10_000;
/// Most bytes in all blobs: a quarter of what the chart lets this process have.
const MAX_TOTAL: usize = 16 << 20;

/// What callers want to find again after their own end. Bounded, and wiped when it is let go.
#[derive(Default)]
pub(crate) struct Blobs {
    by_name: BTreeMap<String, Zeroizing<Vec<u8>>>,
    total: usize,
}

impl Blobs {
    pub(crate) fn keep(&mut self, name: &str, blob: &[u8]) -> io::Result<()> {
        check(name, blob)?;
        let replaced = self.by_name.get(name).map(|old| old.len());
        let total = self.total - replaced.unwrap_or(0) + blob.len();
        if replaced.is_none() && self.by_name.len() == MAX_COUNT {
            return Err(no_room(format!("{MAX_COUNT} names are kept already; forget some")));
        }
        if total > MAX_TOTAL {
            return Err(no_room(format!("at most {MAX_TOTAL} bytes are kept in all; forget some")));
        }
        self.by_name.insert(name.to_owned(), Zeroizing::new(blob.to_vec()));
        self.total = total;
        Ok(())
    }

    pub(crate) fn forget(&mut self, name: &str) {
        if let Some(blob) = self.by_name.remove(name) {
            self.total -= blob.len();
        }
    }

    pub(crate) fn all(&self) -> Vec<(String, Vec<u8>)> {
        self.after("").collect()
    }

    /// Those whose names come after `name`.
    pub(crate) fn after(&self, name: &str) -> impl Iterator<Item = (String, Vec<u8>)> {
        let rest = self.by_name.range::<str, _>((Bound::Excluded(name), Bound::Unbounded));
        rest.map(|(name, blob)| (name.clone(), blob.to_vec()))
    }
}

/// Whether `blob` may be kept under `name` at all.
pub(crate) fn check(name: &str, blob: &[u8]) -> io::Result<()> {
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(no_room(format!("the name takes {} bytes; it has to be 1 to {MAX_NAME}", name.len())));
    }
    if blob.len() > MAX_BLOB {
        let len = blob.len();
        return Err(no_room(format!("it takes {len} bytes; at most {MAX_BLOB} are kept under one name")));
    }
    Ok(())
}

fn no_room(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::QuotaExceeded, reason)
}

impl std::fmt::Debug for Blobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Blobs({} of {} bytes)", self.by_name.len(), self.total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_last_blob_until_it_is_forgotten() {
        let mut blobs = Blobs::default();

        blobs.keep("a", b"first").unwrap();
        blobs.keep("b", b"other").unwrap();
        blobs.keep("a", b"last").unwrap();
        blobs.forget("b");
        blobs.forget("never kept");

        assert_eq!(blobs.all(), [("a".to_owned(), b"last".to_vec())]);
        assert_eq!(blobs.total, 4);
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_refusal_says_how() {
        let mut blobs = Blobs::default();
        let large = vec![0; MAX_BLOB];
        let refused = |kept: io::Result<()>| kept.unwrap_err().to_string();

        assert!(refused(blobs.keep("", b"x")).contains("1 to 256"));
        assert!(refused(blobs.keep("n".repeat(257).as_str(), b"x")).contains("1 to 256"));
        assert!(refused(blobs.keep("a", &[large.as_slice(), b"x"].concat())).contains("65536"));
        for n in 0..MAX_TOTAL / MAX_BLOB {
            blobs.keep(&format!("{n}"), &large).unwrap();
        }
        assert!(refused(blobs.keep("one more", b"x")).contains("bytes are kept in all"));
        blobs.keep("0", b"smaller").unwrap();
        (MAX_TOTAL / MAX_BLOB..10_000).for_each(|n| blobs.keep(&format!("{n}"), b"").unwrap());
        assert!(refused(blobs.keep("one more", b"x")).contains("10000 names"));
        blobs.keep("1", b"replaced").unwrap();
    }
}
