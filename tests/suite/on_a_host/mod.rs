//! `secretfs mount` and `umount` on the command line of a host, beside mounts of others.

mod adoption;
mod files;
mod foreign;
mod fuse;
mod owner;
mod random;
mod refreshing;
mod rootless;
mod upgrade;
mod waiting;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use provider::SecretBytes;
use provider_store::{Anchor, Item, RootKeySource, ServiceAccounts, Store, Values};
use rustix::process::{Pid, Signal, kill_process};
use testing::ShownBy;

use crate::support::{Target, Told, class, mount_points_below, store_class};

/// How long any step may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A host with an embedded store that has one token, and a class that shows it.
struct Host {
    target: Target,
    /// The program whose commands are used.
    binary: PathBuf,
    /// Who uses them; whoever runs the tests, if nobody is named.
    user: Option<u32>,
}

/// A running `secretfs mount`.
struct Mounting {
    child: Child,
    log: PathBuf,
}

impl Host {
    fn new() -> Self {
        let host = Self::bare(env!("CARGO_BIN_EXE_secretfs").into());
        Store::init(&host.at("store"), &RootKeySource::beside(&host.at("store"))).unwrap();
        host.put("t1");
        host
    }

    /// A host without a store.
    fn bare(binary: PathBuf) -> Self {
        let host = Self { target: Target::new(), binary, user: None };
        let objects =
            ["objectName: token, item: api, key: token", "objectName: below/it, item: api, key: token"];
        host.class("app.yaml", &store_class(&objects));
        host
    }

    fn at(&self, name: &str) -> PathBuf {
        self.target.parent().join(name)
    }

    /// The target of the tests. The directory above it belongs to the test too.
    fn mount_point(&self) -> PathBuf {
        self.at("above/target")
    }

    /// Writes a class, which chooses the mode of the test.
    fn class(&self, name: &str, class: &str) {
        fs::write(self.at(name), ShownBy::chosen().class(class)).unwrap();
    }

    fn put(&self, token: &str) {
        let item = Item { namespace: "shop".parse().unwrap(), name: "api".parse().unwrap() };
        let value = BTreeMap::from([("token".parse().unwrap(), SecretBytes::from(token.to_owned()))]);
        let values = Values::new(value).unwrap();
        let anchor = Anchor::new(RootKeySource::beside(&self.at("store")));
        let mut store = Store::open(&self.at("store"), &anchor).unwrap();
        store.put(&item, Some(ServiceAccounts::Any), &values).unwrap();
    }

    fn secretfs(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(words).stdin(Stdio::null());
        command.env("SECRETFS_STATE_DIR", self.at("state")).env("SECRETFS_ADMIN_SOCKET", self.at("admin"));
        command.env("SECRETFS_STORE", self.at("store")).env("RUST_BACKTRACE", "0");
        self.by_user(&mut command);
        command
    }

    fn by_user(&self, command: &mut Command) {
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
    }

    fn run(&self, words: &[&str]) -> Told {
        Told::from(self.secretfs(words).output().unwrap())
    }

    /// Mounts a class at `target`, in a process that keeps running.
    fn start_at(&self, target: &Path, class: &str, flags: &[&str]) -> Mounting {
        let log = self.at(&format!("log-{}", fastrand::u64(..)));
        let to = File::create(&log).unwrap();
        let mut command = self.secretfs(&["mount"]);
        command.arg(self.at(class)).arg(target).args(flags);
        let child = command.stdout(to.try_clone().unwrap()).stderr(to).spawn().unwrap();
        Mounting { child, log }
    }

    fn start(&self, flags: &[&str]) -> Mounting {
        self.start_at(&self.mount_point(), "app.yaml", flags)
    }

    /// Mounts a class that reads from the Vault at `address`.
    fn start_on_vault(&self, address: &str, flags: &[&str]) -> Mounting {
        let parameters = format!(
            "    vaultAddress: {address}\n    roleName: shop\n    objects: |\n      - {{objectName: token, \
             secretPath: secret/data/app, secretKey: token}}\n"
        );
        self.class("vault.yaml", &class("vault", &parameters));
        fs::write(self.at("jwt"), "token").unwrap();
        fs::set_permissions(self.at("jwt"), fs::Permissions::from_mode(0o600)).unwrap();
        let token = format!("vault={}", self.at("jwt").display());
        let flags = [&["--service-account-token", &token], flags].concat();
        self.start_at(&self.mount_point(), "vault.yaml", &flags)
    }

    /// The same as [`start`](Self::start), and waits for the files.
    fn mounted(&self, flags: &[&str]) -> Mounting {
        let mut mounting = self.start(flags);
        assert!(mounting.serves(), "{}", mounting.log());
        mounting
    }

    /// Runs `secretfs mount` to its end.
    fn mount(&self, class: &str, flags: &[&str]) -> Told {
        let (class, target) = (self.at(class), self.mount_point());
        let words = ["mount", class.to_str().unwrap(), target.to_str().unwrap()];
        self.run(&[&words, flags].concat())
    }

    fn umount(&self) -> Told {
        self.run(&["umount", self.mount_point().to_str().unwrap()])
    }

    fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.mount_point().join(name)).ok()
    }

    fn mounts(&self) -> Vec<PathBuf> {
        mount_points_below(self.target.parent())
    }

    fn records(&self) -> usize {
        let directories = fs::read_dir(self.at("state/mounts")).into_iter().flatten().flatten();
        directories.map(|entry| fs::read_dir(entry.path().join("volumes")).map_or(0, Iterator::count)).sum()
    }
}

impl Mounting {
    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until the process serves its volume; `false` if it ended instead.
    fn serves(&mut self) -> bool {
        let mut ended = false;
        until("it serves its volume or ends", || {
            ended = self.child.try_wait().unwrap().is_some();
            ended || self.log().contains("mounted; SIGINT")
        });
        !ended
    }

    /// Waits for the end of the process, and returns how long that took.
    fn ended(&mut self) -> (ExitStatus, Duration) {
        let start = Instant::now();
        let mut ended = None;
        until("it ends", || {
            ended = self.child.try_wait().unwrap();
            ended.is_some()
        });
        (ended.unwrap(), start.elapsed())
    }

    fn stopped_by(&mut self, signal: Signal) -> (ExitStatus, Duration) {
        self.signal(signal);
        self.ended()
    }
}

impl Drop for Mounting {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn until(what: &str, mut happens: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !happens() {
        assert!(Instant::now() < deadline, "within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Mounts something, as other programs do.
fn foreign(kind: &[&str], at: &Path) {
    fs::create_dir_all(at).unwrap();
    assert!(Command::new("mount").args(kind).arg(at).status().unwrap().success(), "{}", at.display());
}

/// The mount table of the tests' namespace.
fn table() -> String {
    fs::read_to_string("/proc/thread-self/mountinfo").unwrap()
}

/// A store that accepts connections and never answers.
struct HangingStore(TcpListener);

impl HangingStore {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    /// Mounts a class of this store.
    fn start(&self, host: &Host, flags: &[&str]) -> Mounting {
        host.start_on_vault(&format!("http://{}", self.0.local_addr().unwrap()), flags)
    }

    /// Waits for a connection from `mounting`.
    fn called_by(&self, mounting: &Mounting) -> TcpStream {
        let mut call = None;
        until("the store is called", || {
            call = self.0.accept().ok();
            call.is_some() || !mounting.log().is_empty()
        });
        call.unwrap_or_else(|| panic!("{}", mounting.log())).0
    }
}
