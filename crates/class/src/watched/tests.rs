use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::*;

/// Longer than any of this takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(30);

struct Watched {
    dir: TempDir,
    classes: Arc<WatchedClasses>,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Watched {
    fn directory(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        files.iter().for_each(|(name, text)| fs::write(dir.path().join(name), text).unwrap());
        let (classes, watch) = WatchedClasses::directory(dir.path()).unwrap();
        Self::run(dir, classes, watch)
    }

    fn run(dir: TempDir, classes: Arc<WatchedClasses>, watch: Watch) -> Self {
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(watch.run(shutdown.clone()));
        Self { dir, classes, shutdown, task }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Waits until the provider of `shop/NAME` is `expected`.
    async fn until(&self, name: &str, expected: Option<&str>) {
        let mut changes = self.classes.changes();
        let reached = async {
            while self.provider(name).await.as_deref() != expected {
                changes.changed().await.unwrap();
            }
        };
        tokio::time::timeout(DEADLINE, reached).await.expect("the class as it was written");
    }

    async fn provider(&self, name: &str) -> Option<String> {
        self.classes.get(&class_name(name)).await.ok().map(|class| class.provider.clone())
    }

    async fn until_problem(&self, words: &str) {
        let reached = async {
            while !self.classes.problems().iter().any(|problem| problem.reason.contains(words)) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(DEADLINE, reached).await.expect("the problem to be noticed");
    }

    async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(DEADLINE, self.task).await.unwrap().unwrap();
    }
}

fn class_name(name: &str) -> ClassName {
    ClassName { namespace: "shop".to_owned(), name: name.to_owned() }
}

fn class(name: &str, provider: &str) -> String {
    format!(
        "apiVersion: secrets-store.csi.x-k8s.io/v1\nkind: SecretProviderClass\nmetadata: {{name: {name}, namespace: shop}}\nspec: {{provider: {provider}, parameters: {{k: v}}}}\n"
    )
}

#[tokio::test]
async fn classes_are_read_from_every_manifest_of_the_directory() {
    let two = class("b", "p") + "---\n" + &class("c", "p");
    let json = r#"{"apiVersion":"secrets-store.csi.x-k8s.io/v1","kind":"SecretProviderClass","metadata":{"name":"d","namespace":"shop"},"spec":{"provider":"p","parameters":{"k":"v"}}}"#;

    let watched = Watched::directory(&[
        ("a.yaml", &class("a", "p")),
        ("b.yml", &two),
        ("d.json", json),
        ("e.txt", &class("e", "p")),
        (".f.yaml", &class("f", "p")),
    ]);

    assert_eq!(watched.classes.names(), ["a", "b", "c", "d"].map(class_name));
    assert_eq!(watched.classes.problems(), []);
    watched.stop().await;
}

#[tokio::test]
async fn a_class_that_nobody_defines_is_not_found() {
    let watched = Watched::directory(&[]);

    assert_eq!(watched.classes.get(&class_name("a")).await, Err(Error::NotFound(class_name("a"))));
    watched.stop().await;
}

#[tokio::test]
async fn files_that_come_change_and_go_are_noticed() {
    let watched = Watched::directory(&[]);

    watched.write("a.yaml", &class("a", "one"));
    watched.until("a", Some("one")).await;

    watched.write("a.yaml", &class("a", "two"));
    watched.until("a", Some("two")).await;

    watched.write(".a.new", &class("a", "three"));
    fs::rename(watched.path(".a.new"), watched.path("a.yaml")).unwrap();
    watched.until("a", Some("three")).await;

    fs::remove_file(watched.path("a.yaml")).unwrap();
    watched.until("a", None).await;
    watched.stop().await;
}

#[tokio::test]
async fn a_swap_of_links_as_kubelet_makes_it_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let version = |name: &str, provider: &str| {
        fs::create_dir(dir.path().join(name)).unwrap();
        fs::write(dir.path().join(name).join("a.yaml"), class("a", provider)).unwrap();
        let fresh = dir.path().join("..data_tmp");
        symlink(name, &fresh).unwrap();
        fs::rename(fresh, dir.path().join("..data")).unwrap();
    };
    version("..1", "one");
    symlink("..data/a.yaml", dir.path().join("a.yaml")).unwrap();
    let (classes, watch) = WatchedClasses::directory(dir.path()).unwrap();
    version("..2", "two");

    let watched = Watched::run(dir, classes, watch);

    watched.until("a", Some("two")).await;
    watched.stop().await;
}

#[tokio::test]
async fn a_file_that_breaks_keeps_its_last_good_classes_and_is_named() {
    let watched = Watched::directory(&[("a.yaml", &class("a", "one")), ("b.yaml", &class("b", "one"))]);

    watched.write("a.yaml", "kind: [");
    watched.until_problem("last good classes are kept").await;
    watched.write("b.yaml", &class("b", "two"));
    watched.until("b", Some("two")).await;

    assert_eq!(watched.provider("a").await.as_deref(), Some("one"));
    let refusal = watched.classes.get(&class_name("c")).await.unwrap_err().to_string();
    assert!(refusal.contains("shop/c") && refusal.contains("a.yaml"), "{refusal}");

    watched.write("a.yaml", &class("a", "two"));
    watched.until("a", Some("two")).await;
    assert_eq!(watched.classes.problems(), []);
    watched.stop().await;
}

#[tokio::test]
async fn of_two_files_with_one_class_the_first_wins_and_both_are_named() {
    let watched = Watched::directory(&[("a.yaml", &class("x", "one")), ("b.yaml", &class("x", "two"))]);

    assert_eq!(watched.provider("x").await.as_deref(), Some("one"));
    let problems = watched.classes.problems();
    assert!(problems[0].file.ends_with("b.yaml") && problems[0].reason.contains("a.yaml"), "{problems:?}");

    fs::remove_file(watched.path("a.yaml")).unwrap();
    watched.until("x", Some("two")).await;
    watched.stop().await;
}

#[tokio::test]
async fn a_directory_that_is_replaced_is_watched_again() {
    let outer = tempfile::tempdir().unwrap();
    let inner = outer.path().join("classes");
    let fill = |path: &Path, provider: &str| {
        fs::create_dir(path).unwrap();
        fs::write(path.join("a.yaml"), class("a", provider)).unwrap();
    };
    fill(&inner, "one");
    let (classes, watch) = WatchedClasses::directory(&inner).unwrap();
    let watched = Watched::run(outer, classes, watch);

    fill(&watched.path("next"), "two");
    fs::rename(&inner, watched.path("old")).unwrap();
    fs::rename(watched.path("next"), &inner).unwrap();

    watched.until("a", Some("two")).await;
    fs::write(inner.join("a.yaml"), class("a", "three")).unwrap();
    watched.until("a", Some("three")).await;
    watched.stop().await;
}

#[tokio::test]
async fn what_is_written_and_deleted_between_the_beginning_of_the_watch_and_the_first_reading_is_known() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    for name in ["a", "b"] {
        fs::write(path(&format!("{name}.yaml")), class(name, "one")).unwrap();
    }

    let (classes, _watch) = WatchedClasses::open(Source::Directory(dir.path().to_owned()), || {
        fs::write(path("a.yaml"), class("a", "two")).unwrap();
        fs::remove_file(path("b.yaml")).unwrap();
    })
    .unwrap();

    assert_eq!(classes.names(), [class_name("a")]);
    assert_eq!(classes.get(&class_name("a")).await.unwrap().provider, "two");
}

#[tokio::test]
async fn what_is_written_and_deleted_between_the_first_reading_and_the_run_of_the_watch_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    for name in ["a", "b"] {
        fs::write(path(&format!("{name}.yaml")), class(name, "one")).unwrap();
    }
    let (classes, watch) = WatchedClasses::directory(dir.path()).unwrap();
    let (of_file, watch_of_file) = WatchedClasses::file(path("a.yaml")).unwrap();

    fs::write(path("a.yaml"), class("a", "two")).unwrap();
    fs::remove_file(path("b.yaml")).unwrap();

    let watched = Watched::run(tempfile::tempdir().unwrap(), of_file, watch_of_file);
    watched.until("a", Some("two")).await;
    watched.stop().await;
    let watched = Watched::run(dir, classes, watch);
    watched.until("a", Some("two")).await;
    watched.until("b", None).await;
    watched.stop().await;
}

#[tokio::test]
async fn a_directory_that_is_replaced_before_the_first_reading_is_read_and_watched() {
    let outer = tempfile::tempdir().unwrap();
    let [inner, next, old] = ["classes", "next", "old"].map(|name| outer.path().join(name));
    for (directory, provider) in [(&inner, "one"), (&next, "two")] {
        fs::create_dir(directory).unwrap();
        fs::write(directory.join("a.yaml"), class("a", provider)).unwrap();
    }
    let (classes, watch) = WatchedClasses::open(Source::Directory(inner.clone()), || {
        fs::rename(&inner, &old).unwrap();
        fs::rename(&next, &inner).unwrap();
    })
    .unwrap();
    assert_eq!(classes.get(&class_name("a")).await.unwrap().provider, "two");

    let watched = Watched::run(outer, classes, watch);
    fs::write(inner.join("a.yaml"), class("a", "three")).unwrap();

    watched.until("a", Some("three")).await;
    fs::remove_file(inner.join("a.yaml")).unwrap();
    watched.until("a", None).await;
    watched.stop().await;
}

#[tokio::test]
async fn one_file_is_read_again_when_it_changes_and_kept_while_it_is_away() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("class.yaml");
    fs::write(&file, class("a", "one")).unwrap();
    fs::write(dir.path().join("other.yaml"), class("b", "one")).unwrap();
    let (classes, watch) = WatchedClasses::file(&file).unwrap();
    let watched = Watched::run(dir, classes, watch);
    assert_eq!(watched.classes.names(), [class_name("a")]);

    fs::remove_file(&file).unwrap();
    watched.until_problem("No such file").await;
    assert_eq!(watched.provider("a").await.as_deref(), Some("one"));

    fs::write(&file, class("a", "two")).unwrap();
    watched.until("a", Some("two")).await;
    watched.stop().await;
}

#[tokio::test]
async fn a_directory_that_is_none_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    assert!(WatchedClasses::directory(dir.path().join("missing")).is_err());
}

#[tokio::test]
async fn a_huge_file_is_refused_like_a_broken_one() {
    let watched = Watched::directory(&[("a.yaml", &"#".repeat(5 * 1024 * 1024))]);

    assert!(watched.classes.problems()[0].reason.contains("longer than"));
    watched.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_regular_file_is_a_problem_of_its_own_and_holds_nothing_up() {
    let watched = Watched::directory(&[("a.yaml", &class("a", "one"))]);

    rustix::fs::mkfifoat(rustix::fs::CWD, watched.path("b.yaml"), rustix::fs::Mode::from_raw_mode(0o600))
        .unwrap();
    symlink("/dev/zero", watched.path("c.yaml")).unwrap();
    fs::create_dir(watched.path("d.yaml")).unwrap();
    watched.write("a.yaml", &class("a", "two"));
    watched.until("a", Some("two")).await;

    watched.until_problem("no regular file").await;
    let problems = watched.classes.problems();
    let named: Vec<_> = problems.iter().filter_map(|problem| problem.file.file_name()?.to_str()).collect();
    assert_eq!(named, ["b.yaml", "c.yaml", "d.yaml"], "{problems:?}");
    watched.stop().await;
}
