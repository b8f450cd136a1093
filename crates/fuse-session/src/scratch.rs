use std::io;

use sys::{PrivatePages, Protection};

use crate::wire::{Body, READ_MAX};

/// What one thread answers with: no request costs memory.
#[derive(Debug)]
pub(crate) struct Scratch {
    /// The one place that a value is copied to on its way. The kernel takes it from here by pages, so it must not be
    /// `memfd_secret` memory.
    page: PrivatePages,
    pub(crate) body: Body,
}

impl Scratch {
    pub(crate) fn new() -> io::Result<Self> {
        let locked = PrivatePages::protected(Protection::Locked, READ_MAX);
        let page = locked.or_else(|_| PrivatePages::protected(Protection::Ordinary, READ_MAX))?;
        Ok(Self { page, body: Body::default() })
    }

    /// Has `copy` fill up to `size` bytes, and `send` what it filled, and wipes them.
    pub(crate) fn bounce<T>(
        &mut self,
        size: u32,
        copy: impl FnOnce(&mut [u8]) -> Option<usize>,
        send: impl FnOnce(Option<&[u8]>) -> T,
    ) -> T {
        let size = usize::try_from(size).unwrap_or(READ_MAX).min(READ_MAX);
        let count = self.page.bytes_mut().get_mut(..size).and_then(copy);
        let sent = send(count.and_then(|count| self.page.bytes().get(..count)));
        self.page.wipe(size);
        sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_wiped_also_if_more_was_copied_than_told() {
        let mut scratch = Scratch::new().unwrap();
        let copy = |into: &mut [u8]| {
            into.fill(7);
            Some(2)
        };

        assert_eq!(scratch.bounce(3, copy, |sent| sent.map(<[u8]>::to_vec)), Some(vec![7, 7]));
        assert!(scratch.page.bytes().iter().all(|byte| *byte == 0));
        assert_eq!(
            scratch.bounce(u32::MAX, |into| Some(into.len()), |sent| sent.map(<[u8]>::len)),
            Some(READ_MAX)
        );
        assert!(scratch.bounce(3, |_| None, |sent| sent.is_none()));
    }
}
