//! Values sealed to a key of age, which a file of this machine opens.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use provider::{ErrorKind, Identity, Object, Parameters, Provider as _, Providers, Result, Source, Workload};
use provider_sealed::{NodeKey, Place, Sealed, SealedText, Sealer};
use tempfile::TempDir;

use crate::texts::{changed, read};

const MINE: [&str; 2] = [
    "age16wjnk0v4rrjdfs542rvjrk87gl9dkpwhjcsxs3gqgm3cf35nvfhqxg7sqj",
    "AGE-SECRET-KEY-10UPJW04EWVJFK3G79390AD04DFNR3JC4UZD3MX359D3JSWYMJEPS3TH8PX",
];
const THEIRS: [&str; 2] = [
    "age1n5wq07ky3fe2sglfgygq5lcshcr60l39j27axzpurr204v3zrpfsfv9zxe",
    "AGE-SECRET-KEY-1X3D56J4WLQVD9V8RGD9GLD8MG8R7FAHQH9YV839NS5HPZPRWVHJSJPHFTM",
];

/// A machine with an identity in a file.
struct Machine {
    directory: TempDir,
}

impl Machine {
    fn new(identity: &str) -> Self {
        let machine = Self { directory: tempfile::tempdir().unwrap() };
        machine.write(identity);
        machine
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("identity")
    }

    fn write(&self, identity: &str) {
        fs::write(self.file(), format!("# a comment\n{identity}\n")).unwrap();
        fs::set_permissions(self.file(), PermissionsExt::from_mode(0o600)).unwrap();
    }

    fn key(&self) -> NodeKey {
        NodeKey { file: Some(self.file()), is_forbidden: false }
    }
}

fn sealer(key: NodeKey) -> Sealer {
    Sealer::new(Some("host".to_owned()), Providers::default()).with_node_key(key)
}

fn workload() -> Workload {
    Workload {
        identity: Identity::named("shop", "till"),
        pod: None,
        volume: "v".to_owned(),
        tokens: BTreeMap::new(),
        credentials: BTreeMap::new(),
    }
}

fn place(object: &str) -> Place {
    let [environment, namespace, class, object] = ["host", "shop", "till", object].map(str::to_owned);
    Place { environment, namespace, class, object }
}

fn parameters(key: &str, objects: &str) -> Parameters {
    [("kms", "age"), ("kmsKey", key), ("objects", objects)]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

/// Sealed by somebody who has no identity at all.
async fn seal(recipient: &str, object: &str, value: &[u8]) -> SealedText {
    let desk = sealer(NodeKey::default());
    let kms = desk.kms(&parameters(recipient, "")).unwrap();
    desk.seal(place(object), &kms, &workload(), &provider::SecretBytes::new(value.to_vec())).await.unwrap()
}

fn class(recipient: &str, name: &str, text: &SealedText) -> Parameters {
    parameters(recipient, &format!("- {{objectName: {name}, sealed: \"{}\"}}", text.lines().join(" ")))
}

fn source(key: NodeKey, class: &Parameters) -> Arc<dyn Source> {
    Sealed::new(sealer(key)).source_of("shop", "till", class).unwrap()
}

async fn shown(key: NodeKey, class: &Parameters) -> Result<Object> {
    read(&*source(key, class), &workload(), 0).await
}

#[tokio::test]
async fn who_has_the_recipient_seals_and_who_has_its_identity_opens() {
    let (mine, theirs) = (Machine::new(MINE[1]), Machine::new(THEIRS[1]));
    for value in [&b"hunter2\n"[..], b"", &[0, 255, 10], &[7; 64 << 10]] {
        let class = class(MINE[0], "a", &seal(MINE[0], "a", value).await);
        assert_eq!(shown(mine.key(), &class).await.unwrap().contents.expose(), value);

        let denied = shown(theirs.key(), &class).await.unwrap_err();
        assert_eq!(denied.kind(), ErrorKind::Denied, "{denied}");
        assert!(denied.to_string().contains(THEIRS[0]), "{denied}");
    }
    mine.write(THEIRS[1]);
    let text = seal(MINE[0], "a", b"x").await;
    assert!(shown(mine.key(), &class(MINE[0], "a", &text)).await.is_err(), "the file is read at each login");
}

#[tokio::test]
async fn parts_of_texts_that_were_sealed_to_one_recipient_do_not_open_together() {
    let machine = Machine::new(MINE[1]);
    let (one, other) = (seal(MINE[0], "a", b"first").await, seal(MINE[0], "b", b"second").await);
    let foreign = seal(THEIRS[0], "a", b"theirs").await;

    let other_key = changed(&one, |text| text.wrapped = other.wrapped.clone());
    let moved = changed(&other, |text| text.place = place("a"));
    let renamed = changed(&foreign, |text| text.key = MINE[0].to_owned());
    let cut = changed(&one, |text| text.wrapped = one.wrapped[..60].to_owned());
    for text in [other_key, moved, renamed, cut] {
        let refused = shown(machine.key(), &class(MINE[0], "a", &text)).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid, "{refused}");
    }
    for (key, text) in [("age1x", &one), (MINE[0], &changed(&one, |text| text.wrapped = "A".repeat(5000)))] {
        let class = class(key, "a", &changed(text, |text| text.key = key.to_owned()));
        assert!(Sealed::new(sealer(machine.key())).source_of("shop", "till", &class).is_err());
    }
}

#[tokio::test]
async fn a_key_that_is_forbidden_absent_or_in_a_file_of_others_opens_nothing() {
    let machine = Machine::new(MINE[1]);
    let class = class(MINE[0], "a", &seal(MINE[0], "a", b"x").await);
    let why = async |key| {
        let refused = shown(key, &class).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid, "{refused}");
        refused.to_string()
    };
    let forbidden = NodeKey { is_forbidden: true, ..machine.key() };
    assert!(why(forbidden).await.contains("--allow-node-key"));
    assert!(why(NodeKey::default()).await.contains("--node-key"));

    let file = machine.file();
    let set = |mode| fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
    for mode in [0o640, 0o604, 0o620] {
        set(mode);
        assert!(why(machine.key()).await.contains("others can read or write it"), "{mode:o}");
    }
    set(0o600);
    // Only root can give a file away.
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&file, Some(4711), None).unwrap();
        assert!(why(machine.key()).await.contains("belongs to somebody else"));
        std::os::unix::fs::chown(&file, Some(0), None).unwrap();
    }
    for (text, said) in [("x".repeat(20 << 10), "longer than 16 KiB"), (String::new(), "AGE-SECRET-KEY-1")] {
        machine.write(&text);
        let told = why(machine.key()).await;
        assert!(told.contains(said) && told.len() < 500, "{told}");
    }
    fs::remove_file(&file).unwrap();
    assert!(why(machine.key()).await.contains("No such file"));
    pipe(&file);
    assert!(why(machine.key()).await.contains("it is no file"), "a pipe is not waited for");
}

fn pipe(path: &Path) {
    rustix::fs::mknodat(
        rustix::fs::CWD,
        path,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
}
