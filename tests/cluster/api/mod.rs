//! A `secretfs node` that asks a real API server, and a client that calls it as kubelet would.

mod classes;
mod events;
mod identity;
mod kubectl;
mod pod_status;
mod secret_sync;
mod world;

pub(crate) use world::{SHARED, api_server};
