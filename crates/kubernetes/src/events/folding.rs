use std::collections::VecDeque;

use kube::Client;
use kube::runtime::events::{Recorder, Reporter};

use super::notice::Notice;

/// How many notices are remembered, so that repetitions can be merged with them.
const REMEMBERED: usize = 256;

/// Merges Events that have exactly the same text. The recorder of the library compares only the reason, and would count
/// an Event with another text as a repetition.
pub(super) struct Folding {
    client: Client,
    reporter: Reporter,
    /// The recorder that was used last is at the end.
    recorders: VecDeque<(Key, Recorder)>,
}

/// The pod's uid, the reason and the text.
type Key = (String, &'static str, String);

impl Folding {
    pub(super) fn new(client: Client, reporter: Reporter) -> Self {
        Self { client, reporter, recorders: VecDeque::new() }
    }

    /// The recorder that sends `notice`. If the same notice was sent before, it counts this one as a repetition.
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

    /// Forgets the Event that `notice` was merged with, because it may be deleted. The next one is a new Event.
    pub(super) fn forget(&mut self, notice: &Notice) {
        let key = key(notice);
        self.recorders.retain(|(known, _)| *known != key);
    }
}

fn key(notice: &Notice) -> Key {
    (notice.pod.uid.clone(), notice.reason.name(), notice.note.clone())
}
