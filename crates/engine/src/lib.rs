//! The engine: volumes from their publish to their unpublish.
//!
//! [`volume`] holds the table of who is served what, and the loop of each volume: when its store is asked, what the answer
//! changes, what is kept or withdrawn. The modules beside it are what it works with, each with no knowledge of it:
//!
//! | module | is |
//! |---|---|
//! | [`mode`] | how a snapshot becomes files |
//! | [`readings`] | what stores said, shared between volumes that may know it |
//! | [`snapshot`] | one consistent set of files |
//! | [`subject`] | who a volume is read for |
//! | [`audit`] | what is written down of all this |
//! | [`unfinished`] | why a task returned nothing |
//!
//! It knows no protocol: not kubelet's gRPC, not the API server's HTTP, no store by name and no database. Whoever serves
//! one of these builds [`volume::parts::Parts`], calls [`volume::Volumes`], and says what an outcome means there.

#![cfg_attr(test, allow(clippy::arithmetic_side_effects, reason = "numbers of tests are their own"))]

pub mod audit;
pub mod mode;
pub mod readings;
pub mod snapshot;
pub mod subject;
pub mod unfinished;
pub mod volume;
