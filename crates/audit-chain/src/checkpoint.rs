//! How far a chain had come, for a second place.

use serde::{Deserialize, Serialize};

use crate::key::{ChainId, Code};

/// How far a chain had come: the number and the code of a line. Every line up to it was on the disk.
///
/// It holds nothing secret. Who can change it can raise a false alarm, and cannot hide anything, unless it is the only one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    pub(crate) id: ChainId,
    pub(crate) seq: u64,
    pub(crate) code: Code,
}

#[derive(Serialize, Deserialize)]
struct Line {
    time: String,
    checkpoint: Member,
}

#[derive(Serialize, Deserialize)]
struct Member {
    id: String,
    seq: u64,
    mac: String,
}

impl Checkpoint {
    /// The number of the line.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// As one line of JSON, with its line end. `time` is told to people and not checked.
    pub fn line(&self, time: &str) -> String {
        let member = Member { id: self.id.0.clone(), seq: self.seq, mac: self.code.0.clone() };
        let line = serde_json::to_string(&Line { time: time.to_owned(), checkpoint: member });
        // Texts and a number are always JSON.
        line.unwrap_or_default() + "\n"
    }

    /// The checkpoint in a line; `None` if it is another line.
    pub fn parse(line: &str) -> Option<Self> {
        let Line { checkpoint: Member { id, seq, mac }, .. } = serde_json::from_str(line.trim()).ok()?;
        Some(Self { id: ChainId(id), seq, code: Code::parse(&mac)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Key;

    #[test]
    fn a_checkpoint_is_read_among_other_lines() {
        let key = Key::random().unwrap();
        let checkpoint = Checkpoint { id: key.id(), seq: 9, code: key.code(b"x") };

        let line = checkpoint.line("2026-03-01T12:00:00Z");

        assert_eq!(Checkpoint::parse(&line), Some(checkpoint));
        for other in ["", "{}", "{\"time\":\"x\",\"api\":{}}", &line.replace("\"mac\":\"", "\"mac\":\"!")] {
            assert_eq!(Checkpoint::parse(other), None, "{other}");
        }
    }
}
