use std::collections::BTreeMap;
use std::io;

use zeroize::Zeroizing;

/// Longest name, in bytes.
pub(super) const MAX_NAME: usize = 256;
/// Largest blob, in bytes.
pub(super) const MAX_BLOB: usize = 64 << 10;
/// Most blobs.
const MAX_COUNT: usize = 10_000;
/// Most bytes in all blobs.
const MAX_TOTAL: usize = 64 << 20;

/// What callers want to find again after their own end. Bounded, and wiped when it is let go.
#[derive(Default)]
pub(super) struct Blobs {
    by_name: BTreeMap<String, Zeroizing<Vec<u8>>>,
    total: usize,
}

impl Blobs {
    pub(super) fn keep(&mut self, name: &str, blob: &[u8]) -> io::Result<()> {
        let replaced = self.by_name.get(name).map(|old| old.len());
        let count = self.by_name.len() + usize::from(replaced.is_none());
        let total = self.total - replaced.unwrap_or(0) + blob.len();
        if let Some(reason) = refusal(name, blob, count, total) {
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, reason));
        }
        self.by_name.insert(name.to_owned(), Zeroizing::new(blob.to_vec()));
        self.total = total;
        Ok(())
    }

    pub(super) fn forget(&mut self, name: &str) {
        if let Some(blob) = self.by_name.remove(name) {
            self.total -= blob.len();
        }
    }

    pub(super) fn all(&self) -> Vec<(String, Vec<u8>)> {
        self.by_name.iter().map(|(name, blob)| (name.clone(), blob.to_vec())).collect()
    }
}

fn refusal(name: &str, blob: &[u8], count: usize, total: usize) -> Option<String> {
    if name.len() > MAX_NAME {
        Some(format!("the name takes {} bytes; at most {MAX_NAME} are kept", name.len()))
    } else if blob.len() > MAX_BLOB {
        Some(format!("it takes {} bytes; at most {MAX_BLOB} are kept under one name", blob.len()))
    } else if count > MAX_COUNT {
        Some(format!("{MAX_COUNT} names are kept already; forget some"))
    } else if total > MAX_TOTAL {
        Some(format!("{MAX_TOTAL} bytes are the most that is kept in all; forget some"))
    } else {
        None
    }
}

impl std::fmt::Debug for Blobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Blobs({} of {} bytes)", self.by_name.len(), self.total)
    }
}
