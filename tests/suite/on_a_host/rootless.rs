//! `secretfs mount` for a user who may not mount: `fusermount3` (package `fuse3`) does it for him.

mod container;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;
use tempfile::TempDir;
use testing::in_private_mounts;

use super::{Host, Mounting, foreign, table, until};
use crate::support::{Told, copy_program};

/// A user who owns nothing else on the machine of the tests.
const USER: u32 = 65_534;

/// The same, in words of `setpriv`.
const AS_USER: [&str; 5] = ["--reuid", "65534", "--regid", "65534", "--clear-groups"];

/// The computer of a user without privileges, with a store of his own.
struct Laptop {
    host: Host,
    _device: TempDir,
}

impl Laptop {
    /// In a mount namespace of the test's own, where all users may open `/dev/fuse`.
    fn new() -> Self {
        Self::of(USER)
    }

    fn of(user: u32) -> Self {
        let helper = Command::new("fusermount3").arg("-V").output();
        helper.expect("fusermount3 is installed: run hack/tools fuse3");
        let device = show_device(0o666);
        let mut host = Host::bare(env!("CARGO_BIN_EXE_secretfs").into());
        host.binary = host.at("secretfs");
        host.user = Some(user);
        copy_program(&host.binary);
        chown(host.target.parent(), Some(user), Some(user)).unwrap();
        let laptop = Self { host, _device: device };
        laptop.run("init", &["store", "init"], "");
        laptop.put("t1");
        laptop
    }

    fn put(&self, token: &str) {
        self.run("put", &["store", "put", "--namespace", "shop", "api", "--key", "token"], token);
    }

    fn run(&self, what: &str, words: &[&str], input: &str) {
        let mut command = self.host.secretfs(words);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let told = Told::from(child.wait_with_output().unwrap());
        assert_eq!(told.code, Some(0), "{what}: {told:?}");
    }

    /// Another program of the user.
    fn program(&self, words: &[&str]) -> Command {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).stdin(Stdio::null());
        self.host.by_user(&mut command);
        command
    }

    /// What the user reads in a file of the volume, or why he does not.
    fn read(&self, name: &str) -> String {
        let path = self.host.mount_point().join(name);
        let told = Told::from(self.program(&["cat", path.to_str().unwrap()]).output().unwrap());
        if told.code == Some(0) { told.out } else { told.err }
    }

    /// Runs `secretfs mount` to its end, with fewer rights: as `setpriv` with these words gives them.
    fn held_down(&self, rights: &[&str], flags: &[&str]) -> Told {
        let mut command = Command::new("setpriv");
        command.args(rights).arg(&self.host.binary).arg("mount");
        command.arg(self.host.at("app.yaml")).arg(self.host.mount_point()).args(flags);
        command.stdin(Stdio::null()).envs(environment(&self.host.secretfs(&[])));
        Told::from(command.output().unwrap())
    }

    /// A program of the user that holds a file of the volume open.
    fn holding(&self, name: &str) -> Child {
        let path = self.host.mount_point().join(name);
        let script = format!("exec 3<'{}' && echo open && exec sleep 600", path.display());
        let mut child = self.program(&["sh", "-c", &script]).stdout(Stdio::piped()).spawn().unwrap();
        let mut open = [0; 5];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut open).unwrap();
        child
    }

    /// The numbers of mounts and of records.
    fn left(&self) -> (usize, usize) {
        (self.host.mounts().len(), self.host.records())
    }
}

/// The variables that a command of a test is given.
fn environment(command: &Command) -> Vec<(OsString, OsString)> {
    command.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect()
}

/// Shows a `/dev/fuse` of this mode, in this mount namespace alone, as long as the directory is there.
fn show_device(mode: u32) -> TempDir {
    let at = tempfile::tempdir().unwrap();
    let node = at.path().join("fuse");
    let made =
        Command::new("mknod").args(["-m", &format!("{mode:o}")]).arg(&node).args(["c", "10", "229"]).status();
    assert!(made.unwrap().success());
    rustix::mount::mount_bind(&node, "/dev/fuse").unwrap();
    at
}

#[test]
fn without_root_a_class_is_mounted_rotated_and_unmounted_at_the_end() {
    in_private_mounts(|| {
        let laptop = Laptop::new();
        let mut mounting = laptop.host.mounted(&[]);
        let (table, first) = (table(), laptop.read("below/it"));

        laptop.put("t2");
        until("the new token is shown", || laptop.read("token") == "t2");
        let (status, _) = mounting.stopped_by(Signal::TERM);

        assert!(
            table.contains("fuse.secretfs secretfs rw,user_id=65534,group_id=65534,default_permissions"),
            "{table}"
        );
        assert_eq!(first, "t1");
        assert!(status.success(), "{}", mounting.log());
        assert_eq!(
            (laptop.left(), laptop.host.mount_point().exists()),
            ((0, 0), false),
            "{}",
            mounting.log()
        );
    });
}

#[test]
fn without_root_the_files_are_the_users_alone_and_not_even_root_reads_them() {
    in_private_mounts(|| {
        let laptop = Laptop::new();
        let _mounting = laptop.host.mounted(&[]);

        let path = laptop.host.mount_point().join("token");
        let by_root = fs::read(&path).unwrap_err();
        let stat =
            laptop.program(&["stat", "-L", "-c", "%a %u %g", path.to_str().unwrap()]).output().unwrap();
        let new = laptop.host.mount_point().join("new");
        let written = laptop.program(&["touch", new.to_str().unwrap()]).output().unwrap();

        assert_eq!(by_root.kind(), std::io::ErrorKind::PermissionDenied);
        assert_eq!(Told::from(stat).out, "400 65534 65534\n");
        let written = Told::from(written);
        assert!(written.err.contains("Read-only file system"), "{written:?}");
    });
}

#[test]
fn without_root_a_kill_leaves_errors_until_the_same_command_mounts_anew() {
    in_private_mounts(|| {
        let laptop = Laptop::new();
        laptop.host.mounted(&[]).stopped_by(Signal::KILL);
        let dead = laptop.read("token");
        let status = laptop.host.run(&["status", laptop.host.mount_point().to_str().unwrap()]);

        let mut second = laptop.host.mounted(&[]);
        let (shown, mounts) = (laptop.read("token"), laptop.host.mounts().len());
        second.stopped_by(Signal::TERM);

        assert!(dead.contains("endpoint is not connected"), "{dead}");
        assert!(status.out.contains("failing"), "{status:?}");
        assert_eq!((shown.as_str(), mounts), ("t1", 1), "{}", second.log());
        assert_eq!(laptop.left(), (0, 0), "{}", second.log());
    });
}

#[test]
fn without_root_what_a_killed_or_stopped_process_served_is_unmounted_on_demand() {
    in_private_mounts(|| {
        let laptop = Laptop::new();
        laptop.host.mounted(&[]).stopped_by(Signal::KILL);
        let killed = laptop.host.umount();
        assert_eq!((killed.code, laptop.left()), (Some(0), (0, 0)), "{killed:?}");

        let stopped = laptop.host.mounted(&[]);
        stopped.signal(Signal::STOP);
        let told = laptop.host.umount();

        assert_eq!((told.code, laptop.left()), (Some(0), (0, 0)), "{told:?}");
    });
}

#[test]
fn without_root_the_end_takes_the_mount_from_who_still_reads() {
    in_private_mounts(|| {
        let laptop = Laptop::new();
        let mut mounting = laptop.host.mounted(&[]);
        let mut reader = laptop.holding("token");

        let (status, _) = mounting.stopped_by(Signal::TERM);
        reader.kill().unwrap();
        reader.wait().unwrap();

        assert!(status.success(), "{}", mounting.log());
        assert_eq!(laptop.left(), (0, 0), "{}", mounting.log());
    });
}

#[test]
fn without_root_what_others_mounted_at_a_target_stays() {
    in_private_mounts(|| {
        let laptop = Laptop::new();
        foreign(&["-t", "tmpfs", "theirs"], &laptop.host.mount_point());
        fs::write(laptop.host.mount_point().join("theirs"), "data").unwrap();

        let mounted = laptop.host.mount("app.yaml", &[]);
        let unmounted = laptop.host.umount();

        assert_eq!((mounted.code, unmounted.code), (Some(1), Some(1)), "{mounted:?} {unmounted:?}");
        assert!(mounted.err.contains("something is mounted at"), "{mounted:?}");
        assert_eq!(fs::read(laptop.host.mount_point().join("theirs")).unwrap(), b"data");
        assert_eq!(laptop.host.records(), 0);
    });
}

#[test]
fn without_root_what_is_missing_is_told_with_the_remedy_and_nothing_is_left() {
    in_private_mounts(|| {
        let laptop = Laptop::new();
        let (class, target) = (laptop.host.at("app.yaml"), laptop.host.mount_point());
        let mut command = laptop.host.secretfs(&["mount", class.to_str().unwrap(), target.to_str().unwrap()]);
        let no_program = Told::from(command.env("PATH", laptop.host.at("nothing")).output().unwrap());
        let _closed = show_device(0o600);
        let no_device = laptop.host.mount("app.yaml", &[]);

        assert_eq!((no_program.code, no_device.code), (Some(1), Some(1)), "{no_program:?} {no_device:?}");
        assert!(no_program.err.contains("fusermount3 is not installed"), "{no_program:?}");
        assert!(no_program.err.contains("apt install fuse3"), "{no_program:?}");
        assert!(no_device.err.contains("chmod 666 /dev/fuse"), "{no_device:?}");
        assert_eq!((laptop.left(), laptop.host.at("above").exists()), ((0, 0), false));
    });
}

#[test]
fn without_root_a_process_that_may_gain_no_privileges_is_told_why() {
    in_private_mounts(|| {
        let laptop = Laptop::new();
        let told = laptop.held_down(&[&AS_USER[..], &["--no-new-privs"]].concat(), &[]);

        assert_eq!((told.code, laptop.left()), (Some(1), (0, 0)), "{told:?}");
        assert!(told.err.contains("no_new_privs"), "{told:?}");
    });
}

#[test]
fn where_nobody_may_mount_the_error_says_what_a_container_needs() {
    in_private_mounts(|| {
        let laptop = Laptop::new();
        let no_mounts = ["--bounding-set", "-sys_admin"];

        let by_user = laptop.held_down(&[&AS_USER[..], &no_mounts].concat(), &[]);
        let by_root = laptop.held_down(&no_mounts, &["--rootless"]);
        let by_himself = laptop.held_down(&no_mounts, &[]);

        for told in [by_user, by_root, by_himself] {
            assert_eq!((told.code, laptop.left()), (Some(1), (0, 0)), "{told:?}");
            assert!(told.err.contains("--cap-add SYS_ADMIN"), "{told:?}");
        }
    });
}

#[test]
fn without_root_a_user_without_a_name_is_told_that_fusermount_wants_one() {
    in_private_mounts(|| {
        let laptop = Laptop::of(60_631);

        let told = laptop.host.mount("app.yaml", &[]);

        assert_eq!((told.code, laptop.left()), (Some(1), (0, 0)), "{told:?}");
        assert!(told.err.contains("/etc/passwd"), "{told:?}");
    });
}

#[test]
fn without_root_what_only_root_can_do_is_refused() {
    in_private_mounts(|| {
        let laptop = Laptop::new();

        for flags in [&["--once"][..], &["--user", "0"], &["--group", "0"], &["--rootless", "--once"]] {
            let told = laptop.host.mount("app.yaml", flags);
            assert_eq!((told.code, laptop.left()), (Some(2), (0, 0)), "{flags:?} {told:?}");
        }
        let mut mounting = laptop.host.mounted(&["--user", "65534", "--group", "65534"]);
        let read = laptop.read("token");
        assert!(mounting.stopped_by(Signal::TERM).0.success());
        assert_eq!(read, "t1");
    });
}

#[test]
fn root_may_mount_by_fusermount_too() {
    in_private_mounts(|| {
        let _closed = show_device(0o600);
        let host = Host::new();

        let mut mounting = host.mounted(&["--rootless"]);
        let (shown, table) = (host.read("token"), table());
        let (status, _) = mounting.stopped_by(Signal::TERM);

        assert_eq!(shown.as_deref(), Some("t1"));
        assert!(table.contains("fuse.secretfs secretfs rw,user_id=0"), "{table}");
        assert!(status.success() && host.mounts().is_empty(), "{}", mounting.log());
    });
}

#[test]
fn values_that_a_user_may_not_lock_are_shown_all_the_same_and_the_log_warns() {
    in_private_mounts(|| {
        let laptop = Laptop::new();
        let log = laptop.host.at("log-of-little-memory");
        let to = File::create(&log).unwrap();
        let mut command = laptop.program(&["sh", "-c", r#"ulimit -l 0 && exec "$@""#, "sh"]);
        command
            .arg(&laptop.host.binary)
            .arg("mount")
            .arg(laptop.host.at("app.yaml"))
            .arg(laptop.host.mount_point());
        command.envs(environment(&laptop.host.secretfs(&[])));
        let child = command.stdout(to.try_clone().unwrap()).stderr(to).spawn().unwrap();
        let mut mounting = Mounting { child, log };

        assert!(mounting.serves(), "{}", mounting.log());
        let shown = laptop.read("token");
        mounting.stopped_by(Signal::TERM);

        assert_eq!((shown.as_str(), laptop.left()), ("t1", (0, 0)));
        assert!(mounting.log().contains("raise the limit of locked memory"), "{}", mounting.log());
    });
}

#[test]
fn without_root_the_audit_trail_names_the_user_who_opened_a_file_and_no_program() {
    in_private_mounts(|| {
        let laptop = Laptop::new();
        let trail = laptop.host.at("audit");
        let mut mounting = laptop.host.mounted(&["--audit-log", trail.to_str().unwrap()]);
        assert_eq!(laptop.read("token"), "t1");
        mounting.stopped_by(Signal::TERM);

        let trail = fs::read_to_string(trail).unwrap();
        let mut records: Vec<serde_json::Value> =
            trail.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        // Opens are written a little later than the rest. They are sorted by their time.
        records.sort_by_key(|record| record["time"].to_string());
        let actions: Vec<_> =
            records.iter().map(|record| record["api"]["operation"].as_str().unwrap()).collect();
        assert_eq!(actions, ["publish", "open", "unpublish"], "{trail}");
        let process = &records[1]["actor"]["process"];
        assert!(process["uid"].is_u64() && process.get("file").is_none(), "{trail}");
    });
}

/// Runs a command of the user as his shell does it: without the directories that the other tests name.
fn as_in_his_shell(laptop: &Laptop, session: Option<&Path>, words: &[&str]) -> Told {
    let mut command = laptop.host.secretfs(words);
    command
        .env_remove("SECRETFS_STATE_DIR")
        .env_remove("SECRETFS_ADMIN_SOCKET")
        .env_remove("XDG_RUNTIME_DIR");
    command.envs(session.map(|session| ("XDG_RUNTIME_DIR", session)));
    Told::from(command.output().unwrap())
}

fn start_in_his_shell(laptop: &Laptop, session: Option<&Path>) -> Mounting {
    let log = laptop.host.at("log-of-his-shell");
    let to = File::create(&log).unwrap();
    let mut command = laptop.host.secretfs(&["mount"]);
    command.arg(laptop.host.at("app.yaml")).arg(laptop.host.mount_point());
    command
        .env_remove("SECRETFS_STATE_DIR")
        .env_remove("SECRETFS_ADMIN_SOCKET")
        .env_remove("XDG_RUNTIME_DIR");
    command.envs(session.map(|session| ("XDG_RUNTIME_DIR", session)));
    let child = command.stdout(to.try_clone().unwrap()).stderr(to).spawn().unwrap();
    let mut mounting = Mounting { child, log };
    assert!(mounting.serves(), "{}", mounting.log());
    mounting
}

/// Mounts, asks and unmounts without saying where anything is.
fn find_each_other(laptop: &Laptop, session: Option<&Path>, state: &Path) {
    let mut mounting = start_in_his_shell(laptop, session);
    let target = laptop.host.mount_point();
    let target = target.to_str().unwrap();
    let about = fs::metadata(state).unwrap().permissions().mode() & 0o777;

    for words in [&["status"][..], &["why", target], &["refresh", "--all"], &["umount", target]] {
        let told = as_in_his_shell(laptop, session, words);
        assert_eq!(told.code, Some(0), "{words:?} {told:?}");
    }

    assert!(mounting.ended().0.success(), "{}", mounting.log());
    assert_eq!((about, laptop.host.mounts().len()), (0o700, 0));
}

#[test]
fn without_root_commands_find_each_other_below_the_session_or_in_tmp() {
    in_private_mounts(|| {
        /// `daemon`: the user of the other tests would find what is left of theirs.
        const OTHER: u32 = 1;
        let laptop = Laptop::of(OTHER);
        let session = laptop.host.at("session");
        fs::create_dir(&session).unwrap();
        chown(&session, Some(OTHER), Some(OTHER)).unwrap();
        let in_tmp = Path::new("/tmp/secretfs-1");

        find_each_other(&laptop, Some(&session), &session.join("secretfs"));
        assert!(!in_tmp.exists());
        find_each_other(&laptop, None, in_tmp);
        // It goes with the directory of the test.
        fs::rename(in_tmp, laptop.host.at("was-in-tmp")).unwrap();
    });
}

#[test]
fn without_root_a_directory_in_tmp_that_is_not_the_users_is_not_trusted() {
    in_private_mounts(|| {
        /// `bin`.
        const OTHER: u32 = 2;
        let laptop = Laptop::of(OTHER);
        let (class, target) = (laptop.host.at("app.yaml"), laptop.host.mount_point());
        let (class, target) = (class.to_str().unwrap(), target.to_str().unwrap());
        let in_tmp = Path::new("/tmp/secretfs-2");
        let refused = |why: &str| {
            for words in [&["mount", class, target][..], &["umount", target], &["status"], &["why", target]] {
                let told = as_in_his_shell(&laptop, None, words);
                assert!(told.code == Some(1) && told.err.contains(why), "{words:?} {told:?}");
            }
        };

        fs::create_dir(in_tmp).unwrap();
        refused("belongs to another user");
        chown(in_tmp, Some(OTHER), Some(OTHER)).unwrap();
        fs::set_permissions(in_tmp, fs::Permissions::from_mode(0o770)).unwrap();
        refused("is open to other users");
        fs::remove_dir(in_tmp).unwrap();
        symlink(laptop.host.target.parent(), in_tmp).unwrap();
        refused("is no directory");
        fs::remove_file(in_tmp).unwrap();

        assert_eq!(laptop.left(), (0, 0));
    });
}
