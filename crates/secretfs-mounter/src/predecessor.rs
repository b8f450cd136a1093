//! An earlier mounter that was killed and is still there: a thread of it waits in the kernel for who served a FUSE volume,
//! and that process is gone too. It never answers again, and keeps its sockets.

use std::fs;
use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use mounter_protocol::socket;
use mountinfo::{Connection, Connections, Mount, TABLE};
use program::killed::is_killed;
use rustix::net::SocketAddrUnix;

use crate::ours::{SOURCE, is_fuse_from};
use crate::place::{Ground, Reach};

/// How long a killed process may take to end. Who serves a volume answers within this time.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same, once nothing keeps it.
const ENDING: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);

/// Waits until the process that listens at `path` has ended, if it was killed; and ends connections of volumes on
/// `ground` for which requests wait, one by one, until it can end. Never touches anything while that process lives.
pub(crate) fn let_end(path: &Path, ground: &impl Ground) -> io::Result<()> {
    let Some(pid) = listening(path).filter(|pid| is_killed(*pid)) else { return Ok(()) };
    let has_ended = || !is_killed(pid);
    if becomes_so(PATIENCE, has_ended) {
        return Ok(());
    }
    tracing::warn!(pid, "the mounter before this one was killed and cannot end: it waits for a FUSE volume");
    // At one that somebody serves nobody waits, sooner or later.
    let hanging = ours(ground)?.into_iter().filter(|(_, one)| !becomes_so(ENDING, || one.is_idle()));
    for (mount, connection) in hanging {
        connection.abort()?;
        tracing::warn!(at = %mount.point.display(), "ended a FUSE volume that nobody serves");
        if becomes_so(ENDING, has_ended) {
            break;
        }
    }
    Ok(())
}

/// Who listens at `path`, by the kernel's word.
fn listening(path: &Path) -> Option<i32> {
    let socket = socket().ok()?;
    // Where its queue is full, it would wait there for ever.
    rustix::io::ioctl_fionbio(&socket, true).ok()?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path).ok()?).ok()?;
    sys::peer(socket.as_fd()).ok().map(|peer| peer.pid)
}

fn becomes_so(patience: Duration, is_so: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    while !is_so() && start.elapsed() < patience {
        thread::sleep(PAUSE);
    }
    is_so()
}

/// The FUSE volumes on `ground`, with their connections.
fn ours(ground: &impl Ground) -> io::Result<Vec<(Mount, Connection)>> {
    let (connections, table) = (Connections::open()?, fs::read(TABLE)?);
    let is_ours = |mount: &Mount| {
        is_fuse_from(mount.kind.as_ref(), mount.source.as_os_str(), SOURCE)
            && ground.target(&mount.point).is_ok_and(|place| place.reach == Reach::Volume)
    };
    let found = mountinfo::mounts(&table).filter(is_ours);
    let mut held: Vec<_> =
        found.filter_map(|mount| connections.of(&mount).ok().map(|it| (mount, it))).collect();
    // A mount that is still there now is of the connection that was opened before.
    let still: Vec<_> = mountinfo::mounts(&fs::read(TABLE)?).collect();
    held.retain(|(mount, _)| still.contains(mount));
    Ok(held)
}
