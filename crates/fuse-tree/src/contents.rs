use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;

use crate::policy::Caller;

/// What a file holds, in whatever memory its owner chose.
pub trait Contents: fmt::Debug + Send + Sync {
    /// How many bytes.
    fn len(&self) -> u64;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether they are still here. Contents that were lent may be taken back; their [length](Self::len) stays as it was.
    fn is_here(&self) -> bool {
        true
    }

    /// Copies what begins at `offset` into `into`, and says how much that was: less than there is room for only at the
    /// end. `None` once the contents were taken back.
    fn copy(&self, offset: u64, into: &mut [u8]) -> Option<usize>;
}

/// Contents in ordinary memory, which is not wiped: for tests and for what is no secret.
#[derive(Clone)]
pub struct Plain(Vec<u8>);

impl Plain {
    /// Contents of these bytes.
    pub fn of(bytes: impl Into<Vec<u8>>) -> Arc<dyn Contents> {
        Arc::new(Self(bytes.into()))
    }
}

impl fmt::Debug for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Contents for Plain {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn copy(&self, offset: u64, into: &mut [u8]) -> Option<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.0.get(offset..)).unwrap_or_default();
        let count = rest.len().min(into.len());
        into.iter_mut().zip(rest).for_each(|(into, byte)| *into = *byte);
        Some(count)
    }
}

/// Where a file's contents come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// They are known.
    Known(Arc<dyn Contents>),
    /// Somebody is asked each time the file is opened.
    Asked(Arc<dyn Ask>),
    /// They were withdrawn. Nobody can open the file.
    Withdrawn,
}

/// Who knows what a file holds when it is opened.
pub trait Ask: fmt::Debug + Send + Sync {
    /// Finds out, and says so by `answer`, at once or later and on any thread. It returns without waiting. An answer
    /// that is dropped is a failure; one that comes after [`Question::patience`] is over is of no use.
    fn ask(&self, question: Question, answer: Answer);
}

/// What is asked about a file that is opened, or read through a handle whose contents were let go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Who opens or reads.
    pub caller: Caller,
    /// Which file.
    pub path: String,
    /// The version that a handle shows. Only that one is of use, if it is told.
    pub wanted: Option<u64>,
    /// How long the caller waits.
    pub patience: Duration,
}

/// Why a file has no contents for a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// This caller may not have them: `EACCES`.
    Denied,
    /// There is no such file: `ENOENT`.
    Missing,
    /// The version that a handle shows is no more: `ESTALE`.
    Replaced,
    /// Nobody could tell in time: `ETIMEDOUT`.
    Late,
    /// Nobody could tell at all: `EIO`.
    Failed,
}

impl Refusal {
    /// What a program gets.
    pub fn errno(self) -> Errno {
        match self {
            Self::Denied => Errno::ACCESS,
            Self::Missing => Errno::NOENT,
            Self::Replaced => Errno::STALE,
            Self::Late => Errno::TIMEDOUT,
            Self::Failed => Errno::IO,
        }
    }
}

type Told = Result<(u64, Arc<dyn Contents>), Refusal>;

/// Takes the answer to a [`Question`], once.
pub struct Answer(Option<Box<dyn FnOnce(Told) + Send>>);

impl Answer {
    /// An answer that `tell` takes.
    pub fn new(tell: impl FnOnce(Told) + Send + 'static) -> Self {
        Self(Some(Box::new(tell)))
    }

    /// The file holds `contents`, which are of this version. Versions of one file are told apart by their number, of
    /// which the top bit does not count.
    pub fn holds(self, version: u64, contents: Arc<dyn Contents>) {
        self.give(Ok((version, contents)));
    }

    /// The caller gets nothing.
    pub fn refuse(self, refusal: Refusal) {
        self.give(Err(refusal));
    }

    fn give(mut self, told: Told) {
        if let Some(tell) = self.0.take() {
            tell(told);
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(tell) = self.0.take() {
            tell(Err(Refusal::Failed));
        }
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answer")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn copying_stops_at_the_end_and_begins_nowhere_past_it() {
        let contents = Plain::of("abc");
        let copy = |offset, room| {
            let mut into = vec![0; room];
            let count = contents.copy(offset, &mut into).unwrap();
            into[..count].to_vec()
        };

        assert_eq!(copy(0, 2), b"ab");
        assert_eq!(copy(1, 9), b"bc");
        assert_eq!(copy(3, 9), b"");
        assert_eq!(copy(u64::MAX, 9), b"");
        assert_eq!(format!("{contents:?}"), "3 bytes");
    }

    #[test]
    fn an_answer_that_is_dropped_is_a_failure_and_one_that_is_given_counts_once() {
        let (send, told) = mpsc::channel();
        let answer = || {
            let send = send.clone();
            Answer::new(move |told| send.send(told.map(|(version, _)| version)).unwrap())
        };

        drop(answer());
        answer().holds(3, Plain::of("x"));
        answer().refuse(Refusal::Missing);

        assert_eq!(told.try_iter().collect::<Vec<_>>(), [Err(Refusal::Failed), Ok(3), Err(Refusal::Missing)]);
    }
}
