//! The audit trail: who touched which secret, when, and with what outcome. Each record is one JSON line and never has a
//! value.
//!
//! Field names are those of OCSF's class API Activity (6003), if it has one for the thing.

mod chain;
mod line;
mod sink;
mod spool;
mod writer;

pub use chain::ChainArgs;
pub use sink::Destination;
pub use writer::Audit;

use std::fmt;
use std::path::Path;

use jiff::Timestamp;
use provider::Pod;
use serde::Serialize;

use crate::snapshot::Fingerprint;
use crate::subject::Subject;

/// What was done or tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// A volume was mounted.
    Publish,
    /// A mounted volume shows other versions.
    Rotate,
    /// Files were withdrawn from a mounted volume.
    Withdraw,
    /// A store refused a workload, a pod may not have the volume, or a process may not open a file of it.
    Deny,
    /// A volume was unmounted.
    Unpublish,
    /// A process opened a file.
    Open,
    /// Somebody ordered a refresh.
    Refresh,
    /// The workload of a pod was to be rolled out, because a volume shows other versions.
    RestartWorkload,
    /// Somebody had a volume of a plain host unmounted.
    Umount,
    /// A process began to write records.
    Begin,
    /// Records are missing here, because they could not be written.
    Lose,
    /// An embedded store was made.
    Init,
    /// An item got a new version.
    Put,
    /// An item got a version that was encrypted elsewhere.
    Import,
    /// An item, or a version of it, was deleted.
    Delete,
    /// A deleted item was restored.
    Undelete,
    /// The store's root key was replaced.
    RotateKey,
    /// An older state of a store was accepted.
    Restore,
    /// The public bundle was written.
    ExportPublic,
    /// Items' names were read.
    List,
    /// An item's description was read.
    Describe,
    /// An item's versions were read.
    History,
}

impl Operation {
    /// Whether it changes something at a store.
    pub fn is_change(self) -> bool {
        match self {
            Self::Init | Self::Put | Self::Import | Self::Delete | Self::Undelete => true,
            Self::RotateKey | Self::Restore => true,
            Self::Publish | Self::Rotate | Self::Withdraw | Self::Deny | Self::Unpublish | Self::Open => {
                false
            }
            Self::Refresh
            | Self::RestartWorkload
            | Self::Umount
            | Self::Begin
            | Self::Lose
            | Self::ExportPublic
            | Self::List
            | Self::Describe
            | Self::History => false,
        }
    }

    /// OCSF's `activity_id`: 1 create, 2 read, 3 update, 4 delete, 99 other.
    fn activity(self) -> u8 {
        match self {
            Self::Init | Self::Put | Self::Import => 1,
            Self::Publish
            | Self::Deny
            | Self::Open
            | Self::ExportPublic
            | Self::List
            | Self::Describe
            | Self::History => 2,
            Self::Rotate | Self::Refresh | Self::RestartWorkload => 3,
            Self::RotateKey | Self::Undelete | Self::Restore => 3,
            Self::Withdraw | Self::Unpublish | Self::Umount | Self::Delete => 4,
            Self::Begin | Self::Lose => 99,
        }
    }
}

/// Who did it, or for whom it was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Actor {
    kind: ActorKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_account: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod: Option<PodName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    process: Option<Described>,
}

/// A process, and the program that it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Described {
    #[serde(flatten)]
    process: Process,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<Program>,
}

/// OCSF's `file` of a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Program {
    path: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum ActorKind {
    Pod,
    Person,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct PodName {
    name: String,
    uid: String,
}

/// The process of an actor, as the kernel vouches for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Process {
    /// Real user id of the process.
    pub uid: u32,
    /// Process id, as this process sees it.
    pub pid: u32,
}

impl Actor {
    /// The user who runs this process: the actor of a command.
    pub fn person() -> Self {
        let process = Process { uid: rustix::process::getuid().as_raw(), pid: std::process::id() };
        Self::bare(ActorKind::Person).process(process)
    }

    /// The user of another process: who gave this process an order.
    pub fn person_of(process: Process) -> Self {
        Self::bare(ActorKind::Person).process(process)
    }

    /// The same actor, with the container that asked.
    #[must_use]
    pub fn container(mut self, name: impl Into<String>) -> Self {
        self.container = Some(name.into());
        self
    }

    /// The same actor, with the process that asked.
    #[must_use]
    pub fn process(mut self, process: Process) -> Self {
        self.process = Some(Described { process, name: None, file: None });
        self
    }

    /// Whose share of what waits to be written a record of this actor takes.
    fn tenant(&self) -> &str {
        self.namespace.as_deref().unwrap_or_default()
    }

    fn bare(kind: ActorKind) -> Self {
        Self { kind, namespace: None, service_account: None, pod: None, container: None, process: None }
    }
}

impl From<&Subject> for Actor {
    /// The pod. On a plain host there is none, so the user who runs this process.
    fn from(subject: &Subject) -> Self {
        let named = match &subject.pod {
            Some(pod) => Self { pod: Some(PodName::from(pod)), ..Self::bare(ActorKind::Pod) },
            None => Self::person(),
        };
        Self {
            namespace: Some(subject.namespace().to_owned()),
            service_account: Some(subject.service_account().to_owned()),
            ..named
        }
    }
}

impl From<&Pod> for PodName {
    fn from(pod: &Pod) -> Self {
        Self { name: pod.name.clone(), uid: pod.uid.clone() }
    }
}

/// A secret that was touched. Names and versions only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Resource {
    provider: String,
    /// Address of the store.
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<String>,
    /// Namespace in the store, if the store has namespaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    /// Path or name of the secret in the store.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    /// Composed files that contain it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    composed: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<Fingerprint>,
}

impl Resource {
    /// The object that `provider` knows as `name`.
    pub fn new(provider: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            provider: provider.into(),
            store: None,
            namespace: None,
            secret: None,
            key: None,
            name: name.into(),
            path: None,
            composed: Vec::new(),
            version: None,
            fingerprint: None,
        }
    }

    /// The same resource, in the store at `address`.
    #[must_use]
    pub fn store(mut self, address: &str) -> Self {
        self.store = Some(address.to_owned());
        self
    }

    /// The same resource, with its path or name in the store. `key` names one of its keys, if it has several.
    #[must_use]
    pub fn secret(mut self, path: &str, key: Option<&str>) -> Self {
        self.secret = Some(path.to_owned());
        self.key = key.map(str::to_owned);
        self
    }

    /// The same resource, in this namespace of the store.
    #[must_use]
    pub fn namespace(mut self, namespace: &str) -> Self {
        self.namespace = Some(namespace.to_owned());
        self
    }

    /// The same resource, with the composed files that contain it.
    #[must_use]
    pub fn composed(mut self, files: &[impl fmt::Display]) -> Self {
        self.composed = files.iter().map(ToString::to_string).collect();
        self
    }

    /// The same resource, with the file of the volume that shows it.
    #[must_use]
    pub fn path(mut self, path: impl fmt::Display) -> Self {
        self.path = Some(path.to_string());
        self
    }

    /// The same resource, with the store's name for the version.
    #[must_use]
    pub fn version(mut self, version: impl fmt::Display) -> Self {
        self.version = Some(version.to_string());
        self
    }

    /// The same resource, with the fingerprint of its contents.
    #[must_use]
    pub fn fingerprint(mut self, fingerprint: Fingerprint) -> Self {
        self.fingerprint = Some(fingerprint);
        self
    }
}

/// One thing that happened. It succeeded unless [`failed`](Self::failed) says otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    operation: Operation,
    actor: Actor,
    resources: Vec<Resource>,
    class: Option<String>,
    volume: Option<String>,
    failure: Option<String>,
    is_attempt: bool,
    times: Option<Times>,
}

/// How often a thing happened that one record stands for, and in which time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// How often.
    pub count: u64,
    /// The first time.
    pub first: Timestamp,
    /// The last time.
    pub last: Timestamp,
}

impl Record {
    /// A record of `operation`, done by or for `actor`.
    pub fn new(operation: Operation, actor: Actor) -> Self {
        Self {
            operation,
            actor,
            resources: Vec::new(),
            class: None,
            volume: None,
            failure: None,
            is_attempt: false,
            times: None,
        }
    }

    /// The same record, with one more resource.
    #[must_use]
    pub fn resource(mut self, resource: Resource) -> Self {
        self.resources.push(resource);
        self
    }

    /// The same record, with more resources.
    #[must_use]
    pub fn resources(mut self, resources: impl IntoIterator<Item = Resource>) -> Self {
        self.resources.extend(resources);
        self
    }

    /// The same record, with the name of the class.
    #[must_use]
    pub fn class(mut self, class: impl fmt::Display) -> Self {
        self.class = Some(class.to_string());
        self
    }

    /// The same record, with the id of the volume.
    #[must_use]
    pub fn volume(mut self, id: impl fmt::Display) -> Self {
        self.volume = Some(id.to_string());
        self
    }

    /// The same record, of what is about to be tried: another record tells what became of it.
    #[must_use]
    pub fn attempted(mut self) -> Self {
        self.is_attempt = true;
        self
    }

    /// The same record, with the program that the actor's [process](Actor::process) ran when it asked, and its name.
    #[must_use]
    pub fn program(mut self, path: Option<&Path>, name: Option<&str>) -> Self {
        if let Some(process) = &mut self.actor.process {
            process.file = path.map(|path| Program { path: path.to_string_lossy().into_owned() });
            process.name = name.map(str::to_owned);
        }
        self
    }

    /// The same record, for something that happened so often.
    #[must_use]
    pub fn times(mut self, times: Times) -> Self {
        self.times = Some(times);
        self
    }

    /// The same record, as a failure for `reason`. Like every error text, the reason has no value and no token.
    #[must_use]
    pub fn failed(mut self, reason: impl fmt::Display) -> Self {
        self.failure = Some(reason.to_string());
        self
    }
}

#[cfg(test)]
mod tests {
    use provider::Identity;

    use super::line::uid;
    use super::*;

    fn subject(pod: Option<Pod>) -> Subject {
        Subject { identity: Identity::named("shop", "web"), pod }
    }

    fn text(record: &Record) -> String {
        let time = "2026-03-01T12:00:00.5Z".parse().unwrap();
        String::from_utf8(record.line(time, "0195-uid", "worker-1").unwrap()).unwrap()
    }

    #[test]
    fn a_rotation_says_for_whom_what_and_which_version() {
        let pod = Pod { name: "web-1".to_owned(), uid: "77".to_owned() };
        let record = Record::new(Operation::Rotate, Actor::from(&subject(Some(pod))))
            .class("shop/db")
            .volume("csi-1")
            .resource(
                Resource::new("vault", "db-user")
                    .store("https://vault:8200")
                    .secret("secret/data/db", Some("user"))
                    .namespace("team-a")
                    .path("db-user")
                    .composed(&["app.env"])
                    .version(4),
            );

        assert_eq!(
            text(&record),
            concat!(
                r#"{"time":"2026-03-01T12:00:00.5Z","metadata":{"uid":"0195-uid"},"class_uid":6003,"#,
                r#""activity_id":3,"api":{"operation":"rotate"},"node":"worker-1","actor":{"kind":"pod","namespace":"shop","#,
                r#""service_account":"web","pod":{"name":"web-1","uid":"77"}},"resources":[{"#,
                r#""provider":"vault","store":"https://vault:8200","namespace":"team-a","#,
                r#""secret":"secret/data/db","key":"user","name":"db-user","path":"db-user","#,
                r#""composed":["app.env"],"version":"4"}],"class":"shop/db","#,
                r#""volume":"csi-1","status":"success"}"#,
                "\n"
            )
        );
    }

    #[test]
    fn a_failure_says_why() {
        let record = Record::new(Operation::Deny, Actor::from(&subject(None))).failed("vault: \"no\"\n");

        let line = text(&record);

        assert_eq!(line.matches('\n').count(), 1);
        let json: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(json["status"], "failure");
        assert_eq!(json["status_detail"], "vault: \"no\"\n");
        assert_eq!(json["actor"]["kind"], "person");
        assert_eq!(json["actor"]["process"]["pid"], std::process::id());
    }

    #[test]
    fn ids_sort_by_time_and_are_version_7() {
        let early = uid("2026-03-01T12:00:00.001Z".parse().unwrap(), [0xff; 10]);
        let late = uid("2026-03-01T12:00:00.002Z".parse().unwrap(), [0; 10]);

        assert!(early < late);
        let later = uid("2026-03-01T12:00:00.002001Z".parse().unwrap(), [0; 10]);
        assert!(uid("2026-03-01T12:00:00.002Z".parse().unwrap(), [0xff; 10]) < later);
        assert_eq!(late, "019ca945-0a02-7000-8000-000000000000");
    }
}
