//! The reasons and the texts of Events. People and their tools may rely on the reasons.

use std::fmt::Write as _;

use engine::volume::report::{Happening, Outlook, What};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType};
use metrics::Withdrawal;
use program::visible::visible;
use provider::{ErrorKind, ObjectPath, Pod};

/// Longest text in bytes: Kubernetes refuses longer ones.
const MAX_NOTE: usize = 1024;
/// Most files that a text names.
const NAMED: usize = 10;

/// Why there is an Event. The names are stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The volume is mounted, with all its files.
    Mounted,
    /// The volume was mounted with earlier values, because its store does not answer.
    StartedCached,
    /// Files show new versions.
    Rotated,
    /// A refresh failed, and not because the store was away or refused. Files stay.
    RefreshFailed,
    /// Files were removed, because the store did not confirm them for too long.
    Stale,
    /// The store revoked an object.
    Revoked,
    /// The store refuses an object that it gave before.
    Denied,
    /// The store does not answer. Files stay.
    StoreUnavailable,
    /// An object expires soon or has expired, because its owner gave it a date.
    Expiring,
    /// A refresh succeeded after one that failed.
    Recovered,
    /// Containers mount single files of the volume. No rotation reaches these.
    SubPath,
    /// Nobody can serve the volume any more. Its files cannot be read.
    Lost,
    /// The workload of the pod is rolled out, because its volume shows new versions.
    WorkloadRestarted,
    /// The workload of the pod was not rolled out, although the class asks for that.
    FailedToRestartWorkload,
    /// A Kubernetes Secret could not be made of mounted files. The upstream driver uses the same name.
    FailedToCreateSecret,
}

impl Reason {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Mounted => "Mounted",
            Self::StartedCached => "StartedCached",
            Self::Rotated => "Rotated",
            Self::RefreshFailed => "RefreshFailed",
            Self::Stale => "Stale",
            Self::Revoked => "Revoked",
            Self::Denied => "Denied",
            Self::StoreUnavailable => "StoreUnavailable",
            Self::Expiring => "Expiring",
            Self::Recovered => "Recovered",
            Self::SubPath => "SubPath",
            Self::Lost => "Lost",
            Self::WorkloadRestarted => "WorkloadRestarted",
            Self::FailedToRestartWorkload => "FailedToRestartWorkload",
            Self::FailedToCreateSecret => "FailedToCreateSecret",
        }
    }

    fn severity(self) -> EventType {
        match self {
            Self::Mounted | Self::Rotated | Self::Recovered | Self::WorkloadRestarted => EventType::Normal,
            _ => EventType::Warning,
        }
    }

    /// The action on the volume that the Event reports.
    fn action(self) -> &'static str {
        match self {
            Self::Mounted | Self::StartedCached | Self::SubPath => "Publish",
            Self::FailedToCreateSecret => "SyncSecret",
            Self::WorkloadRestarted | Self::FailedToRestartWorkload => "RestartWorkload",
            _ => "Refresh",
        }
    }
}

/// Something to report about a pod. Never contains a value.
#[derive(Debug, Clone)]
pub struct Notice {
    /// Namespace of the pod.
    pub namespace: String,
    /// The pod that the Event is about.
    pub pod: Pod,
    /// The stable reason of the Event.
    pub reason: Reason,
    /// Name of the Secret that it is also about, so that Events about different Secrets are not merged.
    pub secret: Option<String>,
    /// The text for people.
    pub note: String,
}

impl Notice {
    /// The notice for a happening. `None` if there is nothing to report, or if no pod mounts the volume.
    pub(super) fn of(happening: &Happening) -> Option<Self> {
        let pod = happening.pod.clone()?;
        let (reason, what) = words(&happening.what)?;
        let note = format!("class {}: {what}", happening.class);
        Some(Self { namespace: happening.namespace.clone(), pod, reason, secret: None, note })
    }

    pub(super) fn event(&self) -> Event {
        Event {
            type_: self.reason.severity(),
            reason: self.reason.name().to_owned(),
            note: Some(bounded(&visible(&self.note))),
            action: self.reason.action().to_owned(),
            secondary: self.secret.as_ref().map(|name| self.reference("Secret", name)),
        }
    }

    pub(super) fn regarding(&self) -> ObjectReference {
        ObjectReference { uid: Some(self.pod.uid.clone()), ..self.reference("Pod", &self.pod.name) }
    }

    fn reference(&self, kind: &str, name: &str) -> ObjectReference {
        ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some(kind.to_owned()),
            namespace: Some(self.namespace.clone()),
            name: Some(name.to_owned()),
            ..ObjectReference::default()
        }
    }
}

fn words(what: &What) -> Option<(Reason, String)> {
    Some(match what {
        What::Published => (Reason::Mounted, "all its files are mounted".to_owned()),
        What::StartedCached(cached) => (
            Reason::StartedCached,
            format!(
                "started with values that the store last confirmed {} s ago, as the class allows: {}",
                cached.age.as_secs(),
                cached.reason
            ),
        ),
        What::Rotated(rotated) => (Reason::Rotated, format!("new versions of {}", names(&rotated.files))),
        What::Withdrawn(withdrawn) => {
            let order = withdrawn.order.as_ref().map(|order| format!(" ({order})")).unwrap_or_default();
            (withdrawal(withdrawn.reason), format!("taken away: {}{order}", names(&withdrawn.files)))
        }
        What::Failed(kind, error, outlook) => {
            (failure(*kind), format!("{}: {error}", what_becomes(*outlook)))
        }
        What::SubPath(containers) => (
            Reason::SubPath,
            format!(
                "mounted by subPath, which no rotation reaches, in {}; mount the volume's directory instead",
                containers.join(", ")
            ),
        ),
        What::BegunAnew(words) => (Reason::RefreshFailed, (*words).to_owned()),
        What::Expiring(words) => (Reason::Expiring, words.clone()),
        What::Recovered => (Reason::Recovered, "refreshed again".to_owned()),
        What::Lost(why) => (
            Reason::Lost,
            format!(
                "its files can be read no more, because {why}; delete the pod, and the next one gets them"
            ),
        ),
        What::Unpublished => return None,
    })
}

fn what_becomes(outlook: Outlook) -> &'static str {
    match outlook {
        Outlook::Stay => "not refreshed, what is mounted stays",
        Outlook::StayUntilTooOld => {
            "not refreshed, what is mounted stays until the class's max-stale is over"
        }
        Outlook::GoWhenConfirmed => {
            "not refreshed, and taken away when the store says so again, after half a minute at the earliest"
        }
        Outlook::Gone => "not refreshed, and taken away already",
    }
}

fn withdrawal(reason: Withdrawal) -> Reason {
    match reason {
        Withdrawal::Revoked => Reason::Revoked,
        Withdrawal::Denied => Reason::Denied,
        Withdrawal::Stale => Reason::Stale,
    }
}

fn failure(kind: ErrorKind) -> Reason {
    match kind {
        ErrorKind::Unavailable => Reason::StoreUnavailable,
        // For an object that was served before, a plain *not found* counts as a denial.
        ErrorKind::Denied | ErrorKind::Unauthenticated | ErrorKind::NotFound => Reason::Denied,
        ErrorKind::Revoked => Reason::Revoked,
        ErrorKind::Invalid | ErrorKind::NoCredential => Reason::RefreshFailed,
    }
}

fn names(files: &[ObjectPath]) -> String {
    let mut names = files.iter().take(NAMED).map(ObjectPath::as_str).collect::<Vec<_>>().join(", ");
    if files.len() > NAMED {
        // Writing to a `String` does not fail.
        let _ = write!(names, " and {} more", files.len() - NAMED);
    }
    names
}

fn bounded(note: &str) -> String {
    if note.len() <= MAX_NOTE {
        return note.to_owned();
    }
    format!("{}…", &note[..note.floor_char_boundary(MAX_NOTE - '…'.len_utf8())])
}
