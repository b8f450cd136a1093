//! Serves volumes of FUSE mode over `/dev/fuse`. It knows nothing of secrets or Kubernetes.
//!
//! What a volume shows is the crate `fuse-tree`'s; this crate knows how a kernel asks for it.
//!
//! * [`mount`] makes a file system without a place, and [`Device::agree`] answers the one request that no later process
//!   can answer again. What was agreed is a record ([`Agreed`]) to keep beside the device.
//! * [`Sessions`] serves all volumes of a process from a few threads. It [serves](Sessions::serve) a new volume, or
//!   [resumes](Sessions::resume) one from the device and the record alone.
//! * [`rotate`] shows another edition so that watchers see kubelet's events.
//! * [`Store`] holds values, in the best memory that there is.
//!
//! # What waits, and for how long
//!
//! Only opens and reads may wait: for a policy that does not know yet, and for contents that somebody is asked for. The
//! first ends after [`Settings::recognition`], the other after [`Settings::patience`], and both at once if the caller is
//! killed. Everything else is answered from memory: a
//! kernel holds a directory's lock while it looks a name up, and a notification about that directory waits for the lock.
//! So notifications have threads of their own. If one waits for more than a second, [`Sessions::health`] tells, and
//! another thread serves the other volumes.
//!
//! # What outlives a process
//!
//! A mount lives as long as anybody holds its device. Requests that were read and not answered are sent again where the
//! kernel can (Linux 6.9), or else are in the [`Journal`], a memory file that the same somebody holds. The kernel writes
//! each request straight into it, so no request is ever in a process alone. Who keeps a journal keeps it until the next
//! process has resumed all volumes.
//!
//! A process that is killed in the middle of a notification may not be gone until the next one has answered what it left:
//! its thread hangs in the kernel. So who keeps devices hands them on without waiting for its end, and answers what waits
//! by an error where no next process comes.
//!
//! # Who must not map files
//!
//! A process that serves a volume, or that starts again who serves it, must not map a file of the volume. A thread that
//! reads a mapping waits in the kernel for the answer, and may hold the lock of its process's memory meanwhile: the kernel
//! lets the lock go only the first time that it tries. A thread that changes the memory, as malloc does, queues for that
//! lock, and all others behind it, also those that answer or start who answers. Then the process waits for itself for
//! ever, and only who aborts the connection ends that. To read a file is safe: who reads waits without the lock.
//!
//! For the same reason who serves, and a policy that it asks, must not look at the memory of a caller, as who reads
//! `/proc/PID/cmdline` or `/proc/PID/maps` does: the caller may hold that lock while it waits for the answer.
//!
//! # Who uses it
//!
//! The mode `fuse` of the engine. Its functions that [mount] are for tests: in the product the mounter does that.

mod agreed;
mod answering;
mod clock;
mod device;
mod journal;
mod mounting;
mod notifier;
mod pending;
mod rotation;
mod scratch;
mod served;
mod sessions;
mod store;
pub mod wire;

pub use agreed::{Agreed, Unreadable};
pub use device::{Device, Tell};
pub use journal::Journal;
pub use mounting::{attach, mount, private_clone};
pub use notifier::Delivery;
pub use rotation::{TakeStep, rotate, take_steps, take_steps_by};
pub use served::Served;
pub use sessions::{Health, Resume, Sessions, Settings};
pub use store::{Lent, Slot, Store, StoreBuilder};
pub use sys::Protection;
