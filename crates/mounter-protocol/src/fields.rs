//! The fields of a packet: how each is written and read.

use std::ffi::OsStr;
use std::io;
use std::ops::Deref;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

/// Longest path (`PATH_MAX`) or label, in bytes.
const MAX_PATH: usize = 4096;

/// A packet that is none of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the packet is none of this protocol; both sides have to be the same version of secretfs")]
pub struct Malformed;

/// Something that a packet can hold.
pub(crate) trait Field: Sized {
    /// Adds it to the end of `packet`.
    fn put(&self, packet: &mut Vec<u8>);

    /// Takes one from the beginning of what is `left` of a packet.
    fn take(left: &mut &[u8]) -> Result<Self, Malformed>;
}

macro_rules! numbers {
    ($($number:ty)+) => {$(
        impl Field for $number {
            fn put(&self, packet: &mut Vec<u8>) {
                packet.extend(self.to_le_bytes());
            }

            fn take(left: &mut &[u8]) -> Result<Self, Malformed> {
                let (bytes, rest) = left.split_first_chunk().ok_or(Malformed)?;
                *left = rest;
                Ok(Self::from_le_bytes(*bytes))
            }
        }
    )+};
}

numbers!(u32 u64 i32);

/// A text or bytes, `MOST` bytes at most.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bounded<T, const MOST: usize>(T);

impl<T: AsRef<[u8]>, const MOST: usize> Bounded<T, MOST> {
    /// `content`, if it is no longer than it may be.
    ///
    /// # Errors
    ///
    /// How long it is, and how long it may be.
    pub fn of(content: T) -> io::Result<Self> {
        match content.as_ref().len() {
            len if len > MOST => Err(io::Error::new(
                io::ErrorKind::QuotaExceeded,
                format!("it takes {len} bytes, and may take {MOST}"),
            )),
            _ => Ok(Self(content)),
        }
    }

    /// The content alone.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<const MOST: usize> Bounded<String, MOST> {
    /// As much of `text` as there may be.
    pub(crate) fn cut(mut text: String) -> Self {
        text.truncate(text.floor_char_boundary(MOST));
        Self(text)
    }
}

impl<T, const MOST: usize> Deref for Bounded<T, MOST> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// What the bytes of a packet become.
pub(crate) trait FromBytes: Sized {
    fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed>;
}

impl FromBytes for Vec<u8> {
    fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        Ok(bytes.to_vec())
    }
}

impl FromBytes for String {
    fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        Self::from_utf8(bytes.to_vec()).map_err(|_| Malformed)
    }
}

impl<T: AsRef<[u8]> + FromBytes, const MOST: usize> Field for Bounded<T, MOST> {
    fn put(&self, packet: &mut Vec<u8>) {
        put_bytes(self.0.as_ref(), packet);
    }

    fn take(left: &mut &[u8]) -> Result<Self, Malformed> {
        take_bytes(left, MOST).and_then(T::from_bytes).map(Self)
    }
}

impl Field for PathBuf {
    fn put(&self, packet: &mut Vec<u8>) {
        put_bytes(self.as_os_str().as_bytes(), packet);
    }

    fn take(left: &mut &[u8]) -> Result<Self, Malformed> {
        take_bytes(left, MAX_PATH).map(|bytes| Self::from(OsStr::from_bytes(bytes)))
    }
}

/// A label, of which none is empty.
impl Field for Option<String> {
    fn put(&self, packet: &mut Vec<u8>) {
        put_bytes(self.as_deref().unwrap_or_default().as_bytes(), packet);
    }

    fn take(left: &mut &[u8]) -> Result<Self, Malformed> {
        let label = take_bytes(left, MAX_PATH).and_then(String::from_bytes)?;
        Ok(Some(label).filter(|label| !label.is_empty()))
    }
}

/// As many as there are.
impl<A: Field, B: Field> Field for Vec<(A, B)> {
    fn put(&self, packet: &mut Vec<u8>) {
        for (a, b) in self {
            a.put(packet);
            b.put(packet);
        }
    }

    fn take(left: &mut &[u8]) -> Result<Self, Malformed> {
        let mut pairs = Self::new();
        while !left.is_empty() {
            pairs.push((A::take(left)?, B::take(left)?));
        }
        Ok(pairs)
    }
}

/// Kinds that mean something to callers, by their number. Others travel as the first.
pub(crate) const KINDS: [io::ErrorKind; 9] = [
    io::ErrorKind::Other,
    io::ErrorKind::PermissionDenied,
    io::ErrorKind::AlreadyExists,
    io::ErrorKind::AddrInUse,
    io::ErrorKind::ResourceBusy,
    io::ErrorKind::InvalidInput,
    io::ErrorKind::Unsupported,
    io::ErrorKind::QuotaExceeded,
    io::ErrorKind::NotFound,
];

impl Field for io::ErrorKind {
    fn put(&self, packet: &mut Vec<u8>) {
        let number = KINDS.iter().position(|known| known == self).unwrap_or(0);
        u32::try_from(number).unwrap_or(0).put(packet);
    }

    fn take(left: &mut &[u8]) -> Result<Self, Malformed> {
        let number = usize::try_from(u32::take(left)?).map_err(|_| Malformed)?;
        KINDS.get(number).copied().ok_or(Malformed)
    }
}

fn put_bytes(bytes: &[u8], packet: &mut Vec<u8>) {
    // A length that does not fit is refused by who reads it: no field may be that long.
    u32::try_from(bytes.len()).unwrap_or(u32::MAX).put(packet);
    packet.extend_from_slice(bytes);
}

fn take_bytes<'a>(left: &mut &'a [u8], most: usize) -> Result<&'a [u8], Malformed> {
    let len = usize::try_from(u32::take(left)?).map_err(|_| Malformed)?;
    let (bytes, rest) = left.split_at_checked(len).filter(|_| len <= most).ok_or(Malformed)?;
    *left = rest;
    Ok(bytes)
}
