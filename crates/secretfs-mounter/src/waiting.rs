//! Who waits for a FUSE volume that nobody serves.
//!
//! A process whose request was read and not answered cannot even be killed. So requests are ended by errors. Only the head
//! of each is looked at, which has a fixed size: what is asked for, and of which file, is in what follows.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};

/// How long volumes may be without somebody who serves them, before those who wait get errors.
pub(crate) const ALONE: Duration = Duration::from_secs(30);
/// The smallest buffer that the kernel gives a request to.
const REQUEST: usize = 8192;
/// Bytes of the head of a request: its length, what is asked for, its number, and more.
const HEAD: usize = 40;
/// Bytes of an answer that is an error.
const ANSWER: u32 = 16;
/// How an answer says `EIO`.
const EIO: i32 = -5;
/// Most requests of one volume that are ended before another volume has its turn.
const TURN: usize = 1024;
/// What has no answer: `FUSE_FORGET`, `FUSE_INTERRUPT`, `FUSE_BATCH_FORGET`.
const UNANSWERED: [u32; 3] = [2, 36, 42];
/// `FUSE_NOTIFY_RESEND`: has the kernel give again what was read and not answered (since Linux 6.9).
const RESEND: i32 = 7;

/// `FUSE_NOTIFY_INVAL_INODE`, `FUSE_NOTIFY_INVAL_ENTRY`, `FUSE_NOTIFY_DELETE`.
const CHANGES: [i32; 3] = [2, 3, 6];

/// The kernel's end of a volume.
#[derive(Debug)]
pub(crate) struct Device<'a>(pub(crate) BorrowedFd<'a>);

impl Device<'_> {
    /// Ends what waits, and also what the last process had read, if `again`. Tells how many requests that were.
    pub(crate) fn end_waiting(&self, again: bool) -> usize {
        if again {
            // Older kernels refuse. There the next process finds such requests in the journal of the last.
            let _ = self.write(RESEND, 0);
        }
        (0..TURN).map_while(|_| self.next()).filter(|number| self.end(*number)).count()
    }

    /// Tells the kernel what changed. That may wait for a request which somebody has to answer: a process that is killed
    /// meanwhile would not be gone until then. So who serves does not do it itself.
    pub(crate) fn notify(&self, told: &[u8]) -> io::Result<()> {
        if !is_notification(told) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no word about a change"));
        }
        Ok(rustix::io::write(self.0, told).map(drop)?)
    }

    /// The number of the next request, or 0 if it has no answer; `None` where there is no request.
    fn next(&self) -> Option<u64> {
        let mut polled = [PollFd::from_borrowed_fd(self.0, PollFlags::IN)];
        if !matches!(rustix::event::poll(&mut polled, Some(&Timespec::default())), Ok(1)) {
            return None;
        }
        let mut request = [0; REQUEST];
        let count = rustix::io::read(self.0, &mut request).ok()?;
        number_of(request.get(..count)?)
    }

    fn end(&self, number: u64) -> bool {
        number != 0 && self.write(EIO, number).is_ok()
    }

    /// An answer that is an error, or word to the kernel where the number is 0.
    fn write(&self, error: i32, number: u64) -> rustix::io::Result<usize> {
        let mut answer = [0; ANSWER as usize];
        answer[..4].copy_from_slice(&ANSWER.to_ne_bytes());
        answer[4..8].copy_from_slice(&error.to_ne_bytes());
        answer[8..].copy_from_slice(&number.to_ne_bytes());
        rustix::io::write(self.0, &answer)
    }
}

/// Whether it is whole, answers no request, and tells of a change.
fn is_notification(told: &[u8]) -> bool {
    matches!(head(told), Some((code, 0)) if CHANGES.contains(&code.cast_signed()))
}

/// The number of a whole request, or 0 if it has no answer.
fn number_of(request: &[u8]) -> Option<u64> {
    let (asked, number) = head(request).filter(|_| request.len() >= HEAD)?;
    Some(if UNANSWERED.contains(&asked) { 0 } else { number })
}

/// What a whole packet is for, and the number of its request: what follows its length.
fn head(packet: &[u8]) -> Option<(u32, u64)> {
    let (len, rest) = packet.split_first_chunk()?;
    let (code, rest) = rest.split_first_chunk()?;
    let (number, _) = rest.split_first_chunk()?;
    let is_whole = usize::try_from(u32::from_ne_bytes(*len)) == Ok(packet.len());
    is_whole.then_some((u32::from_ne_bytes(*code), u64::from_ne_bytes(*number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_head_of_a_whole_request_is_believed() {
        let request = |len: u32, asked: u32| {
            let mut request = vec![7; 48];
            request[..4].copy_from_slice(&len.to_ne_bytes());
            request[4..8].copy_from_slice(&asked.to_ne_bytes());
            request[8..16].copy_from_slice(&99_u64.to_ne_bytes());
            request
        };

        assert_eq!(number_of(&request(48, 15)), Some(99));
        assert_eq!(number_of(&request(48, 2)), Some(0));
        assert_eq!(number_of(&request(47, 15)), None);
        assert_eq!(number_of(&request(48, 15)[..39]), None);
    }

    #[test]
    fn only_words_about_changes_are_told_to_a_kernel() {
        let told = |len: u32, code: i32, number: u64| {
            let mut told = [len.to_ne_bytes(), code.to_ne_bytes()].concat();
            told.extend(number.to_ne_bytes());
            told.extend([0; 24]);
            is_notification(&told)
        };

        assert!(told(40, 2, 0) && told(40, 3, 0) && told(40, 6, 0));
        assert!(!told(40, 7, 0) && !told(40, 0, 0) && !told(40, -5, 0) && !told(40, 2, 1) && !told(39, 2, 0));
        assert!(!is_notification(&[16, 0, 0, 0, 2, 0, 0, 0]));
    }
}
