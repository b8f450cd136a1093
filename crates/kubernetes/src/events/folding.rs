use std::collections::VecDeque;

use kube::Client;
use kube::runtime::events::{Recorder, Reporter};

use super::notice::Notice;

/// Notices that are remembered as what others may repeat.
const REMEMBERED: usize = 256;

/// Merges Events that have exactly the same words. The recorder of the library looks only at the reason, and would count
/// an Event with other words as a repetition.
pub(super) struct Folding {
    client: Client,
    reporter: Reporter,
    /// The one that was used last at the end.
    recorders: VecDeque<(Key, Recorder)>,
}

/// The pod's uid, the reason and the words.
type Key = (String, &'static str, String);

impl Folding {
    pub(super) fn new(client: Client, reporter: Reporter) -> Self {
        Self { client, reporter, recorders: VecDeque::new() }
    }

    /// What sends `notice`, as another of its kind if the same was sent before.
    pub(super) fn recorder(&mut self, notice: &Notice) -> Recorder {
        let key = key(notice);
        let known = self.recorders.iter().position(|(known, _)| *known == key);
        let recorder = match known.and_then(|place| self.recorders.remove(place)) {
            Some((_, recorder)) => recorder,
            None => Recorder::new(self.client.clone(), self.reporter.clone()),
        };
        self.recorders.push_back((key, recorder.clone()));
        while self.recorders.len() > REMEMBERED {
            self.recorders.pop_front();
        }
        recorder
    }

    /// What `notice` was counted with may be gone: the next of its kind is an Event of its own.
    pub(super) fn forget(&mut self, notice: &Notice) {
        let key = key(notice);
        self.recorders.retain(|(known, _)| *known != key);
    }
}

fn key(notice: &Notice) -> Key {
    (notice.pod.uid.clone(), notice.reason.name(), notice.note.clone())
}
