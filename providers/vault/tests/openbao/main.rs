//! The provider against a real OpenBao, a real PostgreSQL, and servers that misbehave on order.

#![allow(clippy::unwrap_used, reason = "what a test asks of its fixtures has to be so")]

mod example;
mod faults;
mod leases;
mod logins;
mod security;
mod support;
