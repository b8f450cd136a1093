//! Checks that the cluster does what the tests with it rely on.

#![allow(clippy::arithmetic_side_effects, reason = "numbers of tests are their own")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

/// `hack/test` recognises these tests by the name of the module.
mod cluster {
    use std::path::{Path, PathBuf};
    use std::process::{Command, Output};

    use testing::{Cluster, Component, Scope, until};

    const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  hostUsers: false
  terminationGracePeriodSeconds: 1
  containers:
  - {name: main, image: 'localhost/busybox:1', imagePullPolicy: Never, command: [sleep, '3600']}
";

    #[test]
    fn an_api_server_alone_keeps_objects_and_gives_tokens_for_an_audience() {
        let cluster = Cluster::start(Scope::ApiServer);
        cluster.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: words}, data: {first: one}}");
        cluster.kubectl(&["create", "serviceaccount", "web"]);

        let token = cluster.kubectl(&["create", "token", "web", "--audience", "vault"]);

        assert_eq!(cluster.field(&["configmap", "words"], ".data.first").as_deref(), Some("one"));
        assert_eq!(cluster.field(&["configmap", "other"], ".data.first"), None);
        assert_eq!(token.matches('.').count(), 2, "{token}");
    }

    #[test]
    fn a_whole_cluster_runs_a_pod_over_restarts_of_its_components_and_leaves_nothing() {
        let cluster = Cluster::start(Scope::Whole);
        let folder = cluster.folder().to_owned();
        cluster.apply(POD);
        cluster.wait_for("condition=Ready", &["pod", "web"]);
        let pod = cluster.field(&["pod", "web"], ".metadata.uid").unwrap();
        // The pod's root is another user on the host.
        let users = cluster.exec("default", "web", &["cat", "/proc/self/uid_map"]);
        assert_ne!(users.split_whitespace().nth(1), Some("0"), "{users}");

        cluster.kill(Component::ApiServer);
        assert!(cluster.try_kubectl(&["get", "pods"]).is_err());
        cluster.stop(Component::Kubelet);
        cluster.start_again(Component::ApiServer);
        cluster.start_again(Component::Kubelet);

        let echo = || cluster.try_kubectl(&["exec", "web", "--", "echo", "here"]);
        until(|| echo() == Ok("here\n".into()), || format!("{:?}", echo()));
        assert!(cluster.kubelet_root().join("pods").join(pod).is_dir());
        drop(cluster);
        assert!(!folder.exists());
        assert_eq!(mounts_below(&folder), Vec::<PathBuf>::new());
    }

    #[test]
    fn two_clusters_side_by_side_run_pods_of_one_name_and_know_nothing_of_one_another() {
        let [one, other] = [(); 2].map(|()| std::thread::spawn(|| Cluster::start(Scope::Whole)));
        let (one, other) = (one.join().unwrap(), other.join().unwrap());
        one.kubectl(&["create", "namespace", "shop"]);
        for cluster in [&one, &other] {
            cluster.apply(POD);
        }
        for cluster in [&one, &other] {
            cluster.wait_for("condition=Ready", &["pod", "web"]);
        }
        one.exec("default", "web", &["touch", "/here"]);

        let missing = other.try_kubectl(&["get", "namespace", "shop"]);
        let untouched = other.try_kubectl(&["exec", "web", "--", "ls", "/here"]);
        drop(other);

        assert!(missing.is_err_and(|complaint| complaint.contains("NotFound")));
        assert!(untouched.is_err());
        one.kubectl(&["get", "namespace", "shop"]);
        assert_eq!(one.exec("default", "web", &["ls", "/here"]), "/here\n");
    }

    #[test]
    fn what_is_left_of_a_start_that_failed_is_cleared_away_by_the_next() {
        let name = format!("again-{}", std::process::id());
        let up = || run(&["up", "--api-only", "--name", &name]);
        let first = up();
        let again = up();
        assert_eq!(first.stdout, again.stdout);
        assert!(told(&again).contains("up already"), "{}", told(&again));
        run(&["stop", "etcd", "--now", "--name", &name]);

        let afresh = up();

        assert!(told(&afresh).contains("clearing it away"), "{}", told(&afresh));
        assert!(run(&["status", "--name", &name]).status.success());
        assert!(run(&["down", "--name", &name]).status.success());
        assert_eq!(run(&["status", "--name", &name]).status.code(), Some(3));
    }

    #[test]
    fn a_cluster_ends_with_the_process_that_it_was_started_for() {
        let mut owner = Command::new("sleep").arg("600").spawn().unwrap();
        let (id, name) = (owner.id().to_string(), format!("owned-{}", std::process::id()));
        let up = run(&["up", "--api-only", "--name", &name, "--until-exit", &id]);
        assert!(up.status.success(), "{}", told(&up));

        owner.kill().unwrap();
        owner.wait().unwrap();

        let gone = || run(&["status", "--name", &name]).status.code() == Some(3);
        until(gone, || "the cluster did not end with its owner".into());
    }

    /// The path of a socket has at most 107 bytes (unix(7)), and the directory of a checkout may be deep.
    #[test]
    fn wherever_clusters_are_kept_the_paths_of_their_sockets_fit() {
        const LONGEST: &str = "/kubelet/plugins_registry/secrets-store.csi.k8s.io-00000000-reg.sock";
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../hack/cluster.d");
        let directory = |clusters: &str, name: &str| {
            let mut asked = Command::new("bash");
            asked.args(["-euc", r#"repository=unused; . "$1/run.sh"; directory_of "$2""#, "-"]);
            asked.arg(&scripts).arg(name).env("SECRETFS_CLUSTERS", clusters);
            String::from_utf8(asked.output().unwrap().stdout).unwrap().trim().to_owned()
        };

        for length in 5..60 {
            let clusters = format!("/{}", "c".repeat(length));
            for name in ["a", "sixteen-letters-"] {
                let directory = directory(&clusters, name);
                assert!(directory.len() + LONGEST.len() <= 107, "{directory}");
                assert!(directory.ends_with(&format!("/{name}")), "{directory}");
            }
        }
        assert_eq!(directory("/short", "web"), "/short/web");
        assert_ne!(directory("/with a blank", "web"), directory("/with another blank", "web"));
    }

    #[test]
    fn wrong_words_are_told_with_the_way_to_the_right_ones() {
        let wrong: [&[&str]; 4] =
            [&["up", "--nmae", "x"], &["up", "--name", "Upper"], &["stop", "kubeelt"], &["stop", "kubelet"]];

        let codes = wrong.map(|words| run(words).status.code().unwrap());

        assert_eq!(codes, [2, 2, 1, 1]);
        assert!(told(&run(&["up", "--nmae", "x"])).contains("hack/cluster --help"));
    }

    fn run(arguments: &[&str]) -> Output {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../hack/cluster");
        Command::new(program).args(arguments).output().unwrap()
    }

    fn told(output: &Output) -> String {
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    fn mounts_below(folder: &Path) -> Vec<PathBuf> {
        let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let points = table.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
        points.filter(|point| point.starts_with(folder)).collect()
    }
}
