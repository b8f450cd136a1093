//! Who waits for a FUSE volume that nobody serves.
//!
//! A process whose request was read and not answered cannot even be killed. So requests are ended by errors. Only the head
//! of each is looked at, which has a fixed size: what is asked for, and of which file, is in what follows.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

/// How long volumes may be without somebody who serves them, before those who wait get errors.
pub(crate) const ALONE: Duration = Duration::from_secs(30);
/// The smallest buffer that the kernel gives a request to.
const REQUEST: usize = 8192;
/// Bytes of the head of a request: its length, what is asked for, its number, and more.
const HEAD: usize = 40;
/// Bytes of an answer that is an error.
const ANSWER: u32 = 16;
/// Most requests of one volume that are ended before another volume has its turn.
const TURN: usize = 1024;
/// What has no answer: `FUSE_FORGET`, `FUSE_INTERRUPT`, `FUSE_BATCH_FORGET`.
const UNANSWERED: [u32; 3] = [2, 36, 42];
/// `FUSE_NOTIFY_RESEND`: has the kernel give again what was read and not answered (since Linux 6.9).
const RESEND: i32 = 7;

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
        number != 0 && self.write(-Errno::IO.raw_os_error(), number).is_ok()
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

/// The number of a whole request, or 0 if it has no answer.
fn number_of(request: &[u8]) -> Option<u64> {
    let (head, _) = request.split_first_chunk::<HEAD>()?;
    let (len, rest) = head.split_first_chunk()?;
    let (asked, rest) = rest.split_first_chunk()?;
    let (number, _) = rest.split_first_chunk()?;
    let is_whole = usize::try_from(u32::from_ne_bytes(*len)) == Ok(request.len());
    let is_answered = !UNANSWERED.contains(&u32::from_ne_bytes(*asked));
    is_whole.then(|| if is_answered { u64::from_ne_bytes(*number) } else { 0 })
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
}
