//! Everything that is said to a Kubernetes API server.
//!
//! Nothing here stands between kubelet and a mount: what the mount path needs is in memory, and what is
//! told of it is told afterwards.

pub mod connection;
