//! Volumes from a real OpenBao and a real PostgreSQL, through a real `secretfs`.

mod economy;
mod example;
mod faults;
mod host;
mod insecure;
mod leases;
mod restarts;
mod support;
mod upgrade;
