//! Adds a store to a copy of this workspace by a patch: one crate, one line, and its entries in Cargo's manifests.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use testing::{PodVolume, RunningNode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::support::Told;

const PATCH: &str = "tests/sample_store/store.patch";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn run(command: &mut Command) {
    let told: Told = command.output().unwrap().into();
    assert_eq!(told.code, Some(0), "{command:?}: {told:?}");
}

/// A `secretfs` with the additional store, and its build directory.
struct Patched(TempDir);

impl Patched {
    /// Builds the program from a copy of the sources, in the build directory of the tests. The copied crates have the
    /// age of ours, so cargo reuses the compiled crates. The copy's main package has another version, so that cargo
    /// keeps ours apart.
    fn build() -> Self {
        let copy = tempfile::Builder::new().prefix("secretfs-sample").tempdir().unwrap();
        let copied = "git ls-files -z --cached --others --exclude-standard |
            xargs -0 cp --archive --parents --target-directory \"$0\"";
        run(Command::new("sh").arg("-c").arg(copied).arg(copy.path()).current_dir(root()));
        run(Command::new("git").arg("apply").arg(root().join(PATCH)).current_dir(copy.path()));
        let manifest = copy.path().join("Cargo.toml");
        let own = fs::read_to_string(&manifest).unwrap();
        fs::write(&manifest, own.replacen("version.workspace = true", "version = \"0.0.0-sample\"", 1))
            .unwrap();

        // This test is in `TRIPLE/PROFILE/deps`.
        let test = std::env::current_exe().unwrap();
        let directories: Vec<_> = test.ancestors().collect();
        let profile = match directories[2].file_name().unwrap().to_str().unwrap() {
            "debug" => "dev",
            profile => profile,
        };
        // One test is built too, so that dependencies have the same features as in tests. Its own package is not
        // optimised, and the build has the lowest priority, because other tests run at the same time and have
        // deadlines.
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        run(Command::new("nice")
            .args(["-n", "19"])
            .arg(cargo)
            .args([
                "build",
                "--jobs",
                "1",
                "--quiet",
                "--offline",
                "--profile",
                profile,
                "--workspace",
                "--all-features",
            ])
            .args(["--bin", "secretfs", "--test", "forms"])
            .args(["--config", &format!("profile.{profile}.package.secretfs.opt-level=0")])
            .env("CARGO_BUILD_BUILD_DIR", directories[4])
            .env("CARGO_TARGET_DIR", copy.path().join("target"))
            .current_dir(copy.path()));
        let built = copy.path().join("target").join(directories[3].file_name().unwrap());
        let built = built.join(directories[2].file_name().unwrap()).join("secretfs");
        fs::rename(built, copy.path().join("secretfs")).unwrap();
        Self(copy)
    }

    fn path(&self) -> String {
        self.0.path().join("secretfs").to_str().unwrap().to_owned()
    }

    fn run(&self, arguments: &[&str]) -> Told {
        Command::new(self.path()).args(arguments).current_dir(self.0.path()).output().unwrap().into()
    }
}

/// A store that gives the value `VALUE` for every name to everybody with a token.
async fn shelf() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut line = [0; 4096];
            let _ = stream.read(&mut line).await;
            let _ = stream.write_all(b"+VALUE").await;
        }
    });
    address
}

fn class(parameter: &str) -> String {
    format!(
        "apiVersion: secrets-store.csi.x-k8s.io/v1\nkind: SecretProviderClass\nmetadata: {{name: app, namespace: \
         shop}}\nspec:\n  provider: shelf\n  parameters: {{{parameter}: 'user,password'}}\n"
    )
}

#[tokio::test]
async fn a_store_of_one_crate_and_one_line_is_explained_checked_documented_read_and_counted() {
    let patched = Patched::build();
    let patch = fs::read_to_string(root().join(PATCH)).unwrap();
    let changed = patch.split("diff --git ").filter(|file| file.contains(" b/src/"));
    let added = changed.flat_map(str::lines).filter(|line| line.starts_with('+') && !line.starts_with("+++"));
    assert_eq!(added.collect::<Vec<_>>(), ["+    \"shelf\" => shelf: provider_shelf::ShelfSettings,"]);

    let explained = patched.run(&["explain", "shelf.objects"]);
    assert!(explained.out.contains("The names of what is read, with commas."), "{explained:?}");
    let all = patched.run(&["explain"]);
    assert!(all.out.contains("a shelf"), "{all:?}");
    assert!(patched.run(&["node", "--help"]).out.contains("--shelf-address"));

    let pages = patched.0.path().join("pages");
    fs::create_dir(&pages).unwrap();
    assert_eq!(patched.run(&["explain", "--reference", pages.to_str().unwrap()]).code, Some(0));
    assert!(fs::read_to_string(pages.join("shelf.md")).unwrap().contains("The names of what is read"));

    let file = patched.0.path().join("class.yaml");
    for (parameter, code, word) in [("objects", 0, "0 errors"), ("object", 1, "objects")] {
        fs::write(&file, class(parameter)).unwrap();
        let told = patched.run(&["check", file.to_str().unwrap()]);
        assert_eq!(told.code, Some(code), "{told:?}");
        assert!(told.out.contains(word), "{word}: {told:?}");
    }

    let node = RunningNode::start(&patched.path(), &["--shelf-address", &shelf().await]).await;
    node.class("app", &class("objects"));
    let pod = PodVolume::new("web-0", "app").unsigned_token("shelf");
    node.publish_until_done(&pod).await;
    assert_eq!(node.text(&pod, "password").as_deref(), Some("VALUE"));
    let metrics = node.http("/metrics").await;
    assert!(metrics.contains("provider=\"shelf\""), "{metrics}");
    node.unpublish(&pod).await.unwrap();
}
