//! The thread that ends what waits: answers that came, times that are over, notifications that are stuck.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fuse_tree::Errno;

use crate::answering::{Outcome, Why, refuse, told, try_again};
use crate::notifier::Notifier;
use crate::pending::Pending;
use crate::scratch::Scratch;

/// How long until a policy that did not know is asked again.
const JUDGE_AGAIN: Duration = Duration::from_millis(20);
/// How often it looks whether a notification is stuck, while there is one.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub(crate) struct Clock {
    pub(crate) pending: Arc<Pending>,
    pub(crate) notifier: Arc<Notifier>,
    pub(crate) is_stopped: AtomicBool,
}

impl Clock {
    pub(crate) fn run(&self, scratch: &mut Scratch) {
        while !self.is_stopped.load(Ordering::Acquire) {
            let has_to_judge = !self.pending.to_be_judged().is_empty();
            let is_notifying = self.notifier.is_busy();
            let judging = has_to_judge.then_some(JUDGE_AGAIN);
            let longest = judging.or_else(|| is_notifying.then_some(LOOK_AGAIN));
            for (ticket, told) in self.pending.wait(longest) {
                self.answer(ticket, told, scratch);
            }
            self.judge(scratch);
            self.end_late();
            self.notifier.replace_stuck();
        }
    }

    pub(crate) fn stop(&self) {
        self.is_stopped.store(true, Ordering::Release);
        self.pending.poke();
    }

    fn answer(
        &self,
        ticket: u64,
        answer: Result<(u64, Arc<dyn fuse_tree::Contents>), fuse_tree::Refusal>,
        scratch: &mut Scratch,
    ) {
        let Some(entry) = self.pending.take(ticket) else { return };
        let _ = match answer {
            Ok(contents) => told(&entry.served, &entry.waits, contents, scratch),
            Err(refusal) => refuse(&entry.served, entry.waits.unique, refusal.errno()),
        };
        self.pending.answered(&entry);
    }

    fn judge(&self, scratch: &mut Scratch) {
        for (ticket, served, waits) in self.pending.to_be_judged() {
            match try_again(&served, waits, scratch) {
                Ok(Outcome::Wait(_, Why::NotYet)) => {}
                Ok(Outcome::Wait(_, Why::Ask(asking))) => self.pending.ask(ticket, asking),
                Ok(Outcome::Done | Outcome::Tell(_) | Outcome::GivenUp(_)) | Err(_) => self.forget(ticket),
            }
        }
    }

    fn forget(&self, ticket: u64) {
        if let Some(entry) = self.pending.take(ticket) {
            self.pending.answered(&entry);
        }
    }

    fn end_late(&self) {
        for entry in self.pending.late().into_iter().filter_map(|ticket| self.pending.take(ticket)) {
            let errno: Errno = entry.errno_when_late();
            let _ = refuse(&entry.served, entry.waits.unique, errno);
            self.pending.answered(&entry);
        }
    }
}
