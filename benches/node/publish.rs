//! Publishing, republishing and unpublishing.

use csi_proto::csi::GetPluginInfoRequest;

use crate::measure::{Samples, timed};
use crate::report::{Line, Unit};
use crate::world::{Bench, Calls, FILES, IN_FLIGHT, Identities, VOLUMES, World, asked, paths, value};

/// Volumes of a row that goes one at a time.
const ONE_BY_ONE: usize = 100;
/// Calls of ours, then of the floor, then again.
const BLOCK: usize = 10;
/// Volumes before the first that counts.
const WARM: usize = 5;

pub(crate) async fn one_secret(world: &World) -> Vec<Line> {
    vec![one_by_one(world, "publish, 1 secret", "one-many", 1).await.peer("21.5 ms").at_most(4.0)]
}

pub(crate) async fn ten_secrets(world: &World) -> Vec<Line> {
    vec![one_by_one(world, "publish, 10 secrets", "ten-many", FILES).await.peer("38 ms").at_most(8.0)]
}

/// A login and the reads for each volume; the floor does the same with bare calls, reads side by side.
async fn one_by_one(world: &World, what: &str, class: &str, files: usize) -> Line {
    let bench = world.node("1h").await;
    let (mut bare, paths) = (world.bare().await, paths(files));
    let warm = world.pods("warm", WARM, class);
    bench.publish_all(&warm, 1).await;
    let pods = world.pods("publish", ONE_BY_ONE, class);
    let tokens: Vec<_> = pods.iter().map(|pod| pod.tokens["vault"].clone()).collect();
    let (mut ours, mut floor, mut calls) = (Samples::default(), Samples::default(), Vec::new());
    for (pods, tokens) in pods.chunks(BLOCK).zip(tokens.chunks(BLOCK)) {
        let requests = bench.requests(pods);
        for token in tokens {
            let ((), store) = timed(bare.read(asked(token, &paths))).await;
            floor.add(store + world.kernel.volume(files).0);
        }
        let before = world.mark();
        for request in requests {
            ours.add(bench.publish(request).await);
        }
        calls.push(world.calls_since(before));
    }
    bench.verify(&pods, files, &value(1));
    Line::of(&format!("{what}, one at a time"), &ours)
        .floor(floor.median())
        .more(format!("floor p99 {:.2}", floor.p99()))
        .more(per_volume(&calls, ONE_BY_ONE))
}

fn per_volume(calls: &[Calls], volumes: usize) -> String {
    let logins: usize = calls.iter().map(|calls| calls.logins).sum();
    let reads: usize = calls.iter().map(|calls| calls.reads).sum();
    let each = |count: usize| crate::report::number(count as f64 / volumes as f64);
    format!("{} logins and {} reads a volume", each(logins), each(reads))
}

pub(crate) async fn many_identities(world: &World) -> Vec<Line> {
    let line = in_flight(world, "200 identities", "ten-many", Identities::Many).await;
    vec![line.peer("5.5/s, 54/s without its limiters").at_least(110.0)]
}

pub(crate) async fn one_identity(world: &World) -> Vec<Line> {
    let line = in_flight(world, "one identity", "ten-one", Identities::One).await;
    vec![line.peer("5.5/s, 54/s without its limiters").at_least(1000.0)]
}

/// 200 volumes of 10 secrets; the floor is the store alone with as many calls in flight, in turn with ours.
async fn in_flight(world: &World, what: &str, class: &str, identities: Identities) -> Line {
    let (mut rates, mut floors, mut calls, mut latencies) =
        (Samples::default(), Samples::default(), Vec::new(), Samples::default());
    for round in 0..3 {
        if identities == Identities::Many {
            let pods = world.pods(&format!("floor{round}"), VOLUMES, class);
            let tokens: Vec<_> = pods.iter().map(|pod| pod.tokens["vault"].clone()).collect();
            let (mut bare, paths) = (world.bare().await, paths(FILES));
            floors.add(timed(bare.read_all(asked("", &paths), &tokens)).await.1);
        }
        let bench = world.node("1h").await;
        let pods = world.pods(&format!("flight{round}"), VOLUMES, class);
        let before = world.mark();
        let (samples, took) = bench.publish_all(&pods, IN_FLIGHT).await;
        calls.push(world.calls_since(before));
        bench.verify(&pods, FILES, &value(1));
        rates.add(took);
        latencies = samples;
    }
    let rate = |samples: &Samples| VOLUMES as f64 * 1e3 / samples.median();
    let what = format!("publish, 10 secrets, 16 in flight, {what}");
    let line = Line::number(&what, Unit::PerSecond, rate(&rates))
        .more(format!("a publish: median {:.1} ms, p99 {:.1} ms", latencies.median(), latencies.p99()))
        .more(format!("{} for 200 volumes", calls[0]));
    if identities == Identities::Many {
        line.floor(rate(&floors)).more("floor: the store alone")
    } else {
        line
    }
}

/// Publishing what is read already: the store's time is nought.
pub(crate) async fn store_excluded(world: &World) -> Vec<Line> {
    let bench = world.node("1h").await;
    bench.publish_all(&world.pods("warm", WARM, "ten-one"), 1).await;
    let before = world.mark();
    let pods = world.pods("warmed", VOLUMES, "ten-one");
    let (mut ours, mut floor) = (Samples::default(), Samples::default());
    for pods in pods.chunks(BLOCK) {
        let requests = bench.requests(pods);
        floor.extend((0..BLOCK).map(|_| world.kernel.volume(FILES).0));
        for request in requests {
            ours.add(bench.publish(request).await);
        }
    }
    let one = Line::of("publish, store excluded, 10 files, one at a time", &ours)
        .peer("10 ms")
        .floor(floor.median())
        .at_most(2.0 * floor.median() + 0.5)
        .more(format!("floor p99 {:.2}", floor.p99()))
        .more(world.calls_since(before));
    vec![one, together(&bench, "publish, store excluded, 10 files", "ten-one").await]
}

async fn together(bench: &Bench<'_>, what: &str, class: &str) -> Line {
    let world = bench.world();
    let pods = world.pods("together", 2 * VOLUMES, class);
    let (mut ours, mut floor, mut took) = (Samples::default(), Samples::default(), 0.0);
    for pods in pods.chunks(VOLUMES) {
        floor.extend_with(world.kernel.volumes(IN_FLIGHT, VOLUMES / IN_FLIGHT, FILES));
        let (samples, all) = bench.publish_all(pods, IN_FLIGHT).await;
        took += all.as_secs_f64();
        ours.extend_with(samples);
    }
    let rate = pods.len() as f64 / took;
    Line::number(&format!("{what}, 16 in flight, p99"), Unit::Ms, ours.p99())
        .floor(floor.p99())
        .at_most(25.0)
        .more(format!("median {:.2}, floor's {:.2}, {rate:.0}/s", ours.median(), floor.median()))
}

/// The embedded store opens and decrypts ten values for the first volume of an identity.
pub(crate) async fn embedded(world: &World) -> Vec<Line> {
    let bench = world.node("1h").await;
    let pods = world.pods("embedded", ONE_BY_ONE, "ten-embedded");
    let (mut ours, mut floor) = (Samples::default(), Samples::default());
    for pods in pods.chunks(BLOCK) {
        let requests = bench.requests(pods);
        floor.extend((0..BLOCK).map(|_| world.kernel.volume(FILES).0));
        for (pod, request) in pods.iter().zip(requests) {
            ours.add(bench.publish(request).await);
            bench.verify(std::slice::from_ref(pod), FILES, &value(1));
            bench.unpublish(pod).await;
        }
    }
    vec![Line::of("publish, embedded store, 10 files, nothing held", &ours).floor(floor.median())]
}

pub(crate) async fn republish(world: &World) -> Vec<Line> {
    let bench = world.node("1h").await;
    let pods = world.pods("again", VOLUMES, "ten-many");
    bench.publish_all(&pods, IN_FLIGHT).await;
    let mut identity = bench.node.identity().await.expect("a connection");
    let before = world.mark();
    let (mut ours, mut floor) = (Samples::default(), Samples::default());
    for pods in std::iter::repeat_n(&pods, 5).flat_map(|pods| pods.chunks(BLOCK)) {
        for request in bench.requests(pods) {
            floor.add(timed(identity.get_plugin_info(GetPluginInfoRequest {})).await.1);
            ours.add(bench.publish(request).await);
        }
    }
    let calls = world.calls_since(before);
    let again: Vec<_> = std::iter::repeat_n(&pods, 5).flatten().cloned().collect();
    let (many, _) = bench.publish_all(&again, IN_FLIGHT).await;
    let median = Line::of("republish, nothing changed, 200 volumes, one at a time", &ours)
        .peer("38 ms alone, 200 ms in a round")
        .at_most(0.5)
        .floor(floor.median())
        .more("floor: GetPluginInfo on the same connection");
    let p99 = Line::number("republish, p99", Unit::Ms, ours.p99()).at_most(5.0).floor(floor.p99());
    let together = Line::of("republish, 16 in flight", &many);
    let calls = Line::number("republish, store calls", Unit::Calls, (calls.logins + calls.reads) as f64)
        .peer("10 for each")
        .at_most(0.0)
        .more("of 1,000");
    vec![median, p99, together, calls]
}

pub(crate) async fn unpublish(world: &World) -> Vec<Line> {
    let bench = world.node("1h").await;
    let pods = world.pods("away", VOLUMES, "ten-one");
    bench.publish_all(&pods, IN_FLIGHT).await;
    let (mut ours, mut floor) = (Samples::default(), Samples::default());
    for pods in pods.chunks(BLOCK) {
        floor.extend((0..BLOCK).map(|_| world.kernel.volume(FILES).1));
        ours.extend_with(bench.unpublish_all(pods).await);
    }
    let left = pods.iter().find(|pod| bench.node.target(pod).exists());
    assert!(left.is_none(), "everything is unmounted");
    let line = Line::of("unpublish, 10 files", &ours);
    vec![line.peer("4.7 ms").at_most(0.8).floor(floor.median()).more(format!("floor p99 {:.2}", floor.p99()))]
}
