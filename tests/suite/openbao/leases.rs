//! PostgreSQL logins from OpenBao: renewed, replaced in time, and ended with their volume.

use std::time::{Duration, Instant};

use testing::{PodVolume, Postgres, RunningNode};

use super::support::{Class, SECRETFS, Shop, until};

pub(super) const LOGIN: &str = "
- {objectName: user, secretPath: database/creds/shop, secretKey: username, file: false}
- {objectName: password, secretPath: database/creds/shop, secretKey: password, file: false}";
pub(super) const FILES: &str =
    "[{path: db.env, format: dotenv, from: {DB_USER: user, DB_PASSWORD: password}}]";

/// A class `app` that composes `db.env` from one login.
fn class(shop: &Shop) -> Class {
    shop.class("app", LOGIN).with("secretfs.dev/files", FILES)
}

/// A node with the class and a mounter.
async fn node_with_mounter(shop: &Shop) -> RunningNode {
    let mut node = RunningNode::prepare(SECRETFS, &[]);
    class(shop).serve(&node);
    node.start_mounter();
    node.flag("--mounter", node.path("mounter.sock").to_str().unwrap());
    node.start_node().await;
    node
}

/// User and password in `db.env` of `pod`.
fn login(node: &RunningNode, pod: &PodVolume) -> (String, String) {
    let text = node.text(pod, "db.env").unwrap();
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.trim_matches('\'').to_owned()
    };
    (value("DB_USER="), value("DB_PASSWORD="))
}

/// The number of PostgreSQL logins that OpenBao made and that still exist.
pub(super) fn logins(postgres: &Postgres) -> usize {
    postgres.query("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'v-%'").parse().unwrap()
}

async fn until_no_login_is_left(postgres: &Postgres, node: &RunningNode) {
    let started = Instant::now();
    until(|| logins(postgres) == 0, || format!("{} logins are left\n{}", logins(postgres), node.log())).await;
    println!("no login was left after {:?}", started.elapsed());
}

/// The users in `db.env` during `time`. Each of them could log in whenever the file named it.
async fn users_that_got_in(
    node: &RunningNode,
    pod: &PodVolume,
    postgres: &Postgres,
    time: Duration,
) -> Vec<(String, Duration)> {
    let started = Instant::now();
    let mut users: Vec<(String, Duration)> = Vec::new();
    let mut checks = 0;
    while started.elapsed() < time {
        let (user, password) = login(node, pod);
        assert!(postgres.can_login(&user, &password), "{user} after {:?}\n{}", started.elapsed(), node.log());
        checks += 1;
        match users.last_mut().filter(|(last, _)| *last == user) {
            Some((_, until)) => *until = started.elapsed(),
            None => users.push((user, started.elapsed())),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!("{checks} logins went well; each user and when it was last named: {users:?}");
    users
}

#[tokio::test]
async fn a_login_is_prolonged_and_replaced_without_a_moment_when_it_fails_and_gone_after_unpublish() {
    let (shop, postgres) = (Shop::start(), Postgres::start());
    // Renewed after 8 s. After 16 s the store would grant too little time, and the old login has 4 s left.
    shop.database(&postgres, "12s", "22s");
    let node = super::support::node(&[class(&shop)]).await;
    let pod = shop.pod("web-0", "app");
    node.publish(&pod).await.unwrap();

    let users = users_that_got_in(&node, &pod, &postgres, Duration::from_secs(26)).await;

    assert!(users[0].1 > Duration::from_secs(12), "the first lasted longer than its ttl: {users:?}");
    assert!(users.len() >= 2, "and was replaced before its longest life was over: {users:?}");
    node.unpublish(&pod).await.unwrap();
    until_no_login_is_left(&postgres, &node).await;
    let renewed = shop.bao.requests("update", "sys/leases/renew");
    assert!(renewed >= 1, "{renewed} renewals");
}

#[tokio::test]
async fn a_login_is_gone_after_unpublish_also_if_node_was_killed_in_between() {
    let (shop, postgres) = (Shop::start(), Postgres::start());
    shop.database(&postgres, "1h", "2h");
    let mut node = node_with_mounter(&shop).await;
    let (pod, other) = (shop.pod("web-0", "app"), shop.pod("web-1", "app"));
    node.publish(&pod).await.unwrap();
    node.publish(&other).await.unwrap();
    let before = login(&node, &pod);

    node.restart_node().await;

    assert_eq!(login(&node, &pod), before, "a restart changes nothing that the pod reads");
    assert!(postgres.can_login(&before.0, &before.1));
    node.unpublish(&other).await.unwrap();
    until(|| logins(&postgres) == 1, || node.log()).await;
    assert!(postgres.can_login(&before.0, &before.1), "only the other's login ended");
    node.kill_node();
    node.start_node().await;
    node.unpublish(&pod).await.unwrap();
    until_no_login_is_left(&postgres, &node).await;
}

#[tokio::test]
async fn a_volume_that_outlived_its_node_gets_a_login_of_the_new_process_when_kubelet_brings_a_token() {
    let (shop, postgres) = (Shop::start(), Postgres::start());
    shop.database(&postgres, "1h", "2h");
    let mut node = node_with_mounter(&shop).await;
    let pod = shop.pod("web-0", "app");
    node.publish(&pod).await.unwrap();
    let before = login(&node, &pod);
    node.restart_node().await;

    node.publish(&pod).await.unwrap();

    until(|| login(&node, &pod) != before, || node.log()).await;
    let (user, password) = login(&node, &pod);
    assert!(postgres.can_login(&user, &password));
    assert!(postgres.can_login(&before.0, &before.1), "the old one ends later: somebody may just use it");
    node.unpublish(&pod).await.unwrap();
    until_no_login_is_left(&postgres, &node).await;
}

#[tokio::test]
async fn a_login_that_cannot_be_ended_at_unpublish_is_ended_when_openbao_is_back_even_by_another_process() {
    let (mut shop, postgres) = (Shop::durable(), Postgres::start());
    shop.database(&postgres, "1h", "2h");
    let mut node = node_with_mounter(&shop).await;
    let (pod, other) = (shop.pod("web-0", "app"), shop.pod("web-1", "app"));
    node.publish(&pod).await.unwrap();
    node.publish(&other).await.unwrap();
    assert_eq!(logins(&postgres), 2);

    shop.bao.stop();
    node.unpublish(&pod).await.unwrap();
    node.unpublish(&other).await.unwrap();
    assert!(node.left_behind(&pod).is_empty() && node.left_behind(&other).is_empty());
    node.restart_node().await;
    shop.bao.start_again();

    until_no_login_is_left(&postgres, &node).await;
}

#[tokio::test]
async fn two_volumes_of_one_service_account_have_a_login_each() {
    let (shop, postgres) = (Shop::start(), Postgres::start());
    shop.database(&postgres, "1h", "2h");
    let node = super::support::node(&[class(&shop)]).await;
    let pods = [shop.pod("web-0", "app"), shop.pod("web-1", "app")];

    super::support::publish_all(&node, &pods).await;

    let (mine, theirs) = (login(&node, &pods[0]), login(&node, &pods[1]));
    assert_ne!(mine.0, theirs.0);
    node.unpublish(&pods[1]).await.unwrap();
    until(|| logins(&postgres) == 1, || node.log()).await;
    assert!(postgres.can_login(&mine.0, &mine.1));
}

crate::modes::again_in_mode_fuse! {
    a_login_is_prolonged_and_replaced_without_a_moment_when_it_fails_and_gone_after_unpublish,
    a_login_is_gone_after_unpublish_also_if_node_was_killed_in_between,
    a_volume_that_outlived_its_node_gets_a_login_of_the_new_process_when_kubelet_brings_a_token,
    a_login_that_cannot_be_ended_at_unpublish_is_ended_when_openbao_is_back_even_by_another_process,
    two_volumes_of_one_service_account_have_a_login_each,
}
