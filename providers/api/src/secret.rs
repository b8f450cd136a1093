use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use sys::SecretBox;
use zeroize::Zeroizing;

/// Secret bytes: shared, never printed, and wiped when the last holder drops them.
///
/// They are in memory that neither the kernel nor another process can read (`memfd_secret`), as far as the kernel has
/// that and this process may lock so much. Else they are in ordinary memory.
///
/// The type has no `Display`, `Serialize` or `PartialEq`. So a secret cannot reach a log line, a status object or a
/// variable-time comparison by accident.
#[derive(Clone)]
pub struct SecretBytes {
    whole: Arc<Memory>,
    range: Range<usize>,
}

enum Memory {
    Secret(SecretBox),
    Ordinary(Zeroizing<Vec<u8>>),
}

impl Memory {
    fn expose(&self) -> &[u8] {
        match self {
            Self::Secret(bytes) => bytes.expose(),
            Self::Ordinary(bytes) => bytes,
        }
    }
}

impl SecretBytes {
    /// Takes ownership of `bytes`. Where they are copied, what they were in is wiped.
    pub fn new(bytes: Vec<u8>) -> Self {
        let (range, bytes) = (0..bytes.len(), Zeroizing::new(bytes));
        let secret = SecretBox::new(&bytes).map(Memory::Secret);
        Self { whole: Arc::new(secret.unwrap_or(Memory::Ordinary(bytes))), range }
    }

    /// The part in `range`, if the bytes are that long. It shares the memory, which is wiped with the last part.
    pub fn slice(&self, range: Range<usize>) -> Option<Self> {
        self.expose().get(range.clone())?;
        let range = self.range.start + range.start..self.range.start + range.end;
        Some(Self { whole: Arc::clone(&self.whole), range })
    }

    /// The bytes themselves. Every use of this name is a place to review.
    pub fn expose(&self) -> &[u8] {
        self.whole.expose().get(self.range.clone()).unwrap_or_default()
    }

    /// The bytes as text, if they are UTF-8. Every use of this name is a place to review.
    pub fn expose_str(&self) -> Option<&str> {
        std::str::from_utf8(self.expose()).ok()
    }

    /// Whether another holder has these bytes too. If not, they are wiped when this is dropped.
    pub fn is_held_elsewhere(&self) -> bool {
        Arc::strong_count(&self.whole) > 1
    }

    /// Length in bytes. Not secret: `stat` shows it as the size of the file.
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// Whether the length is 0.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }
}

impl From<Vec<u8>> for SecretBytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self::new(bytes)
    }
}

impl From<String> for SecretBytes {
    fn from(text: String) -> Self {
        Self::new(text.into_bytes())
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretBytes({} bytes)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_the_length_and_not_the_bytes() {
        let secret = SecretBytes::new(b"hunter2".to_vec());
        assert_eq!(format!("{secret:?}"), "SecretBytes(7 bytes)");
    }

    #[test]
    fn who_holds_bytes_or_a_part_of_them_keeps_them_from_being_wiped() {
        let secret = SecretBytes::new(b"hunter2".to_vec());
        let part = secret.slice(1..2).unwrap();
        assert!(secret.is_held_elsewhere());
        drop(part);
        assert!(!secret.is_held_elsewhere());
    }

    #[test]
    fn a_part_of_a_part_is_a_part_and_nothing_is_beyond_the_end() {
        let secret = SecretBytes::new(b"hunter2".to_vec());
        let part = secret.slice(1..6).unwrap();
        assert_eq!(part.slice(1..3).unwrap().expose(), b"nt");
        assert_eq!((part.len(), part.slice(5..5).unwrap().is_empty()), (5, true));
        assert!(part.slice(0..6).is_none() && secret.slice(8..8).is_none());
    }
}
