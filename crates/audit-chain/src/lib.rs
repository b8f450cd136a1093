//! Lines of an audit trail that nobody changes, removes or reorders unseen.
//!
//! Each line has a number, and a code (MAC) over itself and the code of the line before. The key of the code changes with
//! each line, and only the newest key is kept ([`Keeper`]). So who takes over the machine can write false lines from then
//! on, but cannot make lines of before fit again. The first key is shown once, when the chain is made, and is kept
//! elsewhere: with it, [`verify()`] makes all others and checks each line.
//!
//! # A line
//!
//! `{…,"chain":{"id":"ID","seq":7,"prev":"CODE","mac":"CODE"}}`: a JSON object of the caller, with one more member. `mac` is
//! the code over every byte of the line before `,"mac"`. `prev` is the beginning of the code of the line before.
//!
//! # What a crash does
//!
//! The key for the next batch of lines is on the disk before the batch is written. So no key is ever used for two lines,
//! and a crash loses at most the lines of one batch. Whoever writes next does not know whether that batch arrived: its first
//! line says from which number on lines may be missing (`"unsure":5`). The verifier takes such a gap for what it is, and
//! tells it. It takes no other gap.
//!
//! # The end of the trail
//!
//! If the last lines are removed, the rest still fits. So a [`Checkpoint`], which says how far the trail has come, is kept
//! in a second place from time to time. The verifier compares.

mod checkpoint;
mod keeper;
mod key;
mod line;
mod verify;

pub use checkpoint::Checkpoint;
pub use keeper::{Batch, Error, Keeper};
pub use key::{ChainId, Key};
pub use verify::{Fault, GAP_MAX, Gap, LINE_MAX, Report, Verifier, verify};
