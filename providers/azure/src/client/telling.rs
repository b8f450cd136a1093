use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use provider::Reading;

use crate::answer::{expires, told};
use crate::call::Call;

/// How long before its end an object is told of, in seconds: a week.
const EARLY: i64 = 7 * 24 * 3600;
/// Most objects that are remembered as told. Beyond that they are told again.
const MOST: usize = 1_000;

/// Tells once that an object will expire, and once that it has.
#[derive(Debug, Default)]
pub(crate) struct Telling(Mutex<BTreeSet<(Call, Phase)>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Soon,
    Over,
}

fn phase(expires: i64, now: i64) -> Option<Phase> {
    match expires.saturating_sub(now) {
        ..=0 => Some(Phase::Over),
        1..=EARLY => Some(Phase::Soon),
        _ => None,
    }
}

impl Telling {
    pub(crate) fn of(&self, call: &Call, reading: &Reading) {
        let Some(expires) = expires(reading) else { return };
        let Some(phase) = phase(expires, Timestamp::now().as_second()) else { return };
        if !self.is_new(call, phase) {
            return;
        }
        let (expires, version) = (told(expires), reading.version.as_deref().unwrap_or_default());
        match phase {
            Phase::Soon => {
                tracing::warn!(object = %call, version, expires, "an object of a vault expires soon")
            }
            Phase::Over => {
                tracing::warn!(object = %call, version, expires, "an object of a vault has expired")
            }
        }
    }

    fn is_new(&self, call: &Call, phase: Phase) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() >= MOST {
            told.clear();
        }
        told.insert((call.clone(), phase))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Kind;

    #[test]
    fn an_end_is_told_a_week_before_and_when_it_is_there() {
        assert_eq!(phase(EARLY + 1, 0), None);
        assert_eq!(phase(EARLY, 0), Some(Phase::Soon));
        assert_eq!(phase(1, 0), Some(Phase::Soon));
        assert_eq!(phase(0, 0), Some(Phase::Over));
        assert_eq!(phase(i64::MIN, i64::MAX), Some(Phase::Over));
    }

    #[test]
    fn it_is_told_once_for_each_object_and_phase() {
        let call = |name: &str| Call {
            vault: "https://kv".to_owned(),
            kind: Kind::Secret,
            name: name.to_owned(),
            version: None,
            age: None,
            sought: None,
        };
        let telling = Telling::default();

        assert!(telling.is_new(&call("a"), Phase::Soon) && telling.is_new(&call("b"), Phase::Soon));
        assert!(!telling.is_new(&call("a"), Phase::Soon) && telling.is_new(&call("a"), Phase::Over));
    }
}
