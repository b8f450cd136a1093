//! The whole system: real pods on a real kubelet, the driver from its chart and image, OpenBao as the store,
//! and test servers that stand for the clouds.

mod access;
mod calls;
mod clouds;
mod containers;
mod crash;
mod fuse;
mod identity;
mod outage;
mod pods;
mod privileged;
mod registration;
mod revoking;
mod rights;
mod rollouts;
mod stores;
mod takeover;
mod unprivileged;
mod upstream;
mod watching;
mod world;
