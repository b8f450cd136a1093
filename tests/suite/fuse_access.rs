//! Volumes of mode fuse whose classes say which containers may open what. The processes of containers are real, in real
//! cgroups and mount namespaces; what kubelet and a runtime make for them is made by the test. `tests/cluster/e2e` has the
//! real ones.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use engine::mode::{
    Appearance, Caller, Confinement, Door, Due, Error, Fuse, Listing, Loan, Mode as _, Mounted, Opening,
};
use engine::snapshot::FingerprintKey;
use manifest::{AccessRules, Settings};
use mounter::{LocalMounter, Roots};
use provider::{ObjectPath, SecretBytes};
use testing::{Cgroups, enter_container, in_private_mounts, prepare_last_words};
use tokio::runtime::Runtime;

use crate::support::{Target, object_path, snapshot};

const MAX_BYTES: u64 = 1 << 20;
/// The pod of [`Target::of_kubelet`].
const POD: &str = "pod-uid";
const RULES: &str =
    "- {containers: [web], paths: [\"db/**\"]}\n- {containers: [web, helper], paths: [tls.crt]}\n";

/// A pod with a volume, and containers `web` and `helper`.
struct Pod {
    volume: Box<dyn Mounted>,
    cgroups: Cgroups,
    target: Target,
}

fn id(digit: &str) -> String {
    digit.repeat(64)
}

fn rules(text: &str) -> AccessRules {
    let mut settings = Settings::default();
    settings.set("secretfs.dev/access", text).unwrap();
    settings.access
}

fn confinement(text: &str) -> Confinement {
    Confinement { pod: POD.to_owned(), rules: rules(text) }
}

impl Pod {
    fn new() -> Self {
        Self::with(|fuse, target, appearance| {
            let files = snapshot(&[("db/user", "shop"), ("tls.crt", "certificate"), ("other", "x")]);
            fuse.mount(target, &files, appearance).unwrap()
        })
    }

    fn with(mount: impl FnOnce(&Fuse, &Path, &Appearance) -> Box<dyn Mounted>) -> Self {
        let (target, mut cgroups) = (Target::of_kubelet(), Cgroups::new());
        for (container, digit) in [("web", "a"), ("helper", "b")] {
            prepare_last_words(&target.parent().join(POD), container);
            cgroups.make(&format!("pod{POD}/{}", id(digit)));
        }
        fs::write(target.parent().join("last-words"), "").unwrap();
        let fuse = Fuse::new(Arc::new(LocalMounter::new(Roots::default())), MAX_BYTES).telling_opens(true);
        let appearance = Appearance { access: Some(confinement(RULES)), ..Appearance::default() };
        let volume = mount(&fuse, &target.path(), &appearance);
        Self { volume, cgroups, target }
    }

    /// What a shell does to become a process of a container: its cgroup, its mounts.
    fn enter(&self, cgroup: &Path, container: &str) -> String {
        let parent = self.target.parent();
        let words = prepare_last_words(&parent.join(POD), container);
        enter_container(&words, &parent.join("last-words"), cgroup)
    }

    fn cgroup(&self, digit: &str) -> PathBuf {
        self.cgroups.at(&format!("pod{POD}/{}", id(digit)))
    }

    /// A program in the container `web` or `helper`.
    fn run(&self, container: &str, program: &str) -> Output {
        let cgroup = self.cgroup(if container == "web" { "a" } else { "b" });
        self.shell(&format!("{} && exec {program}", self.enter(&cgroup, container)))
    }

    fn shell(&self, script: &str) -> Output {
        let script = format!("set -e; cd {}; {script}", self.target.path().display());
        let mut shell = Command::new("unshare");
        shell
            .args(["--mount", "--propagation", "private", "timeout", "60", "sh", "-c", &script])
            .output()
            .unwrap()
    }
}

/// What it printed, or the last word of its error.
fn told(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        String::from_utf8_lossy(&output.stdout).into_owned()
    } else {
        error.trim().to_owned()
    }
}

fn assert_denied(output: &Output) {
    assert!(!output.status.success() && told(output).ends_with("Permission denied"), "{output:?}");
}

#[test]
fn a_container_opens_what_the_rules_give_it_and_nothing_else() {
    in_private_mounts(|| {
        let pod = Pod::new();

        assert_eq!(told(&pod.run("web", "cat db/user")), "shop");
        assert_eq!(told(&pod.run("web", "cat tls.crt")), "certificate");
        assert_eq!(told(&pod.run("helper", "cat tls.crt")), "certificate");
        assert_denied(&pod.run("helper", "cat db/user"));
        assert_denied(&pod.run("web", "cat other"));
        assert_eq!(told(&pod.run("helper", "ls db")), "user\n", "names are no secret");
        let stranger = fs::read(pod.target.file("tls.crt")).unwrap_err();
        assert_eq!(stranger.kind(), std::io::ErrorKind::PermissionDenied, "a process of the node");
    });
}

#[test]
fn a_cgroup_that_a_container_makes_with_the_id_of_another_makes_it_no_other() {
    in_private_mounts(|| {
        let mut pod = Pod::new();
        for below in [id("a"), format!("pod{POD}/{}", id("a"))] {
            let forged = pod.cgroups.make(&format!("pod{POD}/{}/{below}", id("b")));
            let entered = pod.enter(&forged, "helper");
            assert_denied(&pod.shell(&format!("{entered} && exec cat db/user")));
        }
        let stranger = pod.cgroups.make(&format!("podother/{}/pod{POD}/{}", id("c"), id("a")));
        assert_denied(&pod.shell(&format!("{} && exec cat db/user", pod.enter(&stranger, "web"))));
    });
}

#[test]
fn a_container_that_is_given_an_open_file_reads_it_by_its_own_rules() {
    in_private_mounts(|| {
        let pod = Pod::new();
        let other = format!("umount ../last-words 2>/dev/null; {}", pod.enter(&pod.cgroup("b"), "helper"));
        let script = format!(
            "{}; exec 3<db/user; cat <&3; sh -c 'umount {}/last-words; {other} && exec cat <&3'",
            pod.enter(&pod.cgroup("a"), "web"),
            pod.target.parent().display(),
        );

        let output = pod.shell(&script);

        assert_denied(&output);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "shop");
    });
}

#[test]
fn a_process_whose_container_has_no_name_waits_a_moment_and_is_denied_until_the_name_is_known() {
    in_private_mounts(|| {
        let pod = Pod::new();
        let nameless = format!("echo $$ >{}/cgroup.procs && exec cat db/user", pod.cgroup("a").display());

        let begun = Instant::now();
        assert_denied(&pod.shell(&nameless));
        assert!(
            (Duration::from_secs(2)..Duration::from_secs(15)).contains(&begun.elapsed()),
            "{:?}",
            begun.elapsed()
        );
        assert_eq!(told(&pod.run("web", "cat db/user")), "shop");
        assert_eq!(told(&pod.shell(&nameless)), "shop", "its container is known now");
    });
}

#[test]
fn rules_that_change_hold_for_the_next_read_of_a_running_container() {
    in_private_mounts(|| {
        let pod = Pod::new();

        pod.volume.confine(Some(&confinement("- {containers: [helper], paths: [\"**\"]}"))).unwrap();
        assert_eq!(told(&pod.run("helper", "cat db/user")), "shop");
        assert_denied(&pod.run("web", "cat db/user"));
        pod.volume.confine(None).unwrap();
        assert_eq!(told(&pod.run("web", "cat other")), "x");
        assert_eq!(fs::read_to_string(pod.target.file("other")).unwrap(), "x");
    });
}

#[test]
fn root_on_the_node_becomes_a_process_of_a_container_at_will() {
    in_private_mounts(|| {
        let pod = Pod::new();
        let script =
            format!("cat db/user || {{ {} && exec cat db/user; }}", pod.enter(&pod.cgroup("a"), "web"));

        let output = pod.shell(&script);

        assert_eq!(told(&output), "shop");
        assert!(String::from_utf8_lossy(&output.stderr).contains("Permission denied"), "{output:?}");
    });
}

#[test]
fn a_process_that_ran_before_is_recognised_again_and_one_with_its_number_is_not() {
    in_private_mounts(|| {
        let pod = Pod::new();

        let script = "sh -c 'i=0; while [ $i -lt 300 ]; do read -r x <db/user || [ \"$x\" ]; i=$((i+1)); done; echo $i $x'";
        assert_eq!(told(&pod.run("web", script)), "300 shop\n");
        for _ in 0..20 {
            assert_denied(&pod.run("helper", "cat db/user"));
            assert_eq!(told(&pod.run("web", "cat db/user")), "shop");
        }
    });
}

/// How many times each container got a file, and was denied one.
fn counted(pod: &Pod) -> BTreeMap<(String, bool), u64> {
    let mut sums = BTreeMap::new();
    for opening in pod.volume.take_opens(Due::All) {
        let container = opening.caller.container.unwrap_or_default();
        *sums.entry((container, opening.is_allowed)).or_default() += opening.count;
    }
    sums
}

#[test]
fn each_of_a_hundred_thousand_opens_is_counted_once_under_its_container_while_containers_come_and_go() {
    const CONTAINERS: u64 = 20;
    const EACH: u64 = 2_500;
    in_private_mounts(|| {
        let pod = Pod::new();
        // `true` is a part of the shell: each round is one open.
        let open = |file: &str| {
            format!(
                "sh -c 'i=0; while [ $i -lt {EACH} ]; do true <{file} 2>/dev/null || :; i=$((i+1)); done; echo $i'"
            )
        };
        let mut sums: BTreeMap<(String, bool), u64> = BTreeMap::new();

        std::thread::scope(|scope| {
            for (container, file) in [("web", "db/user"), ("helper", "tls.crt")] {
                let (pod, open) = (&pod, open(file));
                scope.spawn(move || {
                    for _ in 0..CONTAINERS {
                        assert_eq!(told(&pod.run(container, &open)), format!("{EACH}\n"));
                    }
                });
            }
        });
        assert_denied(&pod.run("helper", "cat db/user"));
        for (kind, count) in counted(&pod) {
            *sums.entry(kind).or_default() += count;
        }

        let all = CONTAINERS * EACH;
        assert_eq!(sums.get(&("web".to_owned(), true)), Some(&all), "{sums:?}");
        assert_eq!(sums.get(&("helper".to_owned(), true)), Some(&all), "{sums:?}");
        assert_eq!(sums.get(&("helper".to_owned(), false)), Some(&1), "{sums:?}");
        assert_eq!(sums.len(), 3, "{sums:?}");
    });
}

#[test]
fn opens_of_a_volume_without_rules_are_told_by_container_user_and_program_too() {
    in_private_mounts(|| {
        let pod = Pod::new();
        pod.volume.confine(None).unwrap();

        assert_eq!(told(&pod.run("web", "cat other")), "x");
        assert_eq!(fs::read_to_string(pod.target.file("other")).unwrap(), "x");

        let mut opens = pod.volume.take_opens(Due::News);
        opens.sort_by_key(|opening| opening.caller.container.clone());
        let containers: Vec<_> = opens.iter().map(|opening| opening.caller.container.as_deref()).collect();
        assert_eq!(containers, [None, Some("web")]);
        assert!(opens.iter().all(|opening| opening.caller.uid == Some(0) && opening.count == 1), "{opens:?}");
        assert_eq!(opens[0].program, std::env::current_exe().ok(), "this process");
    });
}

/// Knows what files hold, and remembers who asked.
#[derive(Debug, Default)]
struct Remembering(Mutex<Vec<(String, Caller)>>);

#[async_trait]
impl Door for Remembering {
    async fn open(&self, path: &ObjectPath, caller: &Caller, _: Duration) -> Result<Loan, Error> {
        self.0.lock().unwrap().push((path.to_string(), caller.clone()));
        if path.as_str() == "other" {
            return Err(Error::Refused("the store says no".into()));
        }
        let version = FingerprintKey::new(&[7; 32]).fingerprint(path, b"shop");
        Ok(Loan::new(SecretBytes::from("shop".to_owned()), version, Arc::default()))
    }
}

#[test]
fn nobody_is_asked_for_a_file_that_no_rule_gives_and_who_asks_is_told() {
    in_private_mounts(|| {
        let runtime = Runtime::new().unwrap();
        let _inside = runtime.enter();
        let door = Arc::new(Remembering::default());
        let asking = Arc::clone(&door) as Arc<dyn Door>;
        let listing: Listing = ["db/user", "tls.crt", "other"].map(|path| (object_path(path), None)).into();
        let pod = Pod::with(|fuse, target, appearance| {
            fuse.prepare_on_open(target, &listing, appearance, &asking).unwrap().show().unwrap()
        });

        assert_denied(&pod.run("helper", "cat db/user"));
        assert_denied(&pod.run("web", "cat other"));
        assert_eq!(told(&pod.run("helper", "ls db")), "user\n");
        assert_eq!(door.0.lock().unwrap().len(), 0, "the rules are judged before anybody is asked");
        for _ in 0..3 {
            assert_eq!(told(&pod.run("web", "cat db/user")), "shop");
        }
        pod.volume.confine(Some(&confinement("- {containers: [helper], paths: [other]}"))).unwrap();
        assert_denied(&pod.run("helper", "cat other"));

        let asked = door.0.lock().unwrap();
        let by = |(path, caller): &(String, Caller)| {
            let Caller { pod, container, uid, .. } = caller.clone();
            (path.clone(), pod, container, uid)
        };
        let web = ("db/user".to_owned(), Some(POD.to_owned()), Some("web".to_owned()), Some(0));
        assert!(asked[..3].iter().all(|asked| by(asked) == web), "{asked:?}");
        let opens = pod.volume.take_opens(Due::All);
        let sum = |container: &str, path: &str, is_allowed: bool| -> u64 {
            let is_it = |opening: &&Opening| {
                opening.caller.container.as_deref() == Some(container)
                    && opening.path.as_deref() == Some(path)
                    && opening.is_allowed == is_allowed
            };
            opens.iter().filter(is_it).map(|opening| opening.count).sum()
        };
        let counts = [
            ("web", "db/user", true),
            ("helper", "db/user", false),
            ("web", "other", false),
            ("helper", "other", false),
        ];
        assert_eq!(
            counts.map(|(container, path, is_allowed)| sum(container, path, is_allowed)),
            [3, 1, 1, 1],
            "{opens:?}"
        );
        let refused = opens.iter().find_map(|opening| opening.unopened.clone()).unwrap();
        assert!(refused.is_denial && refused.why == "the store says no", "{refused:?}");
    });
}
