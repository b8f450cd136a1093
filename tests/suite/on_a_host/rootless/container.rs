//! As a container of a CI job runs it: in namespaces of its own, where the user is root.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use testing::in_private_mounts;

use super::{Laptop, environment};
use crate::support::Told;

/// What the jobs below do. An error ends them.
const TOOLS: &str = r#"
start() { "$BINARY" mount "$CLASS" "$TARGET" --rootless & process=$!; }
until_it_reads() {
    tries=0
    until [ "$(cat "$TARGET/token" 2>/dev/null)" = "$1" ]; do
        tries=$((tries + 1))
        [ $tries -lt 300 ] || exit 9
        kill -0 $process 2>/dev/null || { wait $process; exit; }
        sleep 0.1
    done
    echo "read $1"
}
"#;

const MOUNTS: &str = "start; until_it_reads t1; kill $process && wait $process";

const LIVES: &str = r#"
start; until_it_reads t1
printf t2 | "$BINARY" store put --namespace shop api --key token >/dev/null || exit 8
until_it_reads t2
kill -KILL $process; wait $process
! cat "$TARGET/token" 2>/dev/null || exit 7
start; until_it_reads t2
kill $process && wait $process || exit 6
! [ -e "$TARGET/token" ] && ! grep -q "$TARGET" /proc/self/mountinfo && echo "nothing is left"
"#;

fn in_a_container(laptop: &Laptop, job: &str, path: Option<&Path>) -> Told {
    let job = format!("{TOOLS}{job}");
    let mut inside = laptop.program(&["unshare", "-U", "-r", "-m", "/bin/sh", "-c", &job]);
    inside.env("BINARY", &laptop.host.binary).env("CLASS", laptop.host.at("app.yaml"));
    inside.env("TARGET", laptop.host.mount_point());
    inside.envs(environment(&laptop.host.secretfs(&[])));
    if let Some(path) = path {
        inside.env("PATH", path);
    }
    Told::from(inside.output().unwrap())
}

#[test]
fn in_a_user_namespace_it_mounts_too_and_says_what_is_missing_there() {
    in_private_mounts(|| {
        let laptop = Laptop::new();
        let tools = laptop.host.at("tools");
        fs::create_dir(&tools).unwrap();
        for tool in ["cat", "sleep", "unshare"] {
            symlink(Path::new("/usr/bin").join(tool), tools.join(tool)).unwrap();
        }

        let with = in_a_container(&laptop, MOUNTS, None);
        let without = in_a_container(&laptop, MOUNTS, Some(&tools));

        assert_eq!((with.code, with.out.lines().next()), (Some(0), Some("read t1")), "{with:?}");
        assert!(without.code != Some(0) && without.err.contains("apt install fuse3"), "{without:?}");
        assert_eq!(laptop.left(), (0, 0));
    });
}

#[test]
fn in_a_container_of_a_ci_job_a_volume_is_rotated_and_after_a_kill_mounted_anew_and_unmounted() {
    in_private_mounts(|| {
        let laptop = Laptop::new();

        let told = in_a_container(&laptop, LIVES, None);

        let lines: Vec<_> = told.out.lines().collect();
        assert_eq!(lines, ["read t1", "read t2", "read t2", "nothing is left"], "{told:?}");
        assert_eq!((told.code, laptop.left()), (Some(0), (0, 0)), "{told:?}");
    });
}
