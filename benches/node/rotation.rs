//! From a change in the store to the last volume that shows it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use secretfs::admin::{Which, client};
use testing::PodVolume;

use crate::measure::{Samples, ms, timed};
use crate::report::{Line, Unit};
use crate::world::{Bench, FILES, IN_FLIGHT, VOLUMES, World, asked, paths, value};

/// Rounds of which the median counts.
const ROUNDS: usize = 3;
/// Longest wait for a round.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pause before a round. What a volume showed before is kept for a second and then removed: no round waits for what
/// the one before it left to do.
const SETTLED: Duration = Duration::from_millis(2500);

pub(crate) async fn many_identities(world: &World) -> Vec<Line> {
    let (line, reads) = polled(world, "different identities", "ten-many").await;
    let (mut bare, paths, token) = (world.bare().await, paths(1), world.token("floor"));
    let mut floor = Samples::default();
    for _ in 0..ROUNDS {
        floor.add(timed(bare.only_read(asked(&token, &paths), VOLUMES * FILES)).await.1);
    }
    let line = line.peer("40 s, 2,000 reads").at_most(1000.0).floor(floor.median());
    vec![line.more("floor: 2,000 reads of the store, 16 in flight"), reads]
}

pub(crate) async fn one_identity(world: &World) -> Vec<Line> {
    let (line, reads) = polled(world, "one identity", "ten-one").await;
    vec![line.peer("40 s").at_most(150.0), reads.at_most(10.0)]
}

/// From the order to refresh to the last volume.
async fn polled(world: &World, what: &str, class: &str) -> (Line, Line) {
    let bench = world.node("1h").await;
    let pods = world.pods("rotate", VOLUMES, class);
    bench.publish_all(&pods, IN_FLIGHT).await;
    let (mut last, mut reads) = (Samples::default(), 0);
    for round in 0..ROUNDS {
        tokio::time::sleep(SETTLED).await;
        let version = value(round + 2);
        world.put(round + 2);
        let (before, watch) = (world.mark(), Watch::new(&bench, &pods));
        let started = Instant::now();
        let order = tokio::spawn(refresh_all(bench.node.path("admin/node.sock")));
        last.extend(watch.until_all_changed(started).await.last().copied());
        assert_eq!(order.await.expect("the order"), VOLUMES);
        reads = reads.max(world.calls_since(before).reads);
        bench.verify(&pods, FILES, &version);
    }
    world.put(1);
    let line = Line::of(&format!("rotation of 200 volumes × 10, polled, {what}"), &last)
        .more("from the order to refresh to the last volume");
    let reads = Line::number(&format!("the same, reads, {what}"), Unit::Calls, reads as f64);
    (line, reads)
}

/// Orders the node at this admin socket to read again for every volume, and waits until it did. How many there are.
pub(crate) async fn refresh_all(socket: PathBuf) -> usize {
    let refreshed = client::refresh(&socket, Which::All).await.expect("an answer");
    let errors: Vec<_> = refreshed.iter().filter_map(|volume| volume.error.as_ref()).collect();
    assert!(errors.is_empty(), "{errors:?}");
    refreshed.len()
}

/// From the acknowledged put to the last volume.
pub(crate) async fn pushed(world: &World) -> Vec<Line> {
    let bench = world.node("1h").await;
    let pods = world.pods("pushed", VOLUMES, "ten-embedded");
    bench.publish_all(&pods, IN_FLIGHT).await;
    let (mut last, mut first, mut putting) = (Samples::default(), Samples::default(), Samples::default());
    for round in 0..ROUNDS + 2 {
        tokio::time::sleep(SETTLED).await;
        let watch = Watch::new(&bench, &pods);
        let started = Instant::now();
        world.put_embedded(round + 2);
        putting.add(started.elapsed());
        // From the beginning of the put, for the volumes change while it still returns.
        let seen = watch.until_all_changed(started).await;
        first.extend(seen.first().copied());
        last.extend(seen.last().copied());
        bench.verify(&pods, FILES, &value(round + 2));
    }
    world.put_embedded(1);
    let line = Line::of("change to the last of 200 volumes × 10, pushed (embedded store)", &last);
    let (first, putting) = (first.median(), putting.median());
    vec![
        line.peer("39.6 s; on a kubelet 0–90 s and more").at_most(100.0).more(format!(
            "from the beginning of the put, which takes {putting:.1}; first volume {first:.1}"
        )),
    ]
}

/// Volumes that are looked at until each shows another version.
struct Watch(Vec<(PathBuf, PathBuf)>);

impl Watch {
    fn new(bench: &Bench<'_>, pods: &[PodVolume]) -> Self {
        let data = pods.iter().map(|pod| bench.node.target(pod).join("..data"));
        Self(data.map(|link| (link.clone(), std::fs::read_link(link).expect("..data"))).collect())
    }

    /// When each volume had changed, after `since`, in order.
    async fn until_all_changed(mut self, since: Instant) -> Vec<Duration> {
        let mut seen = Vec::with_capacity(self.0.len());
        while !self.0.is_empty() {
            self.0.retain(|(link, before)| {
                let changed = std::fs::read_link(link).is_ok_and(|now| now != *before);
                if changed {
                    seen.push(since.elapsed());
                }
                !changed
            });
            assert!(since.elapsed() < PATIENCE, "{} volumes have not changed", self.0.len());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        seen
    }
}

/// What a republish waits while the store hangs and every volume is reading.
pub(crate) async fn hanging(world: &World) -> Vec<Line> {
    let bench = world.node("1s").await;
    let pods = world.pods("hang", 50, "ten-many");
    bench.publish_all(&pods, IN_FLIGHT).await;
    world.bao.freeze();
    // Until every reading is due, and being made.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut republished = Samples::default();
    for request in std::iter::repeat_n(bench.requests(&pods), 10).flatten() {
        republished.add(bench.publish(request).await);
    }
    let unpublished = ms(bench.unpublish(&pods[0]).await);
    world.bao.thaw();
    let worst = Line::number("store hangs: the longest republish", Unit::Ms, republished.most());
    vec![worst.peer("60–120 s").at_most(5.0).more(format!(
        "median {:.2} of 500, while 50 volumes read; an unpublish {unpublished:.2}",
        republished.median()
    ))]
}
