use std::fmt;
use std::str::FromStr;

use crate::wire::{InitRequest, flags};

/// The protocol's major version, the only one that there is.
const MAJOR: u32 = 7;
/// The minor version that this crate speaks.
const MINOR: u32 = 45;
/// The oldest minor version that is served (Linux 5.2).
const OLDEST: u32 = 31;
/// What an agreement begins with when it is written down. Another layout gets another number.
const HEAD: &str = "fuse-session/1";

/// What is wished for.
const WANTED: u64 = flags::ASYNC_READ
    | flags::BIG_WRITES
    | flags::PARALLEL_DIROPS
    | flags::MAX_PAGES
    | flags::CACHE_SYMLINKS
    | flags::EXPLICIT_INVAL_DATA
    | flags::INIT_EXT
    | flags::DIRECT_IO_ALLOW_MMAP
    | flags::HAS_RESEND
    | flags::ALLOW_IDMAP;

/// What a mount's kernel and its first process agreed. It holds for each later process too, as long as the mount lives.
/// As text it is one line, to be kept beside the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreed {
    minor: u32,
    flags: u64,
}

/// A line that is no agreement, or one that a later version made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what was agreed with the kernel is not readable to this version")]
pub struct Unreadable;

impl Agreed {
    /// The best that both are able to; `None` where the kernel is too old.
    pub fn with(request: &InitRequest) -> Option<Self> {
        let is_served = request.major == MAJOR && request.minor >= OLDEST;
        is_served.then(|| Self { minor: request.minor.min(MINOR), flags: request.flags & WANTED })
    }

    /// The protocol's minor version.
    pub fn minor(self) -> u32 {
        self.minor
    }

    /// See [`flags`].
    pub fn flags(self) -> u64 {
        self.flags
    }

    /// Whether the kernel sends requests again that a process left unanswered.
    pub fn resends(self) -> bool {
        self.flags & flags::HAS_RESEND != 0
    }

    /// Whether the mount may be idmapped, as for pods in a user namespace of their own.
    pub fn allows_idmap(self) -> bool {
        self.flags & flags::ALLOW_IDMAP != 0
    }

    /// Whether files can be mapped.
    pub fn allows_mapping(self) -> bool {
        self.flags & flags::DIRECT_IO_ALLOW_MMAP != 0
    }
}

impl fmt::Display for Agreed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{HEAD} {} {:x}", self.minor, self.flags)
    }
}

impl FromStr for Agreed {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let mut words = text.split(' ');
        let (head, minor, flags) = (words.next(), words.next(), words.next());
        let minor = minor.and_then(|minor| minor.parse().ok()).ok_or(Unreadable)?;
        let flags = flags.and_then(|flags| u64::from_str_radix(flags, 16).ok()).ok_or(Unreadable)?;
        if head == Some(HEAD) && words.next().is_none() { Ok(Self { minor, flags }) } else { Err(Unreadable) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(minor: u32, flags: u64) -> InitRequest {
        InitRequest { major: 7, minor, max_readahead: 0, flags }
    }

    #[test]
    fn only_what_both_are_able_to_is_agreed() {
        let agreed = Agreed::with(&request(99, !flags::HAS_RESEND)).unwrap();

        assert_eq!((agreed.minor(), agreed.flags()), (MINOR, WANTED & !flags::HAS_RESEND));
        assert!(!agreed.resends() && agreed.allows_idmap() && agreed.allows_mapping());
        assert_eq!(Agreed::with(&request(30, u64::MAX)), None);
        assert_eq!(Agreed::with(&InitRequest { major: 8, ..request(45, 0) }), None);
    }

    #[test]
    fn an_agreement_survives_being_written_down() {
        let agreed = Agreed::with(&request(45, u64::MAX)).unwrap();

        assert_eq!(agreed.to_string().parse(), Ok(agreed));
    }

    #[test]
    fn what_is_no_agreement_is_refused() {
        for text in [
            "",
            "fuse-session/2 45 1",
            "fuse-session/1 45",
            "fuse-session/1 x 1",
            "fuse-session/1 45 g",
            "fuse-session/1 45 1 1",
        ] {
            assert_eq!(text.parse::<Agreed>(), Err(Unreadable), "{text:?}");
        }
    }
}
