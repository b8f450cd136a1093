mod keys;

pub use keys::{PREFIX, SHARED_WITH_PROVIDERS};

use std::collections::BTreeSet;
use std::time::Duration;

use provider::{FileMode, ObjectPath};

use crate::access::{AccessRules, AccessUnsafe};
use crate::compose::Template;

/// How long what was read for who opened a file may stay in memory, unless the class says.
pub const HELD: Duration = Duration::from_secs(30);
/// The longest that a class may say: such a file must not stay in memory like one that is read in advance.
pub const MOST_HELD: Duration = Duration::from_secs(300);

/// The `secretfs.dev/` parameters of a class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `mode`.
    pub mode: Mode,
    /// `refresh`: the greatest age of a reading before it is read again. `None`: the provider's default.
    pub refresh: Option<Duration>,
    /// `max-stale`: how long a volume may show the last answer of a store that is away. 24 h by default; zero means no
    /// limit.
    pub max_stale: Duration,
    /// `on-stale`.
    pub on_stale: OnStale,
    /// `on-denied`.
    pub on_denied: OnDenied,
    /// `on-revoked`, if the class has it.
    pub on_revoked: Option<OnRevoked>,
    /// `on-rotate`.
    pub on_rotate: OnRotate,
    /// `start`.
    pub start: Start,
    /// `share`, if the class overrides what the answer to the login says.
    pub share: Option<AuthShare>,
    /// `fetch`.
    pub fetch: FetchWhen,
    /// `hold`: how long what was read for who opened a file may stay in memory. `None`: [`HELD`].
    pub hold: Option<Duration>,
    /// `keep-previous`: how many older versions stay beside each file, as `name.previous`, `name.previous.2`, …
    pub keep_previous: u32,
    /// `auth`: the login method, for providers that have several.
    pub auth: Option<String>,
    /// `files`: composed files.
    pub files: Vec<Composed>,
    /// `access`: which containers may open which files.
    pub access: AccessRules,
    /// `access-unsafe`.
    pub access_unsafe: AccessUnsafe,
    /// `overridable`: keys that the pod's author may set in its volume attributes.
    pub overridable: BTreeSet<String>,
    /// `timeout`: how long a first publish may wait for the store. 30 s by default.
    pub timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            refresh: None,
            max_stale: Duration::from_secs(24 * 3600),
            on_stale: OnStale::default(),
            on_denied: OnDenied::default(),
            on_revoked: None,
            on_rotate: OnRotate::default(),
            start: Start::default(),
            share: None,
            fetch: FetchWhen::default(),
            hold: None,
            keep_previous: 0,
            auth: None,
            files: Vec::new(),
            access: AccessRules::default(),
            access_unsafe: AccessUnsafe::default(),
            overridable: BTreeSet::new(),
            timeout: Duration::from_secs(30),
        }
    }
}

/// How files are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// A tmpfs: no process between the application and its bytes.
    #[default]
    Tmpfs,
    /// A FUSE file system.
    Fuse,
}

impl Mode {
    /// As a class writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tmpfs => "tmpfs",
            Self::Fuse => "fuse",
        }
    }
}

/// What happens to files that are older than `max-stale`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnStale {
    /// They stay.
    #[default]
    Keep,
    /// They are removed.
    Remove,
}

/// What happens to files that the store refuses to give any longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDenied {
    /// They stay.
    #[default]
    Keep,
    /// They are removed.
    Remove,
}

/// What happens to files whose object the store revoked (deleted, disabled or destroyed).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnRevoked {
    /// They stay.
    Keep,
    /// They are removed.
    #[default]
    Remove,
}

/// What happens beside the new files after a volume showed new versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnRotate {
    /// Nothing.
    #[default]
    Nothing,
    /// The workload that the pod belongs to is rolled out, where the administrator granted that.
    RestartWorkload,
}

/// Which values a volume may start with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// Only values that the store returned for this start.
    #[default]
    Fresh,
    /// If the store is away, also values that this node already serves to the same identity.
    Cached,
}

/// Which pods may share a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthShare {
    /// The pods of one service account.
    ServiceAccount,
    /// No pods: each pod has a login of its own.
    Pod,
}

/// When values are read from the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FetchWhen {
    /// Before the container starts.
    #[default]
    Eager,
    /// When a file is opened (FUSE only).
    OnOpen,
}

/// A file made of several objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Composed {
    /// Where it appears.
    pub path: ObjectPath,
    /// How it is written.
    pub format: ComposedFormat,
    /// Pairs of a key in the file and an `objectName`, in the class's order.
    pub from: Vec<(String, String)>,
    /// Permission bits.
    pub mode: Option<FileMode>,
}

/// The format of a composed file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ComposedFormat {
    /// `KEY='value'` lines, for a shell (`. ./file`) and for dotenv libraries.
    Dotenv,
    /// One JSON object whose values are strings.
    Json,
    /// One YAML map whose values are strings.
    Yaml,
    /// `key=value` lines of a Java properties file, in ASCII.
    Properties,
    /// PEM blocks, one object after the other.
    Pem,
    /// A template that the class contains, with places for values.
    Template(Template),
}
