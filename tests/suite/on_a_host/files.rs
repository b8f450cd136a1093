use std::fs;
use std::os::unix::fs::MetadataExt as _;

use rustix::process::Signal;
use testing::in_private_mounts;

use super::Host;
use crate::support::store_class;

/// Mode, owner and group.
type Look = (u32, u32, u32);

/// Flags, and the looks of the root directory, a file, and a file with a mode of its own.
type Case = (&'static [&'static str], [Look; 3]);

fn look(host: &Host, name: &str) -> Look {
    let metadata = fs::metadata(host.mount_point().join(name)).unwrap();
    (metadata.mode() & 0o7777, metadata.uid(), metadata.gid())
}

#[test]
fn on_a_host_files_are_their_owners_alone_unless_somebody_says_otherwise() {
    in_private_mounts(|| {
        let host = Host::new();
        let class = store_class(&[
            "objectName: token, item: api, key: token",
            "objectName: open, item: api, key: token, filePermission: 0444",
        ]);
        host.class("app.yaml", &class);
        let cases: [Case; 4] = [
            (&[], [(0o700, 0, 0), (0o400, 0, 0), (0o444, 0, 0)]),
            (&["--user", "nobody"], [(0o700, 65534, 0), (0o400, 65534, 0), (0o444, 65534, 0)]),
            (&["--group", "nogroup"], [(0o750, 0, 65534), (0o440, 0, 65534), (0o444, 0, 65534)]),
            (&["--user", "7", "--group", "8"], [(0o750, 7, 8), (0o440, 7, 8), (0o444, 7, 8)]),
        ];

        for (flags, expected) in cases {
            let mut mounting = host.mounted(flags);
            let seen = ["", "token", "open"].map(|name| look(&host, name));
            mounting.stopped_by(Signal::TERM);

            assert_eq!(seen, expected, "{flags:?}");
        }
    });
}

#[test]
fn a_user_that_does_not_exist_is_typed_wrong() {
    let host = Host::new();

    let told = host.mount("app.yaml", &["--user", "nobody-of-that-name"]);

    assert_eq!(told.code, Some(2), "{told:?}");
    assert!(told.err.contains("write its number"), "{told:?}");
}

crate::modes::again_in_mode_fuse! {
    on_a_host_files_are_their_owners_alone_unless_somebody_says_otherwise,
    a_user_that_does_not_exist_is_typed_wrong,
}
