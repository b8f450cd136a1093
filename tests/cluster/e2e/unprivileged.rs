//! `secretfs node` as the chart installs it: a user of its own without privileges, beside its mounter.

use std::fs::{self, File};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use mounter::{Mounter as _, RemoteMounter};
use nix::libc;
use rustix::io::Errno;
use serde_json::{Value, json};
use testing::ShownBy;

use super::calls::Stopped;
use super::world::{DRIVER, Namespace, World, alone, pod, shared};

/// The user of the node, if the values of the chart say nothing.
const USER: u32 = 47_512;
/// The group of a pod.
const GROUP: u32 = 3000;

/// A line of `/proc/PID/status`, without its name.
fn status(pid: u32, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("{name} in {status}")).trim().to_owned()
}

#[test]
fn the_node_runs_as_a_user_of_its_own_without_any_capability_and_cannot_get_one() {
    let (world, _peace) = shared();
    let pid = world.node_pid();
    let line = |name: &str| status(pid, name);

    println!("Uid {}, CapEff {}, Seccomp {}", line("Uid"), line("CapEff"), line("Seccomp"));
    for ids in [line("Uid"), line("Gid")] {
        assert_eq!(ids.split_whitespace().collect::<Vec<_>>(), vec![USER.to_string(); 4]);
    }
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(u64::from_str_radix(&line(set), 16).unwrap(), 0, "{set}");
    }
    assert_eq!((line("NoNewPrivs").as_str(), line("Seccomp").as_str()), ("1", "2"));
    // The runtime's, and two of its own.
    assert_eq!(line("Seccomp_filters"), "3");
    let root = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
    let root = root.lines().find(|line| line.split(' ').nth(4) == Some("/")).unwrap().to_owned();
    assert!(root.split(' ').nth(5).unwrap().split(',').any(|option| option == "ro"), "{root}");
}

/// Without a filter none of them would fail for want of a privilege, and none would do anything.
const BY_NO_NODE: [(&str, libc::c_long, [u64; 3]); 13] = [
    ("execve", libc::SYS_execve, [0; 3]),
    ("execveat", libc::SYS_execveat, [u64::MAX, 0, 0]),
    ("setuid", libc::SYS_setuid, [USER as u64, 0, 0]),
    ("capset", libc::SYS_capset, [0; 3]),
    ("unshare", libc::SYS_unshare, [0; 3]),
    ("setns", libc::SYS_setns, [u64::MAX, 0, 0]),
    ("open_tree", libc::SYS_open_tree, [u64::MAX, 0, 0]),
    ("mknodat", libc::SYS_mknodat, [u64::MAX, 0, 0]),
    ("io_uring_setup", libc::SYS_io_uring_setup, [0; 3]),
    ("process_vm_readv", libc::SYS_process_vm_readv, [1, 0, 0]),
    ("keyctl", libc::SYS_keyctl, [u64::MAX, 0, 0]),
    ("personality", libc::SYS_personality, [0xffff_ffff, 0, 0]),
    ("a socket of another kind", libc::SYS_socket, [libc::AF_VSOCK as u64, libc::SOCK_STREAM as u64, 0]),
];

const BY_NO_MOUNTER: [(&str, libc::c_long, [u64; 3]); 14] = [
    ("execve", libc::SYS_execve, [0; 3]),
    ("execveat", libc::SYS_execveat, [u64::MAX, 0, 0]),
    ("setuid", libc::SYS_setuid, [0; 3]),
    ("unshare", libc::SYS_unshare, [0; 3]),
    ("setns", libc::SYS_setns, [u64::MAX, 0, 0]),
    ("mount", libc::SYS_mount, [0; 3]),
    ("chroot", libc::SYS_chroot, [0; 3]),
    ("mknodat", libc::SYS_mknodat, [u64::MAX, 0, 0]),
    ("a file opened for writing", libc::SYS_openat, [u64::MAX, 0, libc::O_RDWR as u64]),
    ("io_uring_setup", libc::SYS_io_uring_setup, [0; 3]),
    ("bpf", libc::SYS_bpf, [u64::MAX, 0, 0]),
    ("process_vm_readv", libc::SYS_process_vm_readv, [1, 0, 0]),
    ("a signal to another", libc::SYS_kill, [1, 0, 0]),
    ("a socket of the network", libc::SYS_socket, [libc::AF_INET as u64, libc::SOCK_STREAM as u64, 0]),
];

#[test]
fn neither_the_running_node_nor_the_mounter_may_make_calls_that_it_does_not_need() {
    let (world, _peace) = shared();
    let mounter = world.pid_of("mounter").expect("a running mounter");
    for (pid, calls, answer) in
        [(world.node_pid(), &BY_NO_NODE[..], Errno::PERM), (mounter, &BY_NO_MOUNTER[..], Errno::NOSYS)]
    {
        let process = Stopped::stop(pid);
        let uid = process.tries(libc::SYS_getuid, [0; 3]);
        let answers: Vec<_> =
            calls.iter().map(|(what, call, with)| (*what, process.tries(*call, *with))).collect();
        drop(process);

        println!("{uid}: {answers:?}");
        assert_eq!(
            uid.to_string(),
            status(pid, "Uid").split_whitespace().next().unwrap(),
            "a call that is allowed"
        );
        for (what, answered) in answers {
            assert_eq!(answered, -i64::from(answer.raw_os_error()), "{what}");
        }
    }
}

/// What a thread of this process, in the test's control group, hears from the mounter as the user `uid`.
fn heard_as(uid: u32, socket: &Path) -> String {
    let user = rustix::process::Uid::from_raw(uid);
    std::thread::scope(|scope| {
        let ask = || {
            rustix::thread::set_thread_res_uid(user, user, user).unwrap();
            RemoteMounter::new(socket.to_owned()).keep("theirs", b"blob").unwrap_err().to_string()
        };
        scope.spawn(ask).join().unwrap()
    })
}

#[test]
fn a_process_of_another_user_and_one_of_the_nodes_user_elsewhere_cannot_talk_to_the_mounter() {
    let (world, _peace) = shared();
    // Directories above may be closed to them.
    let directory = File::open(world.state().join(DRIVER).join("mounter")).unwrap();
    let socket = PathBuf::from(format!("/proc/self/fd/{}/mounter.sock", directory.as_raw_fd()));

    for uid in [1000, USER] {
        let heard = heard_as(uid, &socket);
        assert!(heard.contains("ended the call"), "{uid}: {heard}");
    }
    let log =
        world.try_kubectl(&["-n", super::world::SYSTEM, "logs", "daemonset/secretfs-mounter", "--tail=20"]);
    assert!(log.contains("the user 1000 is not allowed") && log.contains("another control group"), "{log}");
}

/// The driver as another user for a while. Dropping it makes it its own again, also for other tests.
struct As<'a>(&'a World);

impl As<'_> {
    fn run(&self, user: u32) {
        let old = self.0.node_pid();
        self.0.helm(&["--set", &format!("linux.driver.runAsUser={user}")]);
        self.0.until_restarted(old);
        self.0.until_ready();
        assert_eq!(
            status(self.0.node_pid(), "Uid").split_whitespace().next(),
            Some(user.to_string().as_str())
        );
    }
}

impl Drop for As<'_> {
    fn drop(&mut self) {
        self.0.helm(&["--set", &format!("linux.driver.runAsUser={USER}")]);
        self.0.until_ready();
    }
}

/// Files and directories below `directory`, with their owners.
fn owners(directory: &Path) -> Vec<(PathBuf, u32)> {
    let mut found = vec![(directory.to_owned(), fs::symlink_metadata(directory).unwrap().uid())];
    for entry in fs::read_dir(directory).unwrap().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(owners(&entry.path())),
            _ => found.extend(entry.metadata().map(|about| (entry.path(), about.uid()))),
        }
    }
    found
}

fn in_group(name: &str, class: &str) -> Value {
    let mut pod = pod(name, class);
    pod["spec"]["securityContext"] = json!({"runAsUser": 1000, "runAsGroup": 1000, "fsGroup": GROUP});
    pod
}

#[test]
fn an_upgrade_from_root_to_a_user_of_its_own_and_back_goes_on_with_every_volume_and_what_is_kept_moves() {
    let (world, _alone) = alone();
    let shop = Namespace::new(world, "unprivileged-upgrade");
    shop.secret("db", "1");
    world.put(&shop.name, "key", "1");
    shop.vault_class("tmpfs", &["db"], &[]);
    shop.vault_class("fuse", &["db"], &[("secretfs.dev/mode", "fuse")]);
    shop.store_class("store", &["key"]);
    let driver = As(world);
    driver.run(0);
    let pods = [("tmpfs", "db"), ("fuse", "db"), ("store", "key")];
    for (name, _) in pods {
        shop.apply(&in_group(name, name));
        shop.until_ready(name);
    }
    ShownBy::Fuse.shows(&shop.target("fuse"));

    for (user, value) in [(USER, "2"), (0, "3"), (USER, "4")] {
        driver.run(user);
        shop.secret("db", value);
        world.put(&shop.name, "key", value);
        // A new process gets the pods' tokens when kubelet publishes again.
        pods.iter().for_each(|(name, _)| world.cluster.sync(&shop.name, name));
        for (name, file) in pods {
            shop.until_reads(name, file, value);
            assert_eq!(fs::metadata(shop.target(name).join(file)).unwrap().uid(), 0, "{name} as {user}");
        }
        let kept = owners(&world.state().join(DRIVER).join("node"));
        assert!(kept.iter().any(|(path, _)| path.ends_with("lease.key")), "{kept:?}");
        assert!(kept.iter().all(|(_, owner)| *owner == user), "{user}: {kept:?}");
    }
    // The commands of people write the log of what people did. The node only reads the store.
    let store = owners(&world.store()).into_iter().filter(|(path, _)| !path.ends_with("audit.log"));
    store.for_each(|(path, owner)| assert_eq!(owner, USER, "{}", path.display()));
    shop.apply(&pod("next", "store"));
    shop.until_ready("next");
    for (name, _) in pods {
        shop.delete(name);
    }
}
