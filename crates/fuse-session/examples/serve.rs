//! A process that serves what a keeper hands over, for the tests of restarts: it may be killed at any moment.
//!
//! Standard input is a socket. First it gets `answer`, or `silence` if it is never to tell what is asked for, and with that
//! maybe the journal of the process before; it gives its own; then it gets a key, an agreement and a device for each volume, and `go`. It says `ready`.
#![allow(clippy::unwrap_used, reason = "a test starts it and sees it fail")]

#[path = "../tests/kernel/packet.rs"]
mod packet;
#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../tests/kernel/shown.rs"]
mod shown;

use std::sync::{Arc, Mutex};

use fuse_session::{Device, Journal, Resume, Sessions, Settings};
use fuse_tree::{AllowAll, Answer, Ask, Plain, Question, Source, Volume};
use shown::{edition_of, showing};

fn main() {
    let socket = std::io::stdin();
    let (text, earlier) = packet::receive(&socket).unwrap();
    let answers = text == "answer";
    let earlier = earlier.map(|journal| Journal::of_earlier(journal).unwrap());
    let sessions = Sessions::start(Settings::default()).unwrap();
    packet::send(&socket, "journal", Some(sessions.journal())).unwrap();
    let resume =
        earlier.as_ref().map_or(Resume::Resend, |earlier| Resume::Journals(std::slice::from_ref(earlier)));
    while let (text, Some(device)) = packet::receive(&socket).unwrap() {
        let (key, agreed) = text.split_once(' ').unwrap();
        let (key, device) = (key.parse().unwrap(), Device::from_fd(device).unwrap());
        sessions.resume(key, device, agreed.parse().unwrap(), volume(key, answers), resume).unwrap();
    }
    packet::send(&socket, "ready", None).unwrap();
    // Until it is killed, or the keeper goes.
    let _ = packet::receive(&socket);
}

/// What the volumes show. What `asked` holds is told by processes that answer, and by others
/// never.
fn volume(key: u64, answers: bool) -> Arc<Volume> {
    let text = format!("of volume {key}\n");
    let large = vec![b'x'; 100_000];
    let known = |bytes: &[u8]| Source::Known(Plain::of(bytes));
    let asked = Source::Asked(Arc::new(Asked { answers, unanswered: Mutex::default() }));
    let files = [
        ("a", known(text.as_bytes())),
        ("d/mapped", known(text.as_bytes())),
        ("large", known(&large)),
        ("asked", asked),
    ];
    showing(&format!("volume-{key}"), Arc::new(AllowAll), edition_of(1, files))
}

#[derive(Debug)]
struct Asked {
    answers: bool,
    unanswered: Mutex<Vec<Answer>>,
}

impl Ask for Asked {
    fn ask(&self, _: Question, answer: Answer) {
        if self.answers {
            answer.holds(1, Plain::of("told"));
        } else {
            self.unanswered.lock().unwrap().push(answer);
        }
    }
}
