//! Serves one volume of FUSE mode through the crate `fuser`: for a process that mounts without privileges.
//!
//! What a volume shows is the crate `fuse-tree`'s. Who mounts, and how, is not asked here: [`serve`] gets the kernel's end
//! of a mount that is made already. It never unmounts, because a path may lead to somebody else's mount by then.
//!
//! The crate `fuse-session` serves the same volumes, with privileges: all of a process from few threads, and on after a
//! restart. Its tests compare the answers of both.
//!
//! # What waits, and for how long
//!
//! One thread answers all requests. It waits for nobody: an open whose contents somebody is asked for is answered later,
//! from wherever the answer comes, and after [`PATIENCE`] by an error. Notices to the kernel have a thread of their own,
//! since they may wait for a request that is not answered yet.
//!
//! # Mappings
//!
//! The process that serves a volume never maps a file of it: the thread that touches the mapping would wait in the kernel
//! for its own process, and could not be killed.

mod answers;
mod asking;
mod filled;
mod session;
mod telling;
mod words;

pub use asking::PATIENCE;
pub use session::{Session, serve};
pub use telling::Delivery;
