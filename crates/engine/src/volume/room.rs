//! Bounds for files that are read when they are opened: how many callers may wait, and how many bytes are held.
//! Volumes, namespaces and the process have their bounds, and the room is divided by the rules of [`Shares`].

use std::sync::{Arc, Mutex, PoisonError};

use crate::volume::admission::{Bounds, Lane, Shares};

/// Callers that wait. One volume is one place, and gets at most half of a place's bound: 128 callers. All together are
/// fewer than the requests for which the session layer of mode fuse has places (1024), so that it always has some left
/// for who need not wait for a store.
const CALLERS: Bounds = Bounds { process: 768, namespace: 384, place: 256, waiting: 0 };
/// Bytes that are held. One volume gets at most 4 MiB, or one file of up to 8 MiB.
const BYTES: Bounds = Bounds { process: 32 << 20, namespace: 16 << 20, place: 8 << 20, waiting: 0 };

/// The rooms of this process.
#[derive(Debug, Clone, Default)]
pub struct Rooms {
    callers: Arc<Mutex<Shares>>,
    bytes: Arc<Mutex<Shares>>,
}

/// Room that a caller has. Dropping it gives the room back.
#[derive(Debug)]
pub struct Room {
    of: Arc<Mutex<Shares>>,
    lane: Lane,
    much: usize,
}

impl Rooms {
    /// Room for one caller that waits; `None` if too many wait already.
    pub fn for_caller(&self, lane: &Lane) -> Option<Room> {
        Room::of(&self.callers, lane, 1, &CALLERS)
    }

    /// Room for this many bytes; `None` if there is not enough.
    pub fn for_bytes(&self, lane: &Lane, bytes: usize) -> Option<Room> {
        Room::of(&self.bytes, lane, bytes, &BYTES)
    }
}

impl Room {
    fn of(shares: &Arc<Mutex<Shares>>, lane: &Lane, much: usize, bounds: &Bounds) -> Option<Self> {
        let mut taken = shares.lock().unwrap_or_else(PoisonError::into_inner);
        if !taken.fits(lane, much, bounds) {
            return None;
        }
        taken.take(lane, much);
        drop(taken);
        Some(Self { of: Arc::clone(shares), lane: lane.clone(), much })
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.of.lock().unwrap_or_else(PoisonError::into_inner).give_back(&self.lane, self.much);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_everywhere_leaves_room_for_other_volumes_and_other_namespaces() {
        let rooms = Rooms::default();
        let take = |namespace, volume| {
            let lane = Lane::new(namespace, volume);
            std::iter::from_fn(|| rooms.for_caller(&lane)).take(10_000).collect::<Vec<_>>()
        };
        let hostile: Vec<_> = ["a", "b", "c", "d"].map(|volume| take("hostile", volume)).into();
        assert_eq!(hostile[0].len(), 128);

        assert!(hostile.iter().all(|waiting| waiting.len() >= 32), "one volume leaves room for the next");
        assert_eq!(take("healthy", "v").len(), 128);
        drop(hostile);
        assert_eq!(take("hostile", "a").len(), 128, "who has left has left room");
    }
}
