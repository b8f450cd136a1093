//! What each program of secretfs does around its work, whatever that is: how it tells what happens, keeps its memory
//! to itself, says that it is ready and up, and dies where a test wants it to.

pub mod failpoint;
pub mod hygiene;
pub mod outlet;
pub mod readiness;
pub mod systemd;
pub mod visible;
