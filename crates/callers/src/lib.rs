//! Tells which container of a pod a thread runs in, from what the kernel says of the thread.
//!
//! Two texts of `/proc` say it, and both have to name the pod that is asked about:
//!
//! * `cgroup` has the container's id, which is the one name directly below the pod's own cgroup ([`cgroup`]). What is
//!   deeper counts for nothing: a container may make cgroups of its own there, with any name.
//! * `mountinfo` has the container's name ([`name`]). Kubelet mounts a file into each container for its last words. That file
//!   lies at `pods/UID/containers/NAME/` on kubelet's own file system, and the table of mounts tells so from the first
//!   instruction of the container on. Where it is mounted is the pod author's choice, and counts for nothing.
//!
//! The texts are parsed here as plain text of strangers. [`Processes`] reads them, through a directory that somebody else may
//! have opened: a `/proc` shows the process namespace of who mounted it. [`Callers`] remembers what it found out, for as long as
//! the very thread lives.
//!
//! # Why a thread number is enough
//!
//! Who opens a file of a FUSE volume waits in the kernel until it is answered, and cannot end before. So the number in the
//! request is its own during that time. What is remembered is held by an open directory of `/proc`, which leads nowhere once
//! its thread has ended, whoever has the number then.
//!
//! # What it reads never waits for the thread
//!
//! Neither text is made from the thread's memory. Files that are (`cmdline`, `maps`) wait for a lock that a thread may hold
//! while it waits for a file of the same volume.

mod callers;
pub mod cgroup;
pub mod name;
mod processes;

pub use callers::{Caller, Callers, Found};
pub use cgroup::ContainerId;
pub use name::{ContainerName, PodDirectory};
pub use processes::{Processes, Thread};
