//! Real servers, real mounts and faults for tests.
