//! Which tests run once for each mode.

mod again;
mod guard;
mod one_mode;
mod switching;

pub(crate) use again::again_in_mode_fuse;
