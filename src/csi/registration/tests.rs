use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;

use csi_proto::registration::registration_client::RegistrationClient;
use csi_proto::registration::{InfoRequest, PluginInfo, RegistrationStatus};
use hyper_util::rt::TokioIo;
use mounter::{LocalMounter, Roots};
use tempfile::TempDir;
use tokio::net::UnixStream;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};

use super::keeper::Lost;
use super::*;

const DRIVER: &str = "csi.secretfs.dev";
const SOCKET: &str = "csi.secretfs.dev-0fbca7e2-reg.sock";
/// Much longer than any step here takes.
const PATIENCE: Duration = Duration::from_secs(30);

fn mounter_of(directory: &TempDir) -> Arc<dyn Mounter> {
    Arc::new(LocalMounter::new(Roots { sockets: vec![directory.path().to_owned()], ..Roots::default() }))
}

/// Kubelet's directory, and a driver that registers in it.
struct Node {
    directory: TempDir,
    running: Option<Running>,
    state: watch::Receiver<State>,
    shutdown: CancellationToken,
}

impl Node {
    /// A node with steps that may take as long as they like.
    fn patient() -> Self {
        Self::with(Patience { asked: PATIENCE, notified: PATIENCE, ..hasty() })
    }

    fn with(patience: Patience) -> Self {
        Self::within(TempDir::new().unwrap(), patience)
    }

    fn within(directory: TempDir, patience: Patience) -> Self {
        let mounter = mounter_of(&directory);
        Self::holding(directory, mounter, patience)
    }

    /// A node whose mounter an earlier process may have used.
    fn holding(directory: TempDir, mounter: Arc<dyn Mounter>, patience: Patience) -> Self {
        let registration = Registration {
            driver: DRIVER.to_owned(),
            endpoint: "/var/lib/kubelet/plugins/csi.secretfs.dev/csi.sock".to_owned(),
            directory: directory.path().to_owned(),
            boot_id: "0fbca7e2-3a3f-4c0e-9d3a-5f2f8f3b7c11".to_owned(),
            memory: directory.path().join("registered"),
            patience,
        };
        let shutdown = CancellationToken::new();
        let running = registration.start(mounter, shutdown.clone()).unwrap();
        let state = running.state();
        Self { directory, running: Some(running), state, shutdown }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join(SOCKET)
    }

    async fn reaches(&mut self, wanted: State) {
        let reached = timeout(PATIENCE, self.state.wait_for(|state| *state == wanted)).await;
        assert!(reached.is_ok(), "{wanted:?} was not reached");
    }

    /// Waits until the socket was given up and another one exists.
    async fn is_bound_again(&mut self) {
        self.reaches(State::Unbound).await;
        self.reaches(State::Bound).await;
    }

    fn stop(&mut self) {
        self.shutdown.cancel();
        self.running.take().into_iter().for_each(Running::join);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop();
    }
}

fn hasty() -> Patience {
    let moment = Duration::from_millis(20);
    Patience { asked: moment, notified: moment, look: moment, pause: (moment, moment) }
}

/// Kubelet's side of the socket at `path`.
struct Kubelet(RegistrationClient<Channel>);

impl Kubelet {
    async fn dial(path: &Path) -> Self {
        let path = path.to_owned();
        let connect = tower::service_fn(move |_| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        let channel = Endpoint::from_static("http://localhost").connect_with_connector(connect).await;
        Self(RegistrationClient::new(channel.unwrap()))
    }

    async fn asks(&mut self) -> PluginInfo {
        self.0.get_info(InfoRequest {}).await.unwrap().into_inner()
    }

    async fn notifies(&mut self, plugin_registered: bool, error: &str) {
        let status = RegistrationStatus { plugin_registered, error: error.to_owned() };
        self.0.notify_registration_status(status).await.unwrap();
    }
}

async fn register(node: &mut Node) {
    let mut kubelet = Kubelet::dial(&node.socket()).await;
    kubelet.asks().await;
    kubelet.notifies(true, "").await;
    node.reaches(State::Registered).await;
}

#[tokio::test]
async fn kubelet_is_told_who_we_are_on_a_socket_of_this_boot_that_only_root_may_use() {
    let mut node = Node::patient();
    node.reaches(State::Bound).await;

    let mut kubelet = Kubelet::dial(&node.socket()).await;
    let info = kubelet.asks().await;
    node.reaches(State::Asked).await;

    assert_eq!((info.r#type.as_str(), info.name.as_str()), ("CSIPlugin", DRIVER));
    assert_eq!(info.endpoint, "/var/lib/kubelet/plugins/csi.secretfs.dev/csi.sock");
    assert_eq!(info.supported_versions, ["1.0.0"]);
    assert_eq!(fs::metadata(node.socket()).unwrap().permissions().mode() & 0o777, 0o600);
    kubelet.notifies(true, "").await;
    node.reaches(State::Registered).await;
}

#[tokio::test]
async fn a_refused_registration_is_made_anew() {
    let mut node = Node::patient();
    node.reaches(State::Bound).await;

    let mut kubelet = Kubelet::dial(&node.socket()).await;
    kubelet.asks().await;
    kubelet.notifies(false, "NodeGetInfo: connection refused").await;

    node.is_bound_again().await;
    register(&mut node).await;
}

#[tokio::test]
async fn a_socket_that_kubelet_never_asks_at_is_made_anew() {
    let mut node = Node::with(Patience { notified: PATIENCE, ..hasty() });
    node.is_bound_again().await;
    node.is_bound_again().await;
}

#[tokio::test]
async fn a_kubelet_that_asks_and_never_says_what_became_of_it_gets_a_new_socket() {
    let mut node = Node::with(Patience { asked: PATIENCE, ..hasty() });
    node.reaches(State::Bound).await;

    Kubelet::dial(&node.socket()).await.asks().await;

    node.is_bound_again().await;
}

#[tokio::test]
async fn a_socket_that_was_deleted_is_there_again() {
    let mut node = Node::patient();
    node.reaches(State::Bound).await;
    register(&mut node).await;

    fs::remove_file(node.socket()).unwrap();

    node.is_bound_again().await;
    register(&mut node).await;
}

#[tokio::test]
async fn a_registered_driver_waits_for_nothing() {
    let mut node = Node::patient();
    node.reaches(State::Bound).await;
    register(&mut node).await;

    // A kubelet that restarts asks again on the same socket.
    register(&mut node).await;

    assert!(node.socket().exists());
}

#[tokio::test]
async fn a_socket_that_cannot_be_made_is_tried_again() {
    let directory = TempDir::new().unwrap();
    fs::create_dir(directory.path().join(SOCKET)).unwrap();
    let mut node = Node::within(directory, Patience { asked: PATIENCE, ..hasty() });

    fs::remove_dir(node.socket()).unwrap();

    node.reaches(State::Bound).await;
}

#[tokio::test]
async fn sockets_of_earlier_boots_go_and_those_of_others_stay() {
    let directory = TempDir::new().unwrap();
    let bind = |name: &str| drop(UnixListener::bind(directory.path().join(name)).unwrap());
    let (own, others) = (
        ["csi.secretfs.dev-reg.sock", "csi.secretfs.dev-deadbeef-reg.sock", SOCKET],
        ["csi.secretfs.dev-other-reg.sock", "csi.secretfs.dev.example-reg.sock", "x-reg.sock"],
    );
    own.iter().chain(&others).for_each(|name| bind(name));
    fs::write(directory.path().join("csi.secretfs.dev-00000000-reg.sock"), "no socket").unwrap();

    let mut node = Node::within(directory, Patience { asked: PATIENCE, ..hasty() });
    node.reaches(State::Bound).await;

    let left: BTreeSet<_> = fs::read_dir(node.directory.path())
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_socket())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    let expected: BTreeSet<_> = others.iter().chain([&SOCKET]).map(|name| (*name).to_owned()).collect();
    assert_eq!(left, expected);
}

#[tokio::test]
async fn the_socket_file_is_left_at_shutdown() {
    let mut node = Node::patient();
    node.reaches(State::Bound).await;

    node.stop();

    assert!(node.socket().exists(), "without it kubelet would take the driver from the node");
}

#[tokio::test]
async fn a_socket_that_kubelet_registered_is_left_alone_by_the_next_process_while_the_mounter_holds_it() {
    let directory = TempDir::new().unwrap();
    let mounter = mounter_of(&directory);
    let mut node = Node::holding(directory, Arc::clone(&mounter), Patience { notified: PATIENCE, ..hasty() });
    node.reaches(State::Bound).await;
    register(&mut node).await;
    let before = sockets::SocketFile::at(&node.socket(), &mounter).unwrap();
    node.stop();

    let directory = std::mem::replace(&mut node.directory, TempDir::new().unwrap());
    let mut next = Node::holding(directory, Arc::clone(&mounter), Patience { notified: PATIENCE, ..hasty() });
    next.reaches(State::Registered).await;

    assert!(sockets::SocketFile::at(&next.socket(), &mounter).unwrap() == before);
    // A kubelet that restarts asks on the same socket.
    register(&mut next).await;
}

#[tokio::test]
async fn a_socket_is_made_anew_where_kubelet_asked_and_did_not_say_what_became_of_it_before_the_process_ended()
 {
    let directory = TempDir::new().unwrap();
    let mounter = mounter_of(&directory);
    let mut node = Node::holding(directory, Arc::clone(&mounter), Patience { asked: PATIENCE, ..hasty() });
    node.reaches(State::Bound).await;
    register(&mut node).await;
    Kubelet::dial(&node.socket()).await.asks().await;
    node.reaches(State::Asked).await;
    node.stop();

    let directory = std::mem::replace(&mut node.directory, TempDir::new().unwrap());
    let mut next =
        Node::holding(directory, mounter, Patience { asked: PATIENCE, notified: PATIENCE, ..hasty() });

    next.reaches(State::Bound).await;
}

#[test]
fn pauses_grow_with_failures_up_to_their_bound_and_a_deleted_file_has_none() {
    let patience = Patience::default();
    let (shortest, longest) = patience.pause;
    for failures in 1..100 {
        let pause = patience.before_next(&Lost::Refused(String::new()), failures);
        let most = (shortest * 2_u32.saturating_pow(failures).min(64)).min(longest);
        assert!(pause >= shortest && pause <= most, "{failures}: {pause:?}");
    }
    assert_eq!(patience.before_next(&Lost::Removed, 9), Duration::ZERO);
}
