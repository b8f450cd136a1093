//! The system calls that need unsafe code because no safe wrapper exists for them.

mod code;
mod handed;
mod heap;
mod journal;
#[cfg(feature = "mapping")]
mod mapping;
mod memory;
mod mounts;
mod owners;
mod peers;
mod scope;
mod secret;
mod signals;

pub use code::give_back_code;
pub use handed::HandedPages;
pub use heap::{limit_arenas, trim_heap};
pub use journal::SharedPages;
#[cfg(feature = "mapping")]
pub use mapping::Mapping;
pub use memory::{PrivatePages, Protection};
pub use mounts::{
    MountedFileSystem, SYS_STATMOUNT, leave_mount_namespace, make_read_only, make_writable, mount_by_number,
    show_owners_as,
};
pub use owners::user_namespace;
pub use peers::{Peer, peer};
pub use scope::scope_to_itself;
pub use secret::SecretBox;
pub use signals::take_ending_signals;
