//! The engine: volumes from their publish to their unpublish.
//!
//! [`volume`] has the table of served volumes, and the loop of each volume: when it asks its store, what the answer
//! changes, and which files stay or are withdrawn. The other modules are its parts, and none of them knows it:
//!
//! | module | is |
//! |---|---|
//! | [`mode`] | how a snapshot becomes files |
//! | [`readings`] | the answers of stores, shared between volumes that may know them |
//! | [`revocation`] | orders to take secrets back, and what each covers |
//! | [`snapshot`] | one consistent set of files |
//! | [`subject`] | the workload that a volume is read for |
//! | [`audit`] | the audit trail |
//! | [`unfinished`] | why a task returned nothing |
//!
//! The engine knows no protocol and no database: not kubelet's gRPC, not the HTTP of the API server, and no store by
//! name. A program that serves one of these builds [`volume::parts::Parts`], calls [`volume::Volumes`], and translates
//! the outcome into its protocol.

#![cfg_attr(test, allow(clippy::arithmetic_side_effects, reason = "numbers of tests are their own"))]

pub mod audit;
pub mod mode;
pub mod readings;
pub mod revocation;
pub mod snapshot;
pub mod subject;
pub mod unfinished;
pub mod volume;
