//! The admin socket: a line of JSON in, lines of JSON out. Only root and the process's own user may use it.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::unix::{SocketAddr, UCred};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::line::{read_line, write_line};
use super::{Admin, Asker, Reply, Request};

/// How the names of sockets of `secretfs mount` begin.
pub const MOUNT: &str = "mount-";

/// Connections that are served at the same time, without those that wait for a refresh. Further ones wait to be
/// accepted.
const MOST_CONNECTIONS: usize = 8;
/// Refreshes that may wait for stores at the same time. Further ones are refused.
const MOST_REFRESHES: usize = 32;
/// How long a request (one line) may take to arrive. Callers wait longer than that, so silent connections do not keep
/// others out.
const REQUEST_DEADLINE: Duration = Duration::from_secs(1);
/// How long the answer to a request may take. It is longer than the deadlines of store calls.
const ANSWER_DEADLINE: Duration = Duration::from_secs(120);
/// How long the client may take to read an answer.
const REPLY_DEADLINE: Duration = Duration::from_secs(10);
/// How long a conversation may continue after the process was told to stop.
const DRAIN_DEADLINE: Duration = Duration::from_secs(5);

/// A bound admin socket. Dropping it removes its file.
#[derive(Debug)]
pub struct AdminSocket {
    pub(super) listener: UnixListener,
    pub(super) file: SocketFile,
}

#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and inode, so that a successor's socket at the same path is not removed.
    identity: (u64, u64),
}

impl AdminSocket {
    /// Listens at `path`, mode 0600, and replaces an older socket there. Makes the directory with mode 0700.
    ///
    /// # Errors
    ///
    /// The directory cannot be made or written, or the path is longer than 107 bytes, the limit of the kernel.
    pub fn bind(path: &Path) -> io::Result<Self> {
        if let Some(directory) = path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        // The socket is bound under another name and then renamed, so that the path always leads to a socket that
        // answers.
        let staged = path.with_extension(std::process::id().to_string());
        remove(&staged)?;
        let listener = UnixListener::bind(&staged)?;
        fs::set_permissions(&staged, fs::Permissions::from_mode(0o600))?;
        fs::rename(&staged, path)?;
        let file = SocketFile { path: path.to_owned(), identity: identity(path)? };
        Ok(Self { listener, file })
    }

    /// Answers until `shutdown`, then lets running conversations end for a few seconds.
    pub async fn serve(self, admin: Arc<dyn Admin>, shutdown: CancellationToken) {
        let (mut conversations, room) = (JoinSet::new(), Room::default());
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(_) = conversations.join_next() => {}
                (accepted, place) = self.accept(&room) => match accepted {
                    Ok((stream, _)) => {
                        conversations.spawn(converse(stream, Arc::clone(&admin), room.clone(), place));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the admin socket cannot accept");
                        sleep(Duration::from_secs(1)).await;
                    }
                },
            }
        }
        drop(self.file);
        let drained = async { while conversations.join_next().await.is_some() {} };
        if timeout(DRAIN_DEADLINE, drained).await.is_err() {
            conversations.shutdown().await;
        }
    }

    /// Waits for a free place, then for the next connection.
    async fn accept(&self, room: &Room) -> (io::Result<(UnixStream, SocketAddr)>, Option<Place>) {
        // Nobody closes the semaphore.
        let place = Arc::clone(&room.connections).acquire_owned().await.ok();
        (self.listener.accept().await, place)
    }
}

/// The free places for conversations.
#[derive(Debug, Clone)]
struct Room {
    connections: Arc<Semaphore>,
    /// Separate, so that a caller who waits for stores does not delay callers who get an answer at once.
    refreshes: Arc<Semaphore>,
}

type Place = OwnedSemaphorePermit;

impl Default for Room {
    fn default() -> Self {
        let of = |most| Arc::new(Semaphore::new(most));
        Self { connections: of(MOST_CONNECTIONS), refreshes: of(MOST_REFRESHES) }
    }
}

impl Room {
    fn of_a_refresh(&self) -> Option<Place> {
        Arc::clone(&self.refreshes).try_acquire_owned().ok()
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|there| there == self.identity) {
            // Errors are ignored: nobody is left to tell. A file that stays refuses connections, and the next process
            // replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

async fn converse(stream: UnixStream, admin: Arc<dyn Admin>, room: Room, place: Option<Place>) {
    let told = match stream.peer_cred() {
        Ok(peer) if may_ask(peer.uid()) => answer(stream, asker(&peer), admin.as_ref(), &room, place).await,
        Ok(peer) => refuse(stream, peer.uid()).await,
        Err(error) => Err(error),
    };
    if let Err(error) = told {
        tracing::debug!(%error, "a conversation on the admin socket ended early");
    }
}

fn asker(peer: &UCred) -> Asker {
    Asker { uid: peer.uid(), pid: peer.pid().and_then(|pid| u32::try_from(pid).ok()).unwrap_or_default() }
}

fn may_ask(uid: u32) -> bool {
    uid == 0 || uid == rustix::process::geteuid().as_raw()
}

async fn refuse(mut stream: UnixStream, uid: u32) -> io::Result<()> {
    tracing::warn!(uid, "a stranger was turned away from the admin socket");
    // The request is read, because closing a socket with unread data would discard the answer.
    let _ = request(&mut stream).await;
    let reason = format!("uid {uid} may not ask; run this as root or as the user that secretfs runs as");
    reply(&mut stream, &[Reply::Error(reason)]).await
}

async fn answer(
    mut stream: UnixStream,
    by: Asker,
    admin: &dyn Admin,
    room: &Room,
    mut place: Option<Place>,
) -> io::Result<()> {
    let asked = request(&mut stream).await;
    if let Ok(Request::Refresh(which)) = &asked {
        place = room.of_a_refresh();
        if place.is_some() {
            admin.refresh_ordered(which, by);
        }
    }
    let replies = match asked {
        Ok(request) if place.is_some() => replies(admin, &request).await,
        Ok(_) => vec![Reply::Error(format!("{MOST_REFRESHES} refreshes are waited for already; try again"))],
        Err(error) => vec![Reply::Error(format!("the request was not understood: {error}"))],
    };
    let told = reply(&mut stream, &replies).await;
    drop(place);
    told
}

async fn request(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Request> {
    let line = timeout(REQUEST_DEADLINE, read_line(&mut BufReader::new(stream))).await??;
    line.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

async fn replies(admin: &dyn Admin, request: &Request) -> Vec<Reply> {
    let answered = timeout(ANSWER_DEADLINE, async {
        let mut replies: Vec<Reply> = match request {
            Request::Status => {
                admin.status().await.into_iter().map(|volume| Reply::Volume(Box::new(volume))).collect()
            }
            Request::Waiting => admin.waiting().await.into_iter().map(Reply::Waiting).collect(),
            Request::Revocations => match admin.revoked().await {
                Ok(revoked) => revoked.into_iter().map(Reply::Revoked).collect(),
                Err(reason) => return vec![Reply::Error(reason)],
            },
            Request::Refresh(which) => admin.refresh(which).await.into_iter().map(Reply::Refreshed).collect(),
        };
        replies.push(Reply::End);
        replies
    });
    answered.await.unwrap_or_else(|_| {
        let waited = ANSWER_DEADLINE.as_secs();
        vec![Reply::Error(format!("no answer within {waited} s; `secretfs status` tells what is waited for"))]
    })
}

async fn reply(stream: &mut (impl AsyncWrite + Unpin), replies: &[Reply]) -> io::Result<()> {
    timeout(REPLY_DEADLINE, async {
        for reply in replies {
            write_line(stream, reply).await?;
        }
        stream.shutdown().await
    })
    .await?
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;
    use tokio::task::JoinHandle;

    use super::*;
    use crate::admin::client::{self, refresh, sockets, status, waiting};
    use crate::admin::{ObjectStatus, Refreshed, Revoked, VolumeStatus, WaitingStatus, Which, samples};

    struct OneVolume;

    #[async_trait::async_trait]
    impl Admin for OneVolume {
        async fn status(&self) -> Vec<VolumeStatus> {
            vec![volume()]
        }

        async fn waiting(&self) -> Vec<WaitingStatus> {
            vec![samples::refused()]
        }

        async fn refresh(&self, which: &Which) -> Vec<Refreshed> {
            let changed = vec![format!("{which:?}")];
            vec![Refreshed { volume: "csi-1".to_owned(), target: "/t".to_owned(), changed, error: None }]
        }

        async fn revoked(&self) -> Result<Vec<Revoked>, String> {
            Ok(Vec::new())
        }
    }

    /// A volume whose status has half a megabyte.
    fn volume() -> VolumeStatus {
        let mut volume = samples::ailing();
        let object = volume.objects.remove(0);
        let long = |number: usize| ObjectStatus {
            name: format!("{number:0>200}"),
            path: format!("{number:0>200}"),
            ..object.clone()
        };
        volume.objects = (0..1000).map(long).collect();
        volume
    }

    struct Running {
        directory: tempfile::TempDir,
        path: PathBuf,
        shutdown: CancellationToken,
        server: JoinHandle<()>,
    }

    fn running() -> Running {
        serving(OneVolume)
    }

    fn serving(admin: impl Admin + 'static) -> Running {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("admin/node.sock");
        let shutdown = CancellationToken::new();
        let socket = AdminSocket::bind(&path).unwrap();
        let server = tokio::spawn(socket.serve(Arc::new(admin), shutdown.clone()));
        Running { directory, path, shutdown, server }
    }

    impl Running {
        async fn stop(self) -> tempfile::TempDir {
            self.shutdown.cancel();
            timeout(Duration::from_secs(20), self.server).await.unwrap().unwrap();
            self.directory
        }
    }

    #[tokio::test]
    async fn a_volume_of_a_thousand_objects_arrives_whole() {
        let running = running();

        let volumes = status(&running.path).await.unwrap();

        assert_eq!(volumes, [volume()]);
        running.stop().await;
    }

    #[tokio::test]
    async fn what_is_not_mounted_is_told_with_the_reason() {
        let running = running();

        let waiting = waiting(&running.path).await.unwrap();

        assert_eq!(waiting, [samples::refused()]);
        running.stop().await;
    }

    #[tokio::test]
    async fn a_refresh_is_for_the_volumes_that_were_named() {
        let running = running();
        let class = Which::Class { namespace: "shop".to_owned(), name: "db".to_owned() };

        let refreshed = refresh(&running.path, class.clone()).await.unwrap();

        assert_eq!(refreshed[0].changed, [format!("{class:?}")]);
        running.stop().await;
    }

    /// An admin whose refreshes never end.
    struct Hangs;

    #[async_trait::async_trait]
    impl Admin for Hangs {
        async fn status(&self) -> Vec<VolumeStatus> {
            vec![volume()]
        }

        async fn waiting(&self) -> Vec<WaitingStatus> {
            Vec::new()
        }

        async fn refresh(&self, _which: &Which) -> Vec<Refreshed> {
            std::future::pending().await
        }

        async fn revoked(&self) -> Result<Vec<Revoked>, String> {
            Ok(Vec::new())
        }
    }

    #[tokio::test]
    async fn however_many_refreshes_are_waited_for_the_process_answers_others_and_they_are_bounded() {
        let running = serving(Hangs);
        let mut refreshes = JoinSet::new();
        for _ in 0..=MOST_REFRESHES {
            let path = running.path.clone();
            refreshes.spawn(async move { refresh(&path, Which::All).await });
        }

        let refused = refreshes.join_next().await.unwrap().unwrap().unwrap_err();
        let told = status(&running.path).await;

        assert!(refused.to_string().contains("refreshes are waited for already"), "{refused}");
        assert!(told.is_ok(), "{told:?}");
        refreshes.shutdown().await;
        running.stop().await;
    }

    /// The process accepts a refresh and then answers nobody any more.
    #[tokio::test(start_paused = true)]
    async fn a_process_that_stops_answering_during_a_refresh_is_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("node.sock");
        let _stopped = UnixListener::bind(&path).unwrap();
        let begun = tokio::time::Instant::now();

        let silent = refresh(&path, Which::All).await.unwrap_err();

        assert!(matches!(silent, client::Error::Silent { .. }), "{silent}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn what_is_no_request_is_answered_with_the_reason() {
        let running = running();

        let mut stream = UnixStream::connect(&running.path).await.unwrap();
        stream.write_all(b"{\"reboot\":1}\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();

        assert!(answer.starts_with("{\"error\":\"the request was not understood"), "{answer}");
        running.stop().await;
    }

    #[tokio::test]
    async fn a_line_without_end_is_not_read_without_end() {
        let running = running();

        let mut stream = UnixStream::connect(&running.path).await.unwrap();
        // The server stops reading at 1 MiB, so the rest may be written to a closed socket.
        let _ = stream.write_all(&vec![b'x'; 2 * 1024 * 1024]).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;

        assert!(status(&running.path).await.is_ok());
        running.stop().await;
    }

    #[tokio::test]
    async fn the_socket_is_its_owners_alone_and_goes_with_the_process() {
        let running = running();
        let path = running.path.clone();

        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        let directory_mode = fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777;
        let found = sockets(path.parent().unwrap()).unwrap();
        let _directory = running.stop().await;

        assert_eq!((mode, directory_mode), (0o600, 0o700));
        assert_eq!(found, std::slice::from_ref(&path));
        assert!(!path.exists());
        assert!(status(&path).await.unwrap_err().is_nobody());
    }

    #[tokio::test]
    async fn a_successors_socket_survives_the_end_of_its_predecessor() {
        let first = running();
        let path = first.path.clone();
        let successor = AdminSocket::bind(&path).unwrap();

        let _directory = first.stop().await;
        let shutdown = CancellationToken::new();
        let server = tokio::spawn(successor.serve(Arc::new(OneVolume), shutdown.clone()));

        assert_eq!(status(&path).await.unwrap().len(), 1);
        shutdown.cancel();
        timeout(Duration::from_secs(20), server).await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn silent_connections_make_room_after_a_while() {
        let running = running();
        let mut silent = Vec::new();
        for _ in 0..MOST_CONNECTIONS {
            silent.push(UnixStream::connect(&running.path).await.unwrap());
        }

        let volumes = status(&running.path).await;

        assert!(volumes.is_ok(), "{volumes:?}");
        running.stop().await;
    }
}
