//! What a volume of FUSE mode shows, apart from how the kernel asks for it.
//!
//! A [`Volume`] holds a tree as kubelet's atomic writer makes it: a directory for each edition of the files, a link
//! `..data` to the edition that is shown, and a link for each name at the top. It answers what a kernel asks
//! ([`lookup`](Volume::lookup), [`attributes`](Volume::attributes), [`list`](Volume::list),
//! [`read_link`](Volume::read_link), [`open`](Volume::open), [`read`](Volume::read)) with plain types. It makes no
//! system call, waits for nothing, and holds no value itself: those are behind [`Contents`], in whatever memory the
//! caller chose.
//!
//! # Numbers that outlive a process
//!
//! [`NodeId`]s and handles are made from the volume's name, paths and the numbers of editions alone. So a process that
//! is given the same editions answers for files that were opened before it began.
//!
//! # What a file shows over time
//!
//! * An open handle shows the edition that it was opened in, as long as the volume keeps that edition.
//! * While an edition has a name, its directory shows itself.
//! * Once that name is gone, whoever still has a directory or file of it, by a bind mount as of `subPath`, finds the
//!   edition that is shown now: its contents when opened, its names, and its attributes. Those are also what `fstat` tells
//!   of a handle that still shows the old one, since Linux does not say for which handle it asks.
//! * A withdrawn file has no name and no contents. A held handle gets `EACCES`, and who opens it again `ENOENT`.

mod answer;
mod contents;
mod edition;
mod handles;
mod layout;
mod node;
mod policy;
mod resolve;
mod swap;
mod tree;
mod volume;

pub use answer::{Attributes, Entry, Kind, Moment, Notice};
pub use contents::{Answer, Ask, Contents, Plain, Question, Refusal, Source};
pub use edition::{Edition, File, Invalid};
pub use node::NodeId;
pub use policy::{Access, AllowAll, Caller, Policy, Purpose, Ruling, Who};
pub use rustix::io::Errno;
pub use swap::Step;
pub use volume::{Asking, Look, Opening, Reading, Volume};

/// The link that every file is read through: it names the directory of the edition that is shown.
pub const DATA: &str = "..data";
/// The next `..data`, until it is renamed.
pub const NEXT_DATA: &str = "..data_tmp";
