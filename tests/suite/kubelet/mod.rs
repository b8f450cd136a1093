//! The demands of kubelet, made by a client with kubelet's own dial options, deadlines and order of calls.

mod client;
mod lifecycle;
mod publish;
mod registration;
mod republish;
mod services;
mod unpublish;
mod world;
