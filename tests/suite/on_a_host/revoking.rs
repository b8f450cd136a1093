//! Orders to take secrets back on a host without an API server.

use super::*;

/// The words for `secretfs revoke --here` of everything of the class.
const EVERYTHING: [&str; 6] = ["revoke", "--here", "--class", "app", "leak", "--reason=it leaked"];

#[test]
fn what_is_revoked_on_a_host_goes_from_a_running_mount_and_stays_away_through_restarts() {
    testing::in_private_mounts(|| {
        let host = Host::new();
        let mut mounting = host.mounted(&[]);

        let told = host.run(&["revoke", "--here", "--object", "token", "leak"]);
        assert_eq!(told.code, Some(0), "{}", told.err);
        assert!(
            told.out.contains("leak holds on this host until `secretfs unrevoke --here leak`"),
            "{}",
            told.out
        );
        assert!(told.out.contains("1 file taken back: token"), "{}", told.out);
        assert_eq!((host.read("token"), host.read("below/it").as_deref()), (None, Some("t1")));
        mounting.signal(Signal::TERM);
        assert!(mounting.ended().0.success());

        let refused = host.mount("app.yaml", &["--once"]);
        assert!(refused.err.contains("revoked by revocation leak of this host"), "{}", refused.err);
        assert_eq!(host.run(&["unrevoke", "--here", "leak"]).code, Some(0));
        let mut mounting = host.mounted(&[]);
        assert_eq!(host.read("token").as_deref(), Some("t1"));
        mounting.signal(Signal::TERM);
        mounting.ended();
    });
}

#[test]
fn an_order_of_which_no_command_told_a_process_is_followed_too() {
    testing::in_private_mounts(|| {
        let host = Host::new();
        let mut mounting = host.mounted(&[]);
        let mut revoke = host.secretfs(&EVERYTHING);
        revoke.env("SECRETFS_ADMIN_SOCKET", host.at("nowhere"));
        assert!(revoke.status().unwrap().success());

        until("the files go", || host.read("token").is_none() && host.read("below/it").is_none());
        let told = host.run(&["unrevoke", "--here", "other"]);
        assert!(told.err.contains("there are leak (class app)"), "{}", told.err);
        assert_eq!(host.run(&["unrevoke", "--here", "leak"]).code, Some(0));
        until("the files come back", || host.read("token").as_deref() == Some("t1"));
        mounting.signal(Signal::TERM);
        mounting.ended();
    });
}

#[test]
fn orders_that_others_could_have_written_start_no_mount() {
    testing::in_private_mounts(|| {
        let host = Host::new();
        assert_eq!(host.run(&EVERYTHING).code, Some(0));
        fs::set_permissions(host.orders(), fs::Permissions::from_mode(0o666)).unwrap();

        let refused = host.mount("app.yaml", &["--once"]);

        assert!(refused.err.contains("others can write it"), "{}", refused.err);
        assert!(host.mounts().is_empty());
    });
}

crate::modes::again_in_mode_fuse! {
    an_order_of_which_no_command_told_a_process_is_followed_too,
}
