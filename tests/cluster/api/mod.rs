//! A `secretfs node` with a real API server, called by a client in place of kubelet.

mod classes;
mod coverage;
mod events;
mod identity;
mod kubectl;
mod pod_status;
mod refreshing;
mod revocations;
mod rollouts;
mod secret_sync;
mod world;

pub(crate) use world::{SHARED, api_server};
