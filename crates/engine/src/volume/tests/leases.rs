//! Logins and leases of one volume, from their beginning to their end.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_lease_is_renewed_at_two_thirds_and_its_login_ended_at_unpublish() {
    let node = Node::leasing().await;
    assert_eq!(node.mounter.blobs.lock().unwrap().len(), 1, "what ends the login is kept outside");

    sleep(LEASE * 5).await;
    assert_eq!(node.store.reads(), 1);
    assert!(node.store.0.lock().unwrap().renewed >= 6);

    node.unpublish("v").await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(node.store.0.lock().unwrap().revoked, ["login-1"]);
    assert!(node.mounter.blobs.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn near_its_longest_life_a_lease_is_issued_again_and_the_old_login_ends_later() {
    let node = Node::leasing().await;

    node.store.0.lock().unwrap().grants = Some(Duration::from_secs(60));
    node.store.say("creds", Say::Leased("u2", lease("l2")));
    node.file_becomes("creds", Some("u2")).await;
    assert!(node.store.0.lock().unwrap().revoked.is_empty(), "who just read the old one may still log in");

    sleep(LEASE).await;
    assert_eq!(node.store.0.lock().unwrap().revoked.first().map(String::as_str), Some("login-1"));
}

#[tokio::test(start_paused = true)]
async fn volumes_never_share_a_lease_or_the_login_behind_it() {
    let node = Node::start();
    node.class("creds,a", |_| {});
    node.store.say("creds", Say::Leased("u", lease("l")));
    node.store.say("a", Say::Value("1"));
    let (v, w) = tokio::join!(node.publish("v"), node.publish("w"));
    v.unwrap();
    w.unwrap();
    assert_eq!(node.mounter.blobs.lock().unwrap().len(), 2);

    node.unpublish("v").await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(node.store.0.lock().unwrap().revoked.len(), 1);
    assert_eq!(node.mounter.blobs.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_shared_login_through_which_a_lease_was_read_ends_when_the_others_have_finished() {
    let node = Node::start();
    node.class("a", |_| {});
    node.store.say("a", Say::Value("1"));
    node.store.say("creds", Say::Leased("u", lease("l")));
    node.publish("v").await.unwrap();
    node.publish("w").await.unwrap();
    let revoked = || node.store.0.lock().unwrap().revoked.clone();

    node.class("a,creds", |_| {});
    sleep(Duration::from_secs(1)).await;

    assert_eq!(node.file("creds").as_deref(), Some("u"));
    assert_eq!(node.mounter.blobs.lock().unwrap().len(), 3, "one each, and the one that both had");
    assert_eq!(revoked(), [""; 0]);
    sleep(Duration::from_secs(15)).await;
    assert_eq!(revoked(), ["login-1"]);
    assert_eq!(node.mounter.blobs.lock().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_login_that_cannot_be_ended_at_unpublish_is_ended_when_the_store_is_back() {
    let node = Node::leasing().await;

    node.store.0.lock().unwrap().revoke_fails = true;
    node.unpublish("v").await;
    assert!(node.mode.files("/v").is_none());
    sleep(Duration::from_secs(600)).await;
    node.store.0.lock().unwrap().revoke_fails = false;
    sleep(Duration::from_secs(120)).await;
    assert_eq!(node.store.0.lock().unwrap().revoked, ["login-1"]);
    let told = node.metrics.exposition().unwrap();
    let tries = |outcome: &str| {
        let ended = |line: &&str| {
            line.starts_with("secretfs_lease_ends_total") && line.contains(&format!("outcome=\"{outcome}\""))
        };
        told.lines().find(ended).map(|line| line.rsplit(' ').next().unwrap().parse::<u32>().unwrap())
    };
    assert_eq!(tries("ok"), Some(1), "{told}");
    assert!(tries("unavailable").is_some_and(|tries| tries > 5), "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_mounter_that_lost_what_it_kept_is_given_it_again() {
    let node = Node::leasing().await;
    let before = std::mem::take(&mut *node.mounter.blobs.lock().unwrap());

    node.volumes.parts().revocations.keep_again().unwrap();
    assert_eq!(*node.mounter.blobs.lock().unwrap(), before);

    node.unpublish("v").await;
    sleep(Duration::from_secs(1)).await;
    node.volumes.parts().revocations.keep_again().unwrap();
    assert!(node.mounter.blobs.lock().unwrap().is_empty(), "what was ended is not kept again");
}
