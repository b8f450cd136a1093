//! What every program of secretfs does besides its own work: it writes lines, protects its memory, says whether it is
//! ready, and dies where a test asks for it.

pub mod failpoint;
pub mod hygiene;
pub mod killed;
pub mod log;
pub mod outlet;
pub mod privileges;
pub mod readiness;
pub mod systemd;
pub mod visible;
