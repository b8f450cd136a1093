//! From the start of the process to its socket, to kubelet's registration, to the first volume.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use csi_proto::registration::registration_client::RegistrationClient;
use csi_proto::registration::{InfoRequest, RegistrationStatus};
use hyper_util::rt::TokioIo;
use testing::RunningNode;
use tokio::net::UnixStream;
use tonic::transport::{Endpoint, Uri};
use tower::service_fn;

use crate::measure::Samples;
use crate::report::Line;
use crate::world::World;

const RUNS: usize = 10;
/// Between two looks.
const LOOK: Duration = Duration::from_micros(200);

pub(crate) async fn start(world: &World) -> Vec<Line> {
    let (mut socket, mut registered, mut first) =
        (Samples::default(), Samples::default(), Samples::default());
    for run in 0..RUNS {
        let mut node = world.prepare("1h");
        node.register();
        let pod = world.pod("start", run, "ten-many");
        let started = Instant::now();
        node.spawn_node();
        let (published, told) = tokio::join!(first_volume(&node, &pod, started), kubelet(&node, started));
        socket.add(published.0);
        first.add(published.1);
        registered.add(told);
    }
    vec![
        Line::of("start to socket", &socket).peer("61 ms").at_most(50.0),
        Line::of("start to registered", &registered).peer("a sidecar's").at_most(1000.0),
        Line::of("start to first publish done, 10 secrets", &first).peer("223 ms").at_most(100.0),
    ]
}

/// When the socket takes connections, and when the first volume is published.
async fn first_volume(
    node: &RunningNode,
    pod: &testing::PodVolume,
    started: Instant,
) -> (Duration, Duration) {
    let path = node.path("csi.sock");
    drop(connected(&path).await);
    let bound = started.elapsed();
    node.publish(pod).await.unwrap_or_else(|status| panic!("{status}\n{}", node.log()));
    (bound, started.elapsed())
}

/// Looks for the registration socket, asks and tells as kubelet does, but without kubelet's pauses.
async fn kubelet(node: &RunningNode, started: Instant) -> Duration {
    let directory = node.path("kubelet/plugins_registry");
    let path = loop {
        match socket_in(&directory) {
            Some(path) => break path,
            None => tokio::time::sleep(LOOK).await,
        }
    };
    let connect = service_fn(move |_: Uri| {
        let path = path.clone();
        async move { Ok::<_, std::io::Error>(TokioIo::new(connected(&path).await)) }
    });
    let channel = Endpoint::from_static("http://localhost").connect_with_connector(connect).await;
    let mut client = RegistrationClient::new(channel.expect("the registration socket"));
    client.get_info(InfoRequest {}).await.expect("what the plugin is");
    let status = RegistrationStatus { plugin_registered: true, error: String::new() };
    client.notify_registration_status(status).await.expect("to tell");
    started.elapsed()
}

/// A connection to `path` as soon as somebody listens: the file is there a moment earlier.
async fn connected(path: &Path) -> UnixStream {
    loop {
        match UnixStream::connect(path).await {
            Ok(stream) => return stream,
            Err(_) => tokio::time::sleep(LOOK).await,
        }
    }
}

fn socket_in(directory: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(directory).ok()?;
    let mut paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.find(|path| path.extension().is_some_and(|extension| extension == "sock"))
}
