use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rustix::process::{Signal, geteuid};
use tempfile::TempDir;

use crate::port;
use crate::process::{Server, mortal, until};

const SUPERUSER: &str = "postgres";
const PASSWORD: &str = "superuser-of-a-test";

/// A PostgreSQL server for one test. It checks passwords.
#[derive(Debug)]
pub struct Postgres {
    port: u16,
    binaries: PathBuf,
    // Dropped before the folder.
    _server: Server,
    _folder: TempDir,
}

impl Postgres {
    /// Creates a database cluster and starts its server.
    pub fn start() -> Self {
        let (binaries, folder, port) = (binaries(), folder(), port::free());
        initialise(&binaries, folder.path());
        let mut command = owner(&mut mortal("QUIT"));
        command
            .arg(binaries.join("postgres"))
            .arg("-D")
            .arg(folder.path().join("data"))
            .args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "unix_socket_directories="])
            .args(["-p", &port.to_string()])
            .current_dir(folder.path())
            .stdout(log(folder.path()))
            .stderr(log(folder.path()));
        // SIGQUIT is an immediate shutdown. Unlike SIGKILL it also removes the shared memory.
        let server = Server::start(command, Signal::QUIT);
        let postgres = Self { port, binaries, _server: server, _folder: folder };
        until(|| postgres.can_login(SUPERUSER, PASSWORD), || postgres.complaint());
        postgres
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether `user` can log in with `password`.
    pub fn can_login(&self, user: &str, password: &str) -> bool {
        self.psql(user, password, "SELECT 1").status.success()
    }

    /// Runs `statement` as the superuser and returns the unaligned output of `psql`.
    pub fn query(&self, statement: &str) -> String {
        let output = self.psql(SUPERUSER, PASSWORD, statement);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// The parameters for `database/config/<name>` in OpenBao, for this server.
    pub fn openbao_config(&self) -> serde_json::Value {
        serde_json::json!({
            "plugin_name": "postgresql-database-plugin",
            "allowed_roles": "*",
            "connection_url": format!(
                "postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{}/postgres?sslmode=disable",
                self.port
            ),
            "username": SUPERUSER,
            "password": PASSWORD,
        })
    }

    fn psql(&self, user: &str, password: &str, statement: &str) -> Output {
        Command::new(self.binaries.join("psql"))
            .args(["--no-psqlrc", "--no-password", "--tuples-only", "--no-align"])
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", user, "-d", "postgres"])
            .args(["-c", statement])
            .env("PGPASSWORD", password)
            .env("PGCONNECT_TIMEOUT", "60")
            .output()
            .expect("psql (Debian package postgresql-client)")
    }

    fn complaint(&self) -> String {
        let log = fs::read_to_string(self._folder.path().join("log")).unwrap_or_default();
        format!("PostgreSQL did not start on 127.0.0.1:{}:\n{log}", self.port)
    }
}

fn binaries() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    versions
        .map(|version| version.path().join("bin"))
        .filter(|folder| folder.join("initdb").exists())
        .max()
        .expect("PostgreSQL's server; install the Debian package `postgresql` (hack/test does)")
}

/// A folder that belongs to the server's user.
fn folder() -> TempDir {
    let folder = tempfile::Builder::new().prefix("secretfs-postgres-").tempdir().expect("a folder");
    if geteuid().is_root() {
        let done = Command::new("chown").arg(SUPERUSER).arg(folder.path()).status();
        assert!(done.is_ok_and(|status| status.success()), "a user `postgres` (Debian package postgresql)");
    }
    folder
}

fn initialise(binaries: &Path, folder: &Path) {
    let secret = folder.join("superuser");
    fs::write(&secret, PASSWORD).expect("to write into a folder of our own");
    let output = owner(&mut Command::new("setpriv"))
        .arg(binaries.join("initdb"))
        .args(["--auth", "scram-sha-256", "--username", SUPERUSER, "--no-sync", "--no-locale", "--pgdata"])
        .arg(folder.join("data"))
        .arg("--pwfile")
        .arg(&secret)
        .current_dir(folder)
        .output()
        .expect("`setpriv` (Debian package util-linux)");
    assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
}

/// If this process is root, makes the command run as another user, because PostgreSQL refuses root.
fn owner(command: &mut Command) -> Command {
    let mut own = Command::new(command.get_program());
    own.args(command.get_args());
    if geteuid().is_root() {
        own.args(["--reuid", SUPERUSER, "--regid", SUPERUSER, "--init-groups"]);
    }
    own.arg("--");
    own
}

fn log(folder: &Path) -> fs::File {
    let path = folder.join("log");
    fs::File::options().create(true).append(true).open(path).expect("a log file in a folder of our own")
}
