//! `secretfs store` on the command line, and the state of a store after the command is killed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use provider::{Error, Identity, Parameters, Provider as _, Source, Tenure, Workload};
use provider_store::{Anchor, EmbeddedStore, Item, RootKeySource, Store};
use serde_json::Value;
use tempfile::TempDir;

const CANARY: &str = "canary-8e1b64c07d5f4a92";
/// Much longer than a change takes, so that a test fails only if a change is lost.
const SOON: Duration = Duration::from_secs(30);

/// A host with a store. Its root key is in a place of its own.
struct Host {
    home: TempDir,
}

impl Host {
    fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap() }
    }

    fn with_store() -> Self {
        let host = Self::new();
        host.ok(&["init"], "");
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn store(&self) -> PathBuf {
        self.path("store")
    }

    fn root(&self) -> RootKeySource {
        RootKeySource::File(self.path("root.key"))
    }

    fn write(&self, name: &str, contents: &str) -> String {
        fs::write(self.path(name), contents).unwrap();
        self.path(name).to_str().unwrap().to_owned()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        self.program(Path::new(env!("CARGO_BIN_EXE_secretfs")), arguments)
    }

    fn program(&self, binary: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary);
        command.arg("store").args(arguments);
        command.env("SECRETFS_STORE", self.store()).env("SECRETFS_ROOT_KEY", self.path("root.key"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str], stdin: &str) -> Output {
        let mut child = self.command(arguments).spawn().unwrap();
        // A command that fails before it reads closes the pipe, so the error is ignored.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        child.wait_with_output().unwrap()
    }

    fn ok(&self, arguments: &[&str], stdin: &str) -> String {
        let output = self.run(arguments, stdin);
        assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, arguments: &[&str], stdin: &str) -> Value {
        serde_json::from_str(&self.ok(&[arguments, &["-o", "json"]].concat(), stdin)).unwrap()
    }

    fn refused(&self, arguments: &[&str], stdin: &str) -> String {
        let output = self.run(arguments, stdin);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", stderr(&output));
        assert!(output.stdout.is_empty());
        stderr(&output)
    }

    fn source(&self, object: &str) -> std::sync::Arc<dyn Source> {
        let objects = format!("- {{objectName: file, {object}}}");
        let parameters = Parameters::from([("objects".to_owned(), objects)]);
        EmbeddedStore::new(self.store(), self.root()).source("shop", &parameters).unwrap()
    }

    fn read(&self, object: &str) -> Result<Vec<u8>, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(read(&*self.source(object)))
    }

    /// Newest first.
    fn versions(&self, name: &str) -> Vec<u64> {
        let item = Item { namespace: "default".parse().unwrap(), name: name.parse().unwrap() };
        let history = Store::open(&self.store(), &Anchor::new(self.root())).unwrap().history(&item).unwrap();
        history.iter().map(|version| version.version).collect()
    }

    fn audit(&self) -> Vec<Value> {
        let log = fs::read_to_string(self.store().join("audit.log")).unwrap();
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

async fn read(source: &dyn Source) -> Result<Vec<u8>, Error> {
    let workload = Workload {
        identity: Identity::named("default", "web"),
        pod: None,
        volume: "volume".to_owned(),
        tokens: BTreeMap::new(),
        credentials: BTreeMap::new(),
    };
    let session = source.session(&workload, Tenure::Shared).await?;
    let reading = session.read(&source.objects()[0].request).await?;
    Ok(source.extract(0, &reading)?.contents.expose().to_vec())
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_value_is_kept_to_the_byte_however_it_comes() {
    let host = Host::with_store();
    let file = host.write("value", "with a line end\n");
    let json = host.write("login.json", r#"{"user": "u\u00e9\n", "pass": "p\"w"}"#);

    host.ok(&["put", "from/stdin"], "no line end");
    host.ok(&["put", "from/file", "--file", &file], "");
    host.ok(&["put", "from/dash", "--file", "-"], "\0\n");
    let put = host.json(&["put", "from/json", "--json", &json], "");

    assert_eq!(host.read("item: from/stdin").unwrap(), b"no line end");
    assert_eq!(host.read("item: from/file").unwrap(), b"with a line end\n");
    assert_eq!(host.read("item: from/dash").unwrap(), b"\0\n");
    assert_eq!(host.read("item: from/json, key: user").unwrap(), "ué\n".as_bytes());
    assert_eq!(host.read("item: from/json, key: pass").unwrap(), b"p\"w");
    assert_eq!(put["version"], 1);
    assert_eq!(put["keys"], serde_json::json!(["pass", "user"]));
}

/// Waits until the terminal shows `prompt`, then types `line`.
fn answer(terminal: &mut Child, shown: &mut Vec<u8>, prompt: &str, line: &str) {
    let mut byte = [0];
    while !shown.ends_with(prompt.as_bytes()) {
        assert_eq!(terminal.stdout.as_mut().unwrap().read(&mut byte).unwrap(), 1, "{prompt}: {shown:?}");
        shown.push(byte[0]);
    }
    terminal.stdin.as_mut().unwrap().write_all(line.as_bytes()).unwrap();
}

/// A `secretfs store` command at a terminal.
fn at_a_terminal(host: &Host, command: &str) -> Child {
    Command::new("script")
        .args(["-qec", &format!("{} store {command}", env!("CARGO_BIN_EXE_secretfs")), "/dev/null"])
        .env("SECRETFS_STORE", host.store())
        .env("SECRETFS_ROOT_KEY", host.path("root.key"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script, of the package bsdutils")
}

/// Runs a put at a terminal and types `first` and then `second`. Returns what the terminal showed, and whether the
/// command succeeded.
fn typed(host: &Host, first: &str, second: Option<&str>) -> (String, bool) {
    let mut terminal = at_a_terminal(host, "put typed");
    let mut shown = Vec::new();
    answer(&mut terminal, &mut shown, "Value (not shown): ", first);
    if let Some(second) = second {
        answer(&mut terminal, &mut shown, "The same again: ", second);
    }
    terminal.stdout.as_mut().unwrap().read_to_end(&mut shown).unwrap();
    (String::from_utf8(shown).unwrap(), terminal.wait().unwrap().success())
}

#[test]
fn a_value_typed_at_a_terminal_is_not_shown_and_has_to_be_typed_twice() {
    let host = Host::with_store();

    let (shown, put) = typed(&host, &format!("{CANARY}\n"), Some(&format!("{CANARY}\n")));
    assert!(put && !shown.contains(CANARY), "{shown}");
    assert_eq!(host.read("item: typed").unwrap(), CANARY.as_bytes());

    let (shown, put) = typed(&host, &format!("{CANARY}\n"), Some("something else\n"));
    assert!(!put && shown.contains("the two differ") && !shown.contains(CANARY), "{shown}");
    let (shown, put) = typed(&host, &format!("{CANARY}\x03"), None);
    assert!(!put && shown.contains("interrupted") && !shown.contains(CANARY), "{shown}");
    assert_eq!(host.versions("typed"), [1]);
}

#[test]
fn a_deletion_at_a_terminal_is_asked_about_unless_it_is_told_not_to() {
    let host = Host::with_store();
    let delete = |arguments: &str, said: Option<&str>| {
        let mut terminal = at_a_terminal(&host, &format!("delete api {arguments}"));
        let mut shown = Vec::new();
        if let Some(said) = said {
            answer(&mut terminal, &mut shown, "? [y/N] ", said);
        }
        terminal.stdout.as_mut().unwrap().read_to_end(&mut shown).unwrap();
        (String::from_utf8(shown).unwrap(), terminal.wait().unwrap().success())
    };
    let restorable = |shown: &str| shown.contains("`secretfs store undelete` brings it back? [y/N]");
    host.ok(&["put", "api"], "one");

    for no in ["\n", "n\n", "no\n", "\x04"] {
        let (shown, deleted) = delete("", Some(no));
        assert!(!deleted && restorable(&shown) && shown.contains("nothing was deleted"), "{no:?}: {shown}");
    }
    assert_eq!(host.read("item: api").unwrap(), b"one");
    let (shown, deleted) = delete("", Some("y\n"));
    assert!(deleted && restorable(&shown), "{shown}");
    assert!(host.read("item: api").unwrap_err().to_string().contains("was deleted"));

    host.ok(&["undelete", "api"], "");
    let (shown, deleted) = delete("--yes", None);
    assert!(deleted && !shown.contains("[y/N]"), "{shown}");
    let (shown, deleted) = delete("--purge", Some("yes\n"));
    assert!(deleted && shown.contains("it cannot be brought back? [y/N]"), "{shown}");
    assert!(host.refused(&["undelete", "api"], "").contains("nothing is deleted that could be brought back"));
}

#[test]
fn a_deletion_is_taken_back_until_its_time_is_up() {
    let host = Host::with_store();
    host.ok(&["put", "api"], "one");
    host.ok(&["put", "api"], "two");
    let deleted = host.json(&["delete", "api", "--keep", "30d"], "");
    assert_eq!(deleted["versions"], serde_json::json!([1, 2]));
    let until: jiff::Timestamp = deleted["restorable_until"].as_str().unwrap().parse().unwrap();
    let days = until.duration_since(jiff::Timestamp::now()).as_hours() / 24;
    assert!((29..=30).contains(&days), "{days}");
    assert!(host.json(&["history", "api"], "")[0]["restorable_until"].is_string());

    assert!(host.ok(&["undelete", "api", "--version", "2"], "").contains("brought back item api"));

    assert_eq!(host.read("item: api").unwrap(), b"two");
    assert!(host.read("item: api, version: 1").is_err());
    host.ok(&["delete", "api", "--keep", "0"], "");
    host.ok(&["put", "other"], "x");
    assert!(host.refused(&["undelete", "api", "--version", "2"], "").contains("nothing is deleted"));
    for (wrong, code) in [(["--keep", "soon"], 2), (["--keep", "7"], 2)] {
        assert_eq!(
            host.run(&["delete", "api", wrong[0], wrong[1]], "").status.code(),
            Some(code),
            "{wrong:?}"
        );
    }
    assert_eq!(host.run(&["delete", "api", "--purge", "--keep", "1d"], "").status.code(), Some(2));
    assert!(host.refused(&["undelete", "nowhere"], "").contains("there is no item nowhere"));
}

#[test]
fn what_is_put_can_be_listed_described_and_deleted() {
    let host = Host::with_store();
    host.ok(&["put", "shop/api", "--key", "token"], "one");
    host.ok(&["put", "shop/api", "--key", "token", "--service-account", "web"], "two");
    host.ok(&["put", "other", "--namespace", "shop"], "x");

    let list = host.ok(&["list"], "");
    let lines: Vec<_> = list.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
    assert_eq!(lines[0], ["NAMESPACE", "NAME", "VERSION", "PUT"]);
    assert_eq!(lines[1][..3], ["default", "shop/api", "2"]);
    assert_eq!(lines[2][..3], ["shop", "other", "1"]);
    assert_eq!(host.json(&["list", "--namespace", "shop"], "").as_array().unwrap().len(), 1);

    let description = host.json(&["describe", "shop/api"], "");
    assert_eq!(description["service_accounts"], serde_json::json!({"only": ["web"]}));
    assert_eq!(description["keys"], serde_json::json!({"token": 2}));
    assert!(host.ok(&["describe", "shop/api"], "").contains("key token         version 2"));

    assert_eq!(host.json(&["delete", "shop/api", "--version", "1"], "")["versions"], serde_json::json!([1]));
    let history = host.json(&["history", "shop/api"], "");
    assert!(history[1]["deleted"].is_string() && history[0]["deleted"].is_null());
    let deleted = host.ok(&["delete", "shop/api"], "");
    assert!(
        deleted.starts_with("deleted item shop/api of namespace default (version 2); until "),
        "{deleted}"
    );
    assert!(deleted.contains("`secretfs store undelete shop/api -n default` brings it back"), "{deleted}");
    assert_eq!(host.ok(&["list"], "").lines().count(), 2);
    assert_eq!(host.ok(&["list", "--all"], "").lines().count(), 3);
}

#[test]
fn a_host_with_the_public_bundle_alone_puts_for_another_to_import() {
    let (host, writer) = (Host::with_store(), Host::new());
    let bundle = writer.path("public.json");
    let (bundle, record) = (bundle.to_str().unwrap(), writer.path("api.record"));
    host.ok(&["export-public", "--out", bundle], "");

    let told = writer.ok(&["put", "api", "--bundle", bundle, "--out", record.to_str().unwrap()], CANARY);
    assert!(told.contains("secretfs store import"), "{told}");
    assert!(!writer.store().exists());
    assert!(!fs::read_to_string(&record).unwrap().contains(CANARY));

    host.ok(&["import", record.to_str().unwrap()], "");
    assert_eq!(host.read("item: api").unwrap(), CANARY.as_bytes());
    assert!(host.refused(&["import", record.to_str().unwrap()], "").contains("is not newer than"));
}

#[test]
fn several_records_are_imported_in_the_order_of_their_versions() {
    let host = Host::with_store();
    let bundle = host.path("public.json");
    host.ok(&["export-public", "--out", bundle.to_str().unwrap()], "");
    let record = |version: &str| {
        let path = host.path(version);
        let arguments = [
            "put",
            "api",
            "--bundle",
            bundle.to_str().unwrap(),
            "--version",
            version,
            "--out",
            path.to_str().unwrap(),
        ];
        host.ok(&arguments, version);
        path.to_str().unwrap().to_owned()
    };
    let (newer, older) = (record("20"), record("3"));

    host.ok(&["import", &newer, &older], "");

    assert_eq!(host.versions("api"), [20, 3]);
    assert_eq!(host.read("item: api").unwrap(), b"20");
}

#[test]
fn keys_rotate_under_a_store_in_use() {
    let host = Host::with_store();
    host.ok(&["put", "api"], "value");
    let old = fs::read(host.path("root.key")).unwrap();

    host.ok(&["rotate-key"], "");
    let rotated = host.json(&["rotate-key", "--root"], "");
    assert!(rotated["root_key"].is_string() && rotated["damaged"].as_array().unwrap().is_empty());
    assert_eq!(host.read("item: api").unwrap(), b"value");

    fs::write(host.path("root.key"), old).unwrap();
    let error = host.read("item: api").unwrap_err().to_string();
    assert!(error.contains("the store was sealed to"), "{error}");
}

#[test]
fn what_cannot_be_done_names_the_object_the_reason_and_the_remedy() {
    let host = Host::new();
    for command in [&["list"][..], &["put", "api"], &["rotate-key"], &["export-public"]] {
        let told = host.refused(command, "x");
        assert!(told.contains("there is no store in") && told.contains("secretfs store init"), "{told}");
    }
    host.ok(&["init"], "");
    host.ok(&["put", "api"], "x");

    let refusals = [
        (&["init"][..], "", "there is a store in"),
        (
            &["describe", "other"],
            "",
            "there is no item other of namespace default; see `secretfs store list`",
        ),
        (&["delete", "api", "--version", "7"], "", "item api of namespace default has no version 7"),
        (&["put", "api"], "", "the value is empty"),
        (&["put", "api", "--file", "/nonexistent/value"], "", "/nonexistent/value: No such file"),
        (&["import", "/nonexistent/record"], "", "/nonexistent/record: No such file"),
        (&["rotate-key", "--namespace", "nowhere"], "", "namespace nowhere has no items and no key"),
    ];
    for (arguments, stdin, expected) in refusals {
        let told = host.refused(arguments, stdin);
        assert!(told.contains(expected), "{arguments:?}: {told}");
    }
    let huge = "x".repeat(600 * 1024);
    assert!(host.refused(&["put", "api"], &huge).contains("longer than 512 KiB"));
    assert_eq!(host.versions("api"), [1]);
}

#[test]
fn a_file_without_an_end_is_given_up_at_the_longest_that_it_may_be() {
    let host = Host::with_store();
    for (arguments, expected) in [
        (&["import", "/dev/zero"][..], "/dev/zero is longer than 4 MiB: it is no ciphertext record"),
        (
            &["put", "api", "--bundle", "/dev/zero", "--out", "-"],
            "/dev/zero is longer than 4 MiB: it is no public bundle",
        ),
        (&["put", "api", "--file", "/dev/zero"], "longer than 512 KiB, which is the most that a version"),
        (&["put", "api", "--json", "/dev/zero"], "longer than 512 KiB"),
        (&["put", "api", "--root-public", "/dev/zero"], "/dev/zero"),
    ] {
        let told = host.refused(arguments, "");
        assert!(told.contains(expected), "{arguments:?}: {told}");
    }
}

#[test]
fn a_json_object_that_has_a_key_twice_is_refused_and_the_values_are_not_told() {
    let host = Host::with_store();
    let twice =
        host.write("twice.json", &format!(r#"{{"user": "{CANARY}", "pass": "x", "user": "{CANARY}2"}}"#));

    let told = host.refused(&["put", "api", "--json", &twice], "");

    assert!(told.contains("twice.json has the key user twice; nothing was put"), "{told}");
    assert!(!told.contains(CANARY));
    assert!(host.refused(&["history", "api"], "").contains("there is no item api"));
}

#[test]
fn what_is_typed_wrong_exits_with_2() {
    let host = Host::with_store();
    for arguments in [
        &["put"][..],
        &["put", "a b"],
        &["put", "api", "--value", "x"],
        &["put", "api", "--bundle", "b"],
        &["put", "api", "--json", "f", "--key", "k"],
        &["rotate-key", "--root", "--namespace", "shop"],
        &["show", "api"],
        &["get", "api"],
        &["restore", "--accept"],
        &["restore", "api"],
    ] {
        assert_eq!(host.run(arguments, "").status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn no_command_prints_or_logs_a_value_whatever_becomes_of_it() {
    let host = Host::new();
    let canary_file = host.write("canary", CANARY);
    let wrong_json = host.write("wrong.json", &format!(r#"{{"user": "{CANARY}", "pass": ["{CANARY}"]}}"#));
    let right_json = host.write("right.json", &format!(r#"{{"user": "{CANARY}"}}"#));
    let json_string = host.write("string.json", &format!("\"{CANARY}\""));
    let bundle = host.path("public.json").to_str().unwrap().to_owned();
    let record = host.path("record").to_str().unwrap().to_owned();
    let mut seen = String::new();
    for (arguments, stdin) in [
        (&["put", "api"][..], CANARY),
        (&["init"], ""),
        (&["put", "api"], CANARY),
        (&["put", "api", "--file", &canary_file], ""),
        (&["put", "api", "--json", &wrong_json], ""),
        (&["put", "api", "--json", &canary_file], ""),
        (&["put", "api", "--json", &right_json], ""),
        (&["export-public", "--out", &bundle], ""),
        (&["export-public"], ""),
        (&["put", "b", "--bundle", &bundle, "--out", &record], CANARY),
        (&["put", "b", "--bundle", &bundle, "--out", "-"], CANARY),
        (&["put", "b", "--bundle", &canary_file, "--out", &record], CANARY),
        (&["import", &record], ""),
        (&["import", &record], ""),
        (&["import", &canary_file], ""),
        (&["import", &json_string], ""),
        (&["import", &right_json], ""),
        (&["put", "b", "--bundle", &json_string, "--out", &record], CANARY),
        (&["put", "b", "--json", &json_string], ""),
        (&["list"], ""),
        (&["describe", "api"], ""),
        (&["history", "api"], ""),
        (&["rotate-key"], ""),
        (&["rotate-key", "--root"], ""),
        (&["delete", "api", "--version", "1"], ""),
        (&["delete", "api"], ""),
        (&["undelete", "api"], ""),
        (&["restore", "--accept-older"], ""),
        (&["delete", "api", "--purge"], ""),
    ] {
        for format in ["text", "json"] {
            let mut command = host.command(&[arguments, &["-o", format]].concat());
            let mut child = command.env("SECRETFS_LOG", "trace").env("RUST_LOG", "trace").spawn().unwrap();
            let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
            let output = child.wait_with_output().unwrap();
            seen += &format!("{}{}", String::from_utf8_lossy(&output.stdout), stderr(&output));
        }
    }

    assert!(seen.contains("version 1 of item api"), "{seen}");
    assert!(!seen.contains(CANARY), "{seen}");
    for file in fs::read_dir(host.store()).unwrap() {
        let path = file.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        assert!(!bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes()), "{}", path.display());
    }
}

#[test]
fn every_command_leaves_one_audit_record() {
    let host = Host::with_store();
    host.ok(&["put", "shop/api"], "one");
    host.refused(&["delete", "shop/other"], "");
    host.ok(&["rotate-key"], "");
    let elsewhere = host.path("elsewhere.log");
    host.ok(&["list", "--audit-log", elsewhere.to_str().unwrap()], "");
    let told = host.ok(&["list", "--audit-log", "-"], "");
    assert!(told.lines().any(|line| line.contains(r#""operation":"list""#)), "{told}");

    let records = host.audit();
    let told: Vec<_> = records
        .iter()
        .map(|record| [&record["api"]["operation"], &record["status"], &record["resources"][0]["name"]])
        .collect();
    assert_eq!(
        told,
        [
            ["init", "success", "store"],
            ["put", "success", "default/shop/api"],
            ["delete", "failure", "default/shop/other"],
            ["rotate-key", "success", "namespace keys"],
        ]
    );
    assert_eq!(records[1]["resources"][0]["version"], "1");
    assert_eq!(fs::read_to_string(elsewhere).unwrap().lines().count(), 1);
}

#[test]
fn an_older_state_is_refused_until_its_restore_is_said_to_be_one() {
    let host = Host::with_store();
    host.ok(&["put", "api"], "one");
    let backup = fs::read_dir(host.store()).unwrap().map(|file| {
        let path = file.unwrap().path();
        (path.clone(), fs::read(path).unwrap())
    });
    let backup: Vec<_> = backup.collect();
    host.ok(&["put", "api"], "two");
    assert!(host.ok(&["restore"], "").contains("nothing in the store is older"));

    for (path, contents) in backup {
        fs::write(path, contents).unwrap();
    }

    for command in [&["put", "api"][..], &["restore"], &["rotate-key"], &["delete", "api"]] {
        let told = host.refused(command, "three");
        assert!(told.contains("secretfs store restore --accept-older"), "{command:?}: {told}");
        assert!(
            told.contains("item api of namespace default is at version 1, and had version 2 before")
                || told.contains("the checkpoint of namespace default is an older one"),
            "{command:?}: {told}"
        );
    }
    let refused = host.audit();
    assert_eq!(refused.last().unwrap()["status"], "failure");
    assert!(refused.last().unwrap().to_string().contains("rolled back"), "{refused:?}");
    assert!(host.read("item: api").unwrap_err().to_string().contains("rolled back"));

    let accepted = host.json(&["restore", "--accept-older"], "");
    assert_eq!(accepted["older"][0]["namespace"], "default");
    assert_eq!(host.read("item: api").unwrap(), b"one");
    assert_eq!(host.json(&["put", "api"], "again")["version"], 2);
}

/// Gives the store, and every directory above it, to a group.
fn share(host: &Host, group: u32) {
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    mode(host.home.path(), 0o755);
    let files = fs::read_dir(host.store()).unwrap().map(|file| file.unwrap().path());
    for path in files.chain([host.store()]) {
        // A change of the group clears the set-group-id bit only of files that are not directories.
        chown(&path, None, Some(group)).unwrap();
    }
}

#[test]
fn a_member_of_the_stores_group_puts_and_reads_nothing() {
    const MEMBER: u32 = 54_321;
    const GROUP: u32 = 54_322;
    let host = Host::with_store();
    share(&host, GROUP);
    // Other users may not read the directory in which the program was built.
    let binary = host.path("secretfs");
    crate::support::copy_program(&binary);
    let run = |arguments: &[&str], group: u32| {
        let mut command = host.program(&binary, arguments);
        let mut child = command.uid(MEMBER).gid(group).current_dir("/").spawn().unwrap();
        let _ = child.stdin.take().unwrap().write_all(b"by a member");
        child.wait_with_output().unwrap()
    };

    let put = run(&["put", "api"], GROUP);
    assert!(put.status.success() && put.stderr.is_empty(), "{}", stderr(&put));
    assert!(run(&["list"], GROUP).status.success());
    assert_eq!(host.audit().last().unwrap()["actor"]["process"]["uid"], MEMBER);
    let rotate = stderr(&run(&["rotate-key"], GROUP));
    assert!(rotate.contains("root.key is not for this user"), "{rotate}");
    let stranger = stderr(&run(&["put", "api"], GROUP + 1));
    assert!(stranger.contains("run as a member of the directory's group"), "{stranger}");

    assert_eq!(host.read("item: api").unwrap(), b"by a member");
    assert_eq!(host.versions("api"), [1]);
}

#[test]
fn processes_that_put_at_once_lose_nothing() {
    const WRITERS: usize = 4;
    const PUTS: usize = 8;
    let host = Host::with_store();

    let versions: Vec<u64> = std::thread::scope(|scope| {
        let write = |writer: usize| {
            let host = &host;
            let put = move |round: usize| {
                let put = host.json(&["put", "api"], &format!("{writer}/{round}"));
                put["version"].as_u64().unwrap()
            };
            scope.spawn(move || (0..PUTS).map(put).collect::<Vec<_>>())
        };
        let writers: Vec<_> = (0..WRITERS).map(write).collect();
        writers
            .into_iter()
            .flat_map(|writer| {
                let versions = writer.join().unwrap();
                assert!(versions.is_sorted(), "{versions:?}");
                versions
            })
            .collect()
    });

    let all = (WRITERS * PUTS) as u64;
    assert_eq!(versions.iter().copied().collect::<BTreeSet<_>>(), (1..=all).collect());
    let values: BTreeSet<Vec<u8>> =
        (1..=all).map(|version| host.read(&format!("item: api, version: {version}")).unwrap()).collect();
    assert_eq!(values.len(), WRITERS * PUTS);
}

#[test]
fn of_many_that_put_at_once_each_has_its_turn() {
    const WRITERS: usize = 8;
    const PUTS: usize = 30;
    let host = Host::with_store();
    let began = std::time::Instant::now();

    let longest = std::thread::scope(|scope| {
        let write = |writer: usize| {
            let host = &host;
            scope.spawn(move || {
                let puts = (0..PUTS).map(|round| {
                    let began = std::time::Instant::now();
                    host.ok(&["put", &format!("item-{writer}")], &format!("{round}"));
                    began.elapsed()
                });
                puts.max().unwrap()
            })
        };
        let writers: Vec<_> = (0..WRITERS).map(write).collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).max().unwrap()
    });

    println!("{} puts in {:?}, the longest {longest:?}", WRITERS * PUTS, began.elapsed());
    for writer in 0..WRITERS {
        let newest = host.read(&format!("item: item-{writer}")).unwrap();
        assert_eq!(newest, (PUTS - 1).to_string().as_bytes());
    }
}

#[test]
fn who_waits_for_a_turn_says_so_and_has_it_when_the_other_is_done() {
    let host = Host::with_store();
    let lock = fs::File::open(host.store().join("queue.lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let mut put = host.command(&["put", "api"]).spawn().unwrap();
    put.stdin.take().unwrap().write_all(b"value").unwrap();
    let mut told = [0; 1];
    let mut errors = put.stderr.take().unwrap();

    errors.read_exact(&mut told).unwrap();
    drop(lock);
    let mut rest = String::new();
    errors.read_to_string(&mut rest).unwrap();

    assert!(put.wait().unwrap().success());
    assert!(rest.contains("waiting for others that write to the store"), "{rest}");
    assert_eq!(host.read("item: api").unwrap(), b"value");
}

/// Runs a command and kills it after `delay`, if it still runs. Returns whether it had ended well before.
fn kill_after(mut command: Command, stdin: &str, delay: Duration) -> bool {
    let mut child = command.spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    std::thread::sleep(delay);
    child.kill().unwrap();
    child.wait().unwrap().success()
}

/// Delays that hit every step of a command on any machine: from zero to twice the command's duration.
fn delays(host: &Host, arguments: &[&str], rounds: u32) -> impl Iterator<Item = Duration> + use<> {
    let begin = std::time::Instant::now();
    host.ok(arguments, "to see how long it takes");
    let longest = begin.elapsed() * 2;
    (0..rounds).map(move |round| longest * round / rounds)
}

#[test]
fn a_writer_killed_at_any_moment_leaves_a_whole_store() {
    let host = Host::with_store();
    let mut acknowledged = 0;
    for (round, delay) in delays(&host, &["put", "api"], 50).enumerate() {
        let before = host.versions("api").len();
        let value = format!("round {round}");
        let put = kill_after(host.command(&["put", "api"]), &value, delay);
        acknowledged += usize::from(put);

        let after = host.versions("api");
        assert!(after.len() == before + 1 || (after.len() == before && !put), "round {round} at {delay:?}");
        assert_eq!(
            after.iter().rev().copied().collect::<Vec<_>>(),
            (1..=after.len() as u64).collect::<Vec<_>>()
        );
        if after.len() > before {
            assert_eq!(host.read("item: api").unwrap(), value.as_bytes());
        }
    }
    assert!((1..50).contains(&acknowledged), "{acknowledged} of 50 were not killed: the delays are off");
}

#[test]
fn a_rotation_killed_at_any_moment_leaves_a_readable_store() {
    let host = Host::with_store();
    host.ok(&["put", "api"], "one");
    let bundle = host.path("public.json").to_str().unwrap().to_owned();
    host.ok(&["export-public", "--out", &bundle], "");
    let record = host.path("record").to_str().unwrap().to_owned();
    host.ok(&["put", "sealed/to/root", "-n", "new", "--bundle", &bundle, "--out", &record], "x");
    host.ok(&["import", &record], "");

    for arguments in [&["rotate-key", "--root"][..], &["rotate-key"]] {
        for delay in delays(&host, arguments, 50) {
            kill_after(host.command(arguments), "", delay);

            assert_eq!(host.read("item: api").unwrap(), b"one", "{arguments:?} at {delay:?}");
        }
    }
    host.ok(&["rotate-key", "--root"], "");
    host.ok(&["rotate-key"], "");
    assert_eq!(host.read("item: api").unwrap(), b"one");
    assert!(!host.path("root.key.next").exists());
}

#[tokio::test]
async fn a_put_by_another_process_reaches_a_subscriber() {
    let host = Host::with_store();
    let source = host.source("item: api");
    let mut changes = source.changes().unwrap();

    for round in 0..5 {
        host.ok(&["put", "api"], &format!("round {round}"));

        tokio::time::timeout(SOON, changes.changed()).await.unwrap();
        assert_eq!(read(&*source).await.unwrap(), format!("round {round}").as_bytes());
    }
}

#[test]
fn the_help_teaches_how_to_put() {
    let help = Host::new().ok(&["put", "--help"], "");

    for lesson in ["printf %s", "--service-account web", "never", "--bundle public.json", "512 KiB"] {
        assert!(help.contains(lesson), "{lesson}: {help}");
    }
}
