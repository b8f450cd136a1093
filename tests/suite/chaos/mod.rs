//! A node with eight tenants in random order, half of them hostile. The others must lose nothing, and nothing may be
//! left.
//!
//! `testing/counts` says for how long. `SECRETFS_CHAOS_SEED` repeats the order of an earlier run.

mod hostile;
mod tenant;
mod watch;

use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use futures::future::join_all;
use serde_json::json;
use testing::{Issuer, OpenBao, RunningNode, count};

use crate::embedded::Store;
use hostile::Hostile;
use tenant::{Healthy, Kept};
use watch::{Footprint, Limits};

const SECRETFS: &str = env!("CARGO_BIN_EXE_secretfs");
/// How long calls of hostile tenants may take to end, and how long memory and files may take to be freed.
const SETTLE: Duration = Duration::from_secs(150);

/// The parts that all tenants share.
pub(super) struct World {
    node: RunningNode,
    bao: OpenBao,
    issuer: Issuer,
    store: Store,
}

impl World {
    async fn start() -> Self {
        let (bao, issuer, store) = (OpenBao::start(), Issuer::start(), Store::init());
        bao.mount_kv2("secret");
        bao.auth_kubernetes("kubernetes", &issuer);
        bao.policy("tenants", &[("secret/data/*", &["read"])]);
        bao.write(
            "auth/kubernetes/role/tenant",
            &json!({
                "bound_service_account_names": "*", "bound_service_account_namespaces": "*",
                "audience": "vault", "token_policies": "tenants", "token_ttl": "1h",
            }),
        );
        let mut node = RunningNode::prepare(SECRETFS, &["--store", store.path()]);
        node.use_mounter();
        node.log_level("warn,secretfs::commands::node=info");
        node.start_node().await;
        Self { node, bao, issuer, store }
    }
}

fn seed() -> Option<u64> {
    let told = std::env::var("SECRETFS_CHAOS_SEED").ok();
    told.map(|text| text.parse().expect("SECRETFS_CHAOS_SEED is a number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_hostile_tenants_cost_four_others_nothing_and_leave_nothing() {
    let seconds = count("CHAOS_SECONDS") as u64;
    let seed = seed().unwrap_or_else(|| fastrand::u64(..));
    println!("SECRETFS_CHAOS_SEED={seed}, {seconds} seconds");
    let mut seeds = Rng::with_seed(seed);
    let world = Arc::new(World::start().await);
    let before = Footprint::of(&world.node).await;
    let until = Instant::now() + Duration::from_secs(seconds);

    let healthy = Kept::ALL.map(|kept| Healthy::new(&world, kept, seeds.fork()));
    let hostile = Hostile::all().map(|tenant| tenant.run(Arc::clone(&world), seeds.fork(), until));
    let limits = tokio::spawn(Limits::keep(Arc::clone(&world), until));
    let healthy = healthy.map(|tenant| tokio::spawn(tenant.run(until)));
    let hostile = tokio::spawn(join_all(hostile));
    let told = join_all(healthy).await;
    let attacks: u64 = hostile.await.unwrap().into_iter().sum();
    let limits = limits.await.unwrap();

    for told in told {
        let told = told.unwrap();
        println!("{told}");
        assert!(told.publishes >= 1 && told.rotations >= 1, "{told}");
    }
    println!("hostile calls: {attacks}; {limits}");
    assert!(attacks >= 4, "{attacks}");
    watch::all_is_given_back(&world.node, &before, SETTLE).await;
}
