//! Volumes whose files are read when somebody opens them: what the store sees of that, what programs see, and what is left.
//! The store is an OpenBao: its own audit log tells who read what. `secretfs node` serves the files, and this process reads.

use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use serde_json::{Value, json};
use testing::{Answer, FaultServer, Issuer, OpenBao, PodVolume, RunningNode, occurrences_in_all_memory};

use crate::embedded::Store;
use crate::fuse_node::{SOON, errno};

/// How long values are held in these tests, for who waits for the end of that.
const HOLD: Duration = Duration::from_secs(3);
/// How long the store may take to answer.
const TIMEOUT: Duration = Duration::from_secs(4);
/// The first kind of value that a test looks for in memory.
const FIRST: &str = "first";

/// A node whose class reads from a store when a file is opened.
struct Bench {
    node: RunningNode,
    bao: OpenBao,
    issuer: Issuer,
    /// An embedded store, for volumes that are always there.
    _store: Store,
}

impl Bench {
    async fn start() -> Self {
        let (issuer, bao, store) = (Issuer::start(), OpenBao::start(), Store::init());
        bao.auth_jwt("jwt", &issuer);
        bao.policy("shop", &[("secret/data/*", &["read"])]);
        let role = json!({
            "role_type": "jwt", "bound_audiences": ["vault"], "user_claim": "sub", "token_policies": "shop"
        });
        bao.write("auth/jwt/role/shop", &role);
        bao.mount_kv2("secret");
        store.put("shop", "app", "always");
        let node =
            RunningNode::with_mounter(env!("CARGO_BIN_EXE_secretfs"), &["--store", store.path()]).await;
        let eager = crate::support::store_class(&["objectName: a, item: app"]);
        let eager = eager.replacen("name: app", "name: eager", 1);
        node.class("eager", &eager.replace("    objects: |", "    secretfs.dev/mode: fuse\n    objects: |"));
        Self { node, bao, issuer, _store: store }
    }

    fn put(&self, value: &str) {
        self.bao.put("secret", "app", &json!({"key": value}));
    }

    /// A class of one object, `key`, at the store with this address.
    fn class(&self, name: &str, address: &str, settings: &[(&str, &str)]) {
        let objects = "- {objectName: key, secretPath: secret/data/app, secretKey: key}";
        self.class_of((name, "shop"), address, objects, settings);
    }

    fn class_of(
        &self,
        (name, namespace): (&str, &str),
        address: &str,
        objects: &str,
        settings: &[(&str, &str)],
    ) {
        let own: String =
            settings.iter().map(|(key, value)| format!("    secretfs.dev/{key}: {value}\n")).collect();
        let manifest = format!(
            "apiVersion: secrets-store.csi.x-k8s.io/v1\nkind: SecretProviderClass\n\
             metadata: {{name: {name}, namespace: {namespace}}}\nspec:\n  provider: vault\n  parameters:\n    \
             vaultAddress: {address}\n    roleName: shop\n    vaultAuthMountPath: jwt\n    secretfs.dev/auth: jwt\n    \
             secretfs.dev/mode: fuse\n    secretfs.dev/fetch: on-open\n{own}    objects: |\n      {objects}\n"
        );
        self.node.class(name, &manifest);
    }

    async fn publish(&self, name: &str, class: &str) -> PodVolume {
        self.publish_in("shop", name, class).await
    }

    async fn publish_in(&self, namespace: &str, name: &str, class: &str) -> PodVolume {
        let pod = PodVolume { namespace: namespace.to_owned(), ..PodVolume::new(name, class) };
        let token = self.issuer.mint(&pod.claims());
        let pod = pod.token("vault", token);
        self.node.publish_until_done(&pod).await;
        pod
    }

    fn file(&self, pod: &PodVolume, name: &str) -> PathBuf {
        self.node.target(pod).join(name)
    }

    /// How often the store was asked for the value, and how often it was logged in to.
    fn asked(&self) -> (usize, usize) {
        (self.bao.requests("read", "secret/data/app"), self.bao.requests("update", "auth/jwt/login"))
    }

    /// The audit records of the node about files that were opened, or were to be.
    fn opens(&self) -> Vec<Value> {
        let records = self.node.audit();
        let records = records.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        records
            .filter(|record| ["open", "deny"].contains(&record["api"]["operation"].as_str().unwrap_or("")))
            .collect()
    }

    async fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let started = Instant::now();
        while !is_so() {
            assert!(started.elapsed() < SOON, "{what}\n{}\n{}", self.node.log(), self.node.audit());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// How often the memory of the node and its mounter holds a value.
    fn in_memory(&self, value: &str) -> usize {
        let pids = [self.node.node_pid(), self.node.mounter_pid()];
        pids.iter().map(|pid| occurrences_in_all_memory(*pid, value.as_bytes())).sum()
    }
}

fn unique(kind: &str) -> String {
    format!("canary-{kind}-{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_sees_no_read_before_the_first_open_and_one_for_all_who_open_within_the_time() {
    let bench = Bench::start().await;
    bench.put("1");
    bench.class("app", &bench.bao.address(), &[("hold", "5m")]);
    let pod = bench.publish("web", "app").await;
    let path = bench.file(&pod, "key");
    let sizes = (fs::metadata(&path).unwrap().len(), fs::read_dir(bench.node.target(&pod)).unwrap().count());
    assert_eq!((sizes, bench.asked()), ((0, 3), (0, 0)), "names and sizes tell nothing and ask nobody");

    let texts: Vec<_> = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..100).map(|_| scope.spawn(|| fs::read_to_string(&path).unwrap())).collect();
        readers.into_iter().map(|reader| reader.join().unwrap()).collect()
    });
    bench.put("2");
    let within = fs::read_to_string(&path).unwrap();

    assert!(texts.iter().all(|text| text == "1") && within == "1", "{within} {texts:?}");
    assert_eq!(bench.asked(), (1, 1));
    let count = || -> u64 {
        let opens = bench.opens();
        assert!(opens.iter().all(|open| open["status"] == "success"), "{opens:?}");
        opens.iter().map(|open| open["count"].as_u64().unwrap_or(1)).sum()
    };
    bench.node.unpublish(&pod).await.unwrap();
    bench.until("each open is in the audit trail once", || count() == 101).await;
    let open = bench.opens().remove(0);
    assert_eq!(
        (&open["resources"][0]["name"], &open["resources"][0]["version"]),
        (&json!("key"), &json!("1")),
        "{open}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn after_its_time_a_value_is_read_anew_for_who_opens_and_is_nowhere_before_that() {
    let bench = Bench::start().await;
    let (first, second) = (unique(FIRST), unique("second"));
    bench.put(&first);
    bench.class("app", &bench.bao.address(), &[("hold", "3s")]);
    let pod = bench.publish("web", "app").await;
    let path = bench.file(&pod, "key");
    let held = File::open(&path).unwrap();
    let mapping = sys::Mapping::new(File::open(&path).unwrap().as_fd(), first.len()).unwrap();
    assert_eq!(held.metadata().unwrap().size(), first.len() as u64, "an open file has its size");
    assert_eq!(mapping.read(), first.as_bytes());
    let asked = bench.asked();
    assert_eq!(asked.0, 1);

    tokio::time::sleep(HOLD).await;
    let is_gone = || mapping.resident_pages().unwrap() == 0 && bench.in_memory(&first) == 0;
    bench.until("the value is in no memory and in no page", is_gone).await;
    assert_eq!(bench.asked().0, 1, "and nobody reads it again for himself");

    let mut text = vec![0; first.len()];
    held.read_exact_at(&mut text, 0).unwrap();
    assert_eq!((text.as_slice(), mapping.read().as_slice()), (first.as_bytes(), first.as_bytes()));
    assert_eq!(bench.asked().0, 2, "a handle asks again, and shows its version");
    tokio::time::sleep(HOLD).await;
    bench.put(&second);
    bench.until("it is gone again", is_gone).await;
    assert_eq!(fs::read_to_string(&path).unwrap(), second);
    assert_eq!(errno(held.read_at(&mut text, 0)), Errno::STALE, "its version is no more");
    assert_eq!(bench.asked().0, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_when_a_file_is_opened_is_an_error_in_time_and_other_volumes_go_on() {
    let bench = Bench::start().await;
    bench.put("1");
    bench.class("app", &bench.bao.address(), &[("timeout", "4s"), ("hold", "1s")]);
    let (pod, other) = (bench.publish("web", "app").await, bench.publish("other", "eager").await);
    let (path, there) = (bench.file(&pod, "key"), bench.file(&other, "a"));
    assert_eq!(fs::read_to_string(&path).unwrap(), "1");
    let held = File::open(&path).unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;

    bench.bao.freeze();
    let (refused, took, reads) = std::thread::scope(|scope| {
        let started = Instant::now();
        let opening = scope.spawn(|| errno(File::open(&path)));
        let reading = scope.spawn(|| errno(held.read_at(&mut [0; 1], 0)));
        let mut reads = 0;
        while !(opening.is_finished() && reading.is_finished()) {
            assert_eq!(fs::read_to_string(&there).unwrap(), "always");
            reads += 1;
            std::thread::sleep(Duration::from_millis(5));
        }
        ([opening.join().unwrap(), reading.join().unwrap()], started.elapsed(), reads)
    });
    bench.bao.thaw();

    println!("{refused:?} after {took:?}, {reads} reads of another volume meanwhile");
    let told = [Errno::TIMEDOUT, Errno::IO];
    assert!(refused.iter().all(|errno| told.contains(errno)), "{refused:?}");
    assert!(took >= TIMEOUT && reads > 10, "{took:?} {reads}");
    let failed = |open: &Value| open["status"] == "failure" && open["resources"][0]["path"] == "key";
    bench.until("the failure is audited", || bench.opens().iter().any(failed)).await;
    bench.until("the file is back", || fs::read_to_string(&path).is_ok_and(|text| text == "1")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_starts_again_reads_for_held_files_when_somebody_reads_them() {
    let mut bench = Bench::start().await;
    let first = unique(FIRST);
    bench.put(&first);
    bench.class("app", &bench.bao.address(), &[("hold", "5m")]);
    let pod = bench.publish("web", "app").await;
    let path = bench.file(&pod, "key");
    let held = File::open(&path).unwrap();
    let mut text = vec![0; first.len()];
    held.read_exact_at(&mut text, 0).unwrap();
    let before = bench.asked().0;

    bench.node.restart_node().await;
    assert_eq!(bench.in_memory(&first), 0, "nothing was handed over");
    bench.publish("web", "app").await;

    assert_eq!((before, bench.asked().0), (1, 1), "and nobody asked yet");
    let mut again = vec![0; first.len()];
    held.read_exact_at(&mut again, 0).unwrap();
    assert_eq!((again == text, fs::read_to_string(&path).unwrap()), (true, first));
    assert_eq!(bench.asked().0, 2);
    bench.node.unpublish(&pod).await.unwrap();
    assert_eq!(bench.node.mounts().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_hangs_for_who_opens_holds_up_no_open_of_another_namespace() {
    let bench = Bench::start().await;
    bench.put("1");
    let hanging = FaultServer::http(|_| Answer::Hang);
    let object = "- {objectName: key, secretPath: secret/data/app, secretKey: key}";
    bench.class_of(("hangs", "evil"), &hanging.url(), object, &[("timeout", "5s")]);
    bench.class("app", &bench.bao.address(), &[("hold", "1ms")]);
    let mut hostile = Vec::new();
    for n in 0..4 {
        hostile.push(bench.publish_in("evil", &format!("hostile-{n}"), "hangs").await);
    }
    let pod = bench.publish("web", "app").await;
    let path = bench.file(&pod, "key");

    let (longest, failed) = std::thread::scope(|scope| {
        let files = hostile.iter().flat_map(|pod| vec![bench.file(pod, "key"); 150]);
        let opens: Vec<_> = files.map(|file| scope.spawn(move || File::open(file).is_err())).collect();
        std::thread::sleep(Duration::from_secs(1));
        let mut longest = Duration::ZERO;
        for _ in 0..20 {
            let started = Instant::now();
            assert_eq!(fs::read_to_string(&path).unwrap(), "1", "{}", bench.node.log());
            longest = longest.max(started.elapsed());
        }
        (longest, opens.into_iter().filter_map(|open| open.join().ok()).filter(|is_err| *is_err).count())
    });

    println!("{failed} opens of a store that hangs failed; the longest of another store took {longest:?}");
    assert_eq!(failed, 600);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_class_of_a_thousand_files_that_are_read_when_opened_costs_no_call_and_little_memory() {
    let bench = Bench::start().await;
    bench.put("1");
    let object =
        |n: usize| format!("- {{objectName: f{n}, secretPath: secret/data/app, secretKey: key}}\n      ");
    let objects: String = (0..1000).map(object).collect();
    bench.class_of(("many", "shop"), &bench.bao.address(), objects.trim_end(), &[]);

    let pod = bench.publish("web", "many").await;
    let names = fs::read_dir(bench.node.target(&pod)).unwrap().count();

    assert_eq!((names, bench.asked()), (1002, (0, 0)));
    assert_eq!(fs::read_to_string(bench.file(&pod, "f999")).unwrap(), "1");
    assert_eq!(bench.asked().0, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_class_lists_other_files_also_after_a_restart_and_reads_none() {
    let mut bench = Bench::start().await;
    bench.put("1");
    let object =
        |name: &str| format!("- {{objectName: {name}, secretPath: secret/data/app, secretKey: key}}");
    bench.class_of(("app", "shop"), &bench.bao.address(), &object("old"), &[("hold", "5m")]);
    let pod = bench.publish("web", "app").await;
    let held = File::open(bench.file(&pod, "old")).unwrap();

    bench.class_of(("app", "shop"), &bench.bao.address(), &object("d/new"), &[("hold", "5m")]);
    bench.until("the new file is listed", || bench.file(&pod, "d/new").exists()).await;
    assert_eq!(errno(fs::read(bench.file(&pod, "old"))), Errno::NOENT);
    let refused =
        || held.read_at(&mut [0; 1], 0).is_err_and(|error| errno(Err::<(), _>(error)) == Errno::ACCESS);
    bench.until("a handle of a file that is listed no more is refused", refused).await;
    bench.node.restart_node().await;
    bench.publish("web", "app").await;

    assert_eq!(bench.asked().0, 1, "an edit and a restart read nothing");
    assert_eq!(fs::read_to_string(bench.file(&pod, "d/new")).unwrap(), "1");
    assert_eq!(errno(fs::read(bench.file(&pod, "old"))), Errno::NOENT);
    assert_eq!(bench.asked().0, 2);
}
