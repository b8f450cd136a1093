//! The privileged verbs, in this process and over a socket.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use engine::mode::{Appearance, Mode, Tmpfs};
use mounter::{LocalMounter, Mounter, RemoteMounter, Roots};
use rustix::fs::{CWD, RenameFlags};
use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType};
use testing::in_private_mounts;

use crate::support::{Target, mounts_below, snapshot};

/// A `secretfs-mounter`. Dropping it ends the process.
pub(crate) struct MounterProcess {
    process: Child,
    socket: PathBuf,
}

impl MounterProcess {
    /// A mounter for targets and sockets below `directory`. It listens there too.
    pub(crate) fn start(directory: &Path, arguments: &[&str]) -> Self {
        Self::listening_in(directory, directory, arguments)
    }

    /// A mounter for targets and sockets below `directory`. It listens in `run`.
    pub(crate) fn listening_in(run: &Path, directory: &Path, arguments: &[&str]) -> Self {
        Self::of(env!("CARGO_BIN_EXE_secretfs").as_ref(), run, directory, arguments)
    }

    /// The mounter that belongs to the `secretfs` at `binary`, which may be of another version.
    pub(crate) fn of(binary: &Path, run: &Path, directory: &Path, arguments: &[&str]) -> Self {
        Self::by(testing::mounter(binary), run, directory, arguments)
    }

    fn by(mut command: Command, run: &Path, directory: &Path, arguments: &[&str]) -> Self {
        let socket = run.join("mounter.sock");
        let process = command
            .args(["--log", "error", "--socket"])
            .arg(&socket)
            .arg("--pods")
            .arg(directory)
            .arg("--sockets")
            .arg(directory)
            .args(arguments)
            .spawn()
            .unwrap();
        Self { process, socket }
    }

    /// A client, such as `node` has.
    pub(crate) fn connect(&self) -> Arc<RemoteMounter> {
        Arc::new(RemoteMounter::new(self.socket.clone()))
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> std::process::ExitStatus {
        self.process.wait().unwrap()
    }

    fn signal(&mut self, signal: rustix::process::Signal) -> std::process::ExitStatus {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.process), signal).unwrap();
        self.wait()
    }
}

impl Drop for MounterProcess {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn below(directory: &Path) -> LocalMounter {
    LocalMounter::new(Roots { pods: Some(directory.to_owned()), sockets: vec![directory.to_owned()] })
}

fn empty(mounter: &dyn Mounter) -> OwnedFd {
    let limits = mounter::Tmpfs { size: 1 << 20, inodes: 64, mode: 0o755, gid: 0, selinux_context: None };
    mounter.create(&limits).unwrap()
}

fn attach_empty(mounter: &dyn Mounter, target: &Path) -> Result<(), mounter::Error> {
    mounter.attach(empty(mounter).as_fd(), target)
}

#[test]
fn a_target_that_is_no_plain_directory_below_the_root_is_refused_and_nothing_is_left() {
    in_private_mounts(|| {
        let pods = Target::new();
        let outside = Target::new();
        let mounter = below(pods.parent());
        fs::write(pods.parent().join("file"), "").unwrap();
        fs::create_dir(outside.path()).unwrap();
        symlink(outside.path(), pods.parent().join("link")).unwrap();

        for (target, reason) in [
            (outside.path(), "not below"),
            (pods.parent().join("../elsewhere"), "no plain path"),
            (pods.parent().to_owned(), "no plain path"),
            (PathBuf::from("relative"), "not below"),
            (pods.parent().join("file"), "Not a directory"),
            (pods.parent().join("link"), "symbolic link"),
            (pods.parent().join("link/below"), "symbolic link"),
            (pods.parent().join("no/parent"), "No such file"),
        ] {
            let refused = attach_empty(&mounter, &target).unwrap_err().to_string();
            assert!(refused.contains(reason), "{refused}");
        }
        assert!(mounts_below(pods.parent()).is_empty() && mounts_below(outside.parent()).is_empty());
        assert!(fs::read_dir(outside.path()).unwrap().next().is_none());
    });
}

#[test]
fn a_mount_that_fails_takes_the_directory_that_it_made_with_it() {
    in_private_mounts(|| {
        let target = Target::new();
        let no_file_system = fs::File::open(target.parent()).unwrap();

        let made_here = below(target.parent()).attach(no_file_system.as_fd(), &target.path());
        let gone = !target.path().exists();
        fs::create_dir(target.path()).unwrap();
        let made_before = below(target.parent()).attach(no_file_system.as_fd(), &target.path());

        assert!(made_here.is_err() && made_before.is_err());
        assert!(gone && target.path().exists());
    });
}

#[test]
fn a_second_mount_on_a_target_is_refused() {
    in_private_mounts(|| {
        let target = Target::new();
        let mounter = below(target.parent());
        attach_empty(&mounter, &target.path()).unwrap();

        let refused = attach_empty(&mounter, &target.path()).unwrap_err();

        assert!(refused.to_string().contains("mounted there already"), "{refused}");
        assert_eq!(mounts_below(target.parent()).len(), 1);
    });
}

#[test]
fn whatever_is_stacked_on_a_target_is_unmounted() {
    in_private_mounts(|| {
        let target = Target::new();
        fs::create_dir(target.path()).unwrap();
        for _ in 0..3 {
            let mounted =
                Command::new("mount").args(["-t", "tmpfs", "none"]).arg(target.path()).status().unwrap();
            assert!(mounted.success());
        }

        below(target.parent()).detach(&target.path()).unwrap();

        assert!(mounts_below(target.parent()).is_empty());
        assert!(!target.path().exists());
    });
}

#[test]
fn a_target_in_use_is_unmounted_all_the_same() {
    in_private_mounts(|| {
        let target = Target::new();
        let mounter = below(target.parent());
        attach_empty(&mounter, &target.path()).unwrap();
        let in_use = fs::File::open(target.path()).unwrap();

        mounter.detach(&target.path()).unwrap();

        assert!(mounts_below(target.parent()).is_empty());
        assert!(!target.path().exists());
        drop(in_use);
    });
}

#[test]
fn nothing_to_unmount_is_fine_and_what_others_left_there_stays() {
    in_private_mounts(|| {
        let target = Target::new();
        let mounter = below(target.parent());

        mounter.detach(&target.path()).unwrap();
        mounter.detach(&target.path().join("no/parent")).unwrap();
        fs::create_dir(target.path()).unwrap();
        fs::write(target.file("theirs"), "").unwrap();
        mounter.detach(&target.path()).unwrap();

        assert!(target.file("theirs").exists());
    });
}

#[test]
fn only_a_mounted_tmpfs_can_be_entered_and_it_can_be_written_there_alone() {
    in_private_mounts(|| {
        let target = Target::new();
        let mounter = below(target.parent());

        let absent = mounter.enter(&target.path()).unwrap();
        fs::create_dir(target.path()).unwrap();
        let plain = mounter.enter(&target.path()).unwrap();
        attach_empty(&mounter, &target.path()).unwrap();
        let entered = mounter.enter(&target.path()).unwrap().unwrap();
        let made = rustix::fs::mkdirat(&entered, "inside", rustix::fs::Mode::RWXU);

        assert!(absent.is_none() && plain.is_none());
        assert!(made.is_ok() && target.file("inside").is_dir());
        assert!(fs::create_dir(target.file("through the mount")).is_err());
    });
}

#[test]
fn a_directory_that_turns_into_a_link_in_mid_call_never_leads_a_mount_astray() {
    const ROUNDS: usize = 100_000;
    in_private_mounts(|| {
        let pods = Target::new();
        let outside = Target::new();
        let mounter = below(pods.parent());
        let (volume, link) = (pods.parent().join("volume"), pods.parent().join("link"));
        fs::create_dir(&volume).unwrap();
        symlink(outside.parent(), &link).unwrap();
        let done = AtomicBool::new(false);

        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    rustix::fs::renameat_with(CWD, &volume, CWD, &link, RenameFlags::EXCHANGE).unwrap();
                }
            });
            let target = volume.join("mount");
            let mut root = empty(&mounter);
            let mut mounted = 0;
            for _ in 0..ROUNDS {
                if mounter.attach(root.as_fd(), &target).is_ok() {
                    root = empty(&mounter);
                    mounted += 1;
                }
                let _ = mounter.detach(&target);
            }
            done.store(true, Ordering::Relaxed);
            assert!((1..ROUNDS).contains(&mounted), "both sides of the race are seen: {mounted} of {ROUNDS}");
        });

        assert!(mounts_below(outside.parent()).is_empty());
        assert!(fs::read_dir(outside.parent()).unwrap().next().is_none());
    });
}

#[test]
fn a_socket_is_its_owners_alone_and_the_same_again() {
    in_private_mounts(|| {
        let place = Target::new();
        let mounter = below(place.parent());
        let path = place.parent().join("csi.sock");
        rustix::process::umask(rustix::fs::Mode::empty());

        let first = mounter.listen(&path).unwrap();
        let inode = fs::metadata(&path).unwrap().ino();
        let second = mounter.listen(&path).unwrap();
        let mut caller = UnixStream::connect(&path).unwrap();
        caller.write_all(b"hello").unwrap();
        drop(first);

        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&path).unwrap().ino(), inode);
        let mut heard = [0; 5];
        second.accept().unwrap().0.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"hello");
    });
}

#[test]
fn a_stale_socket_is_replaced_and_nothing_else_is() {
    let place = Target::new();
    let mounter = below(place.parent());
    let at = |name: &str| place.parent().join(name);
    drop(UnixListener::bind(at("stale")).unwrap());
    let _live = UnixListener::bind(at("live")).unwrap();
    fs::write(at("file"), "theirs").unwrap();
    let removed = mounter.listen(&at("removed")).unwrap();
    fs::remove_file(at("removed")).unwrap();

    let stale = mounter.listen(&at("stale"));
    let again = mounter.listen(&at("removed"));
    let live = mounter.listen(&at("live")).unwrap_err().to_string();
    let file = mounter.listen(&at("file")).unwrap_err().to_string();
    let long = mounter.listen(&at(&"n".repeat(107))).unwrap_err().to_string();
    let outside = mounter.listen(Path::new("/run/elsewhere.sock")).unwrap_err().to_string();

    assert!(stale.is_ok() && again.is_ok());
    drop(removed);
    UnixStream::connect(at("removed")).unwrap();
    assert!(live.contains("another process listens there"), "{live}");
    assert!(file.contains("no socket"), "{file}");
    assert!(long.contains("107 bytes"), "{long}");
    assert!(outside.contains("below none of the directories"), "{outside}");
    assert_eq!(fs::read_to_string(at("file")).unwrap(), "theirs");
}

#[test]
fn a_volume_lives_its_life_through_a_mounter_process() {
    in_private_mounts(|| {
        let target = Target::of_kubelet();
        let process = MounterProcess::start(target.parent(), &[]);
        let mounter: Arc<dyn Mounter> = process.connect();
        let mode = Tmpfs::new(Arc::clone(&mounter), Tmpfs::DEFAULT_MAX_BYTES);
        let large = "x".repeat(4 << 20);

        let volume = mode.mount(&target.path(), &snapshot(&[("a", "1")]), &Appearance::default()).unwrap();
        volume.replace(&snapshot(&[("a", "2"), ("b", &large)]), &BTreeSet::new()).unwrap();
        let adopted = mode.adopt(&target.path(), &Appearance::default()).unwrap().unwrap();
        let told = adopted.contents().unwrap().len();
        let read = (target.read("a"), target.read("b").len());
        mounter.detach(&target.path()).unwrap();

        assert_eq!((read, told), (("2".to_owned(), 4 << 20), 2));
        assert!(mounts_below(target.parent()).is_empty());
        assert!(!target.path().exists());
    });
}

#[test]
fn a_mounter_process_refuses_with_the_reason_that_one_in_this_process_gives() {
    in_private_mounts(|| {
        let target = Target::of_kubelet();
        let process = MounterProcess::start(target.parent(), &[]);
        let mounter = process.connect();

        let no_pod = target.parent().join("no-pod/volumes/kubernetes.io~csi/secrets/mount");
        let outside = attach_empty(mounter.as_ref(), Path::new("/tmp/elsewhere")).unwrap_err();
        let missing = attach_empty(mounter.as_ref(), &no_pod).unwrap_err();

        let local = below(target.parent());
        let said = attach_empty(&local, Path::new("/tmp/elsewhere")).unwrap_err();
        assert_eq!(outside.to_string(), said.to_string());
        assert_eq!(missing.source.raw_os_error(), Some(rustix::io::Errno::NOENT.raw_os_error()));
    });
}

#[test]
fn what_is_kept_and_listened_on_outlives_the_caller() {
    let directory = Target::new();
    let process = MounterProcess::start(directory.parent(), &[]);
    let csi = directory.parent().join("csi.sock");
    let blobs: Vec<(String, Vec<u8>)> = (0..50).map(|n| (format!("lease-{n:02}"), vec![n; 20_000])).collect();
    let before = process.connect();
    for (name, blob) in &blobs {
        before.keep(name, blob).unwrap();
    }
    before.keep("forgotten", b"blob").unwrap();
    before.forget("forgotten").unwrap();
    drop(before.listen(&csi).unwrap());
    drop(before);

    let mut early = UnixStream::connect(&csi).unwrap();
    early.write_all(b"early").unwrap();
    let after = process.connect();
    let listener = after.listen(&csi).unwrap();
    let mut heard = [0; 5];
    listener.accept().unwrap().0.read_exact(&mut heard).unwrap();

    assert_eq!(&heard, b"early");
    assert_eq!(after.kept().unwrap(), blobs);
    assert!(after.keep("large", &vec![0; (64 << 10) + 1]).unwrap_err().to_string().contains("65536"));
}

#[test]
fn a_caller_finds_a_restarted_mounter_by_itself() {
    in_private_mounts(|| {
        let target = Target::of_kubelet();
        let mut first = MounterProcess::start(target.parent(), &[]);
        let mounter = first.connect();
        attach_empty(mounter.as_ref(), &target.path()).unwrap();

        first.signal(rustix::process::Signal::KILL);
        let _second = MounterProcess::start(target.parent(), &[]);
        let entered = mounter.enter(&target.path()).unwrap();

        assert!(entered.is_some());
    });
}

// As with each process in a container of its own: the mounter sees no process id for its caller.
#[test]
fn a_caller_in_another_pid_namespace_is_served() {
    in_private_mounts(|| {
        let target = Target::of_kubelet();
        let socket = target.parent().join("mounter.sock");
        let mounter = testing::mounter(env!("CARGO_BIN_EXE_secretfs").as_ref());
        let process = Command::new("unshare")
            .args(["--pid", "--fork", "--kill-child"])
            .arg(mounter.get_program())
            .arg("--socket")
            .arg(&socket)
            .arg("--pods")
            .arg(target.parent())
            .spawn()
            .unwrap();
        let mounter = MounterProcess { process, socket };

        attach_empty(&*mounter.connect(), &target.path()).unwrap();

        assert_eq!(mounts_below(target.parent()).len(), 1);
    });
}

#[test]
fn a_mounter_that_is_not_there_is_named_with_the_remedy() {
    let directory = Target::new();

    let failed = RemoteMounter::new(directory.parent().join("mounter.sock")).kept().unwrap_err().to_string();

    assert!(failed.contains("mounter.sock") && failed.contains("is `secretfs-mounter` running?"), "{failed}");
}

#[test]
fn a_mounter_process_stops_when_told_to_while_callers_are_connected() {
    let directory = Target::new();
    let mut process = MounterProcess::start(directory.parent(), &[]);
    let mounter = process.connect();
    mounter.keep("a", b"blob").unwrap();

    let ended = process.signal(rustix::process::Signal::TERM);

    assert_eq!(ended.code(), Some(0));
}

#[test]
fn a_command_line_from_before_the_program_starts_a_mounter_as_well() {
    let directory = Target::new();
    let mut before = Command::new(env!("CARGO_BIN_EXE_secretfs"));
    before.arg("mounter");
    let mut process = MounterProcess::by(before, directory.parent(), directory.parent(), &[]);
    process.connect().keep("a", b"blob").unwrap();

    let ended = process.signal(rustix::process::Signal::TERM);

    assert_eq!(ended.code(), Some(0));
}

#[test]
fn only_root_and_the_users_named_are_served() {
    let (closed, open) = (Target::new(), Target::new());
    let refusing = MounterProcess::start(closed.parent(), &["--allow-uid", "1001"]);
    let serving = MounterProcess::start(open.parent(), &["--allow-uid", "1000"]);
    refusing.connect().keep("by root", b"blob").unwrap();
    serving.connect().keep("by root", b"blob").unwrap();

    let refused = as_user(1000, || refusing.connect().keep("by another", b"blob"));
    let served = as_user(1000, || serving.connect().keep("by another", b"blob"));

    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("--allow-uid"), "{refused}");
    served.unwrap();
}

/// Set in a process of another control group: the socket of a mounter, and that group's list of processes.
const SOCKET_AND_GROUP: &str = "SECRETFS_TEST_SOCKET_AND_GROUP";

/// What a process of the user 1000 in the control group `group` hears from the mounter.
fn heard_in(group: &Path, socket: &Path) -> String {
    let mut process = crate::support::again("mounter::a_process_of_another_control_group_is_refused");
    process.env(SOCKET_AND_GROUP, format!("{}:{}", socket.display(), group.join("cgroup.procs").display()));
    let output = process.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find_map(|line| line.split_once("heard: "));
    line.unwrap_or_else(|| panic!("{output:?}")).1.to_owned()
}

#[test]
fn a_process_of_another_control_group_is_refused() {
    if let Ok(told) = std::env::var(SOCKET_AND_GROUP) {
        let (socket, processes) = told.split_once(':').unwrap();
        fs::write(processes, std::process::id().to_string()).unwrap();
        let asked = as_user(1000, || RemoteMounter::new(socket.into()).keep("theirs", b"blob"));
        println!("heard: {}", asked.map_or_else(|error| error.to_string(), |()| "done".to_owned()));
        return;
    }
    let directory = Target::new();
    let mounter = MounterProcess::start(directory.parent(), &["--allow-uid", "1000"]);
    let group = ControlGroup::make();
    let first = mounter.connect();
    as_user(1000, || first.keep("ours", b"blob")).unwrap();

    let refused = heard_in(&group.0, mounter.socket());
    as_user(1000, || first.keep("ours", b"again")).unwrap();
    drop(first);

    assert!(refused.contains("ended the call"), "{refused}");
    let gone = Instant::now();
    while heard_in(&group.0, mounter.socket()) != "done" {
        assert!(gone.elapsed() < Duration::from_secs(10), "the first has gone");
    }
}

/// A control group of its own. Dropping it removes it.
struct ControlGroup(PathBuf);

impl ControlGroup {
    /// In the first hierarchy that lets it be made.
    fn make() -> Self {
        let table = fs::read("/proc/self/mountinfo").unwrap();
        let name = format!("secretfs-test-{}", std::process::id());
        let hierarchies = mountinfo::mounts(&table).filter(|mount| mount.kind.starts_with("cgroup"));
        let made = hierarchies.map(|mount| mount.point.join(&name)).find(|group| {
            // Some take processes only after more was set.
            fs::create_dir(group).is_ok() && (is_free(group) || fs::remove_dir(group).is_err())
        });
        Self(made.expect("a hierarchy of control groups"))
    }
}

/// Whether processes may be put into `group` as it is.
fn is_free(group: &Path) -> bool {
    !group.join("cpuset.cpus").exists() || group.join("cgroup.controllers").exists()
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// Runs `body` on a thread of its own, as another user.
fn as_user<T: Send>(uid: u32, body: impl FnOnce() -> T + Send) -> T {
    let user = rustix::process::Uid::from_raw(uid);
    let as_user = || {
        rustix::thread::set_thread_res_uid(user, user, user).unwrap();
        body()
    };
    thread::scope(|scope| scope.spawn(as_user).join().unwrap())
}

#[test]
fn garbage_is_answered_and_survived() {
    let directory = Target::new();
    let process = MounterProcess::start(directory.parent(), &[]);
    let honest = process.connect();
    honest.keep("a", b"blob").unwrap();
    let mut random = fastrand::Rng::with_seed(7);

    for round in 0..2_000 {
        let socket = connect_raw(process.socket()).unwrap();
        let mut packet: Vec<u8> = (0..random.usize(1..400)).map(|_| random.u8(..)).collect();
        if round % 2 == 0 {
            // An existing version and verb.
            packet.splice(0..packet.len().min(2), [1, random.u8(1..13)]);
        }
        rustix::net::send(&socket, &packet, SendFlags::NOSIGNAL).unwrap();
        let mut reply = vec![0; 4096];
        let (_, answered) =
            rustix::net::recv(&socket, reply.as_mut_slice(), rustix::net::RecvFlags::empty()).unwrap();
        assert!(answered >= 2, "round {round}");
    }

    assert!(honest.kept().unwrap().contains(&("a".to_owned(), b"blob".to_vec())));
}

pub(crate) fn connect_raw(path: &Path) -> io::Result<OwnedFd> {
    let kind = (AddressFamily::UNIX, SocketType::SEQPACKET);
    let socket = rustix::net::socket_with(kind.0, kind.1, SocketFlags::CLOEXEC, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

#[test]
fn a_directory_is_lent_beside_its_target_and_taken_back_with_all_that_is_in_it() {
    in_private_mounts(|| {
        let pods = Target::of_kubelet();
        let run = Target::new();
        let process = MounterProcess::listening_in(run.parent(), pods.parent(), &[]);
        let mounters: [Arc<dyn Mounter>; 2] = [Arc::new(below(pods.parent())), process.connect()];
        let limits = mounter::Tmpfs { size: 1 << 20, inodes: 64, mode: 0o777, gid: 7, selinux_context: None };
        for mounter in mounters {
            let beside = mounter::beside(&pods.path());
            drop(mounter.lend(&limits, &pods.path()).unwrap());
            let found = fs::metadata(&beside).unwrap();
            assert_eq!((found.mode() & 0o7777, found.gid()), (0o700, 0));
            fs::create_dir(beside.join("d")).unwrap();
            fs::write(beside.join("d/e"), "secret").unwrap();

            drop(mounter.lend(&limits, &pods.path()).unwrap());
            assert_eq!(fs::read_dir(&beside).unwrap().count(), 0, "each is lent empty");
            mounter.take_back(&pods.path()).unwrap();
            mounter.take_back(&pods.path()).unwrap();
            assert!(mounts_below(pods.parent()).is_empty() && !beside.exists());
        }
    });
}

#[test]
fn what_lies_on_the_disk_where_a_directory_is_lent_is_removed_and_nothing_behind_its_links() {
    in_private_mounts(|| {
        let pods = Target::new();
        let kept = Target::new();
        fs::write(kept.path(), "kept").unwrap();
        let beside = mounter::beside(&pods.path());
        fs::create_dir_all(beside.join("d/e")).unwrap();
        fs::write(beside.join("d/e/f"), "stray").unwrap();
        symlink(kept.parent(), beside.join("link")).unwrap();

        below(pods.parent()).detach(&pods.path()).unwrap();

        assert!(!beside.exists());
        assert_eq!(fs::read_to_string(kept.path()).unwrap(), "kept");
        let refused = below(pods.parent()).take_back(&kept.path()).unwrap_err().to_string();
        assert!(refused.contains("not below"), "{refused}");
    });
}
