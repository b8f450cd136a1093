//! Records as they are read back. What is missing or unknown in them does not matter.

use serde::Deserialize;

/// What the commands here use of a record.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Read {
    pub(super) time: String,
    pub(super) metadata: Metadata,
    pub(super) api: Api,
    pub(super) node: String,
    pub(super) actor: Actor,
    pub(super) resources: Vec<Resource>,
    pub(super) class: Option<String>,
    pub(super) volume: Option<String>,
    pub(super) status: String,
    pub(super) status_detail: Option<String>,
    pub(super) count: Option<u64>,
    pub(super) end_time: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Metadata {
    pub(super) uid: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Api {
    pub(super) operation: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Actor {
    pub(super) namespace: Option<String>,
    pub(super) service_account: Option<String>,
    pub(super) pod: Option<Pod>,
    pub(super) container: Option<String>,
    pub(super) process: Option<Process>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Pod {
    pub(super) name: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Process {
    pub(super) uid: Option<u32>,
    pub(super) name: Option<String>,
    pub(super) file: Option<Program>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Program {
    pub(super) path: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Resource {
    pub(super) secret: Option<String>,
    pub(super) key: Option<String>,
    pub(super) name: String,
    pub(super) path: Option<String>,
    pub(super) version: Option<String>,
    pub(super) fingerprint: Option<String>,
}

impl Read {
    /// The record in a line; `None` if it is another line.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let read: Self = line.starts_with("{\"time\":").then(|| serde_json::from_str(line).ok())??;
        (!read.api.operation.is_empty()).then_some(read)
    }

    pub(super) fn is_failure(&self) -> bool {
        self.status == "failure"
    }

    /// The pod, or the user of a plain host.
    pub(super) fn who(&self) -> String {
        let namespace = self.actor.namespace.as_deref().unwrap_or_default();
        match (&self.actor.pod, self.actor.process.as_ref().and_then(|process| process.uid)) {
            (Some(pod), _) => format!("{namespace}/{}", pod.name),
            (None, Some(uid)) => format!("uid {uid}"),
            (None, None) => "-".to_owned(),
        }
    }

    /// The program, or the name that it gave itself where no more is known.
    pub(super) fn program(&self) -> Option<&str> {
        let Process { name, file, .. } = self.actor.process.as_ref()?;
        file.as_ref().map(|file| file.path.as_str()).or(name.as_deref())
    }
}

impl Resource {
    /// Whether people mean it by `text`: the secret, with `#key` or without; the name in the class; the file.
    pub(super) fn is(&self, text: &str) -> bool {
        let secret = self.secret.as_deref().unwrap_or_default();
        let with_key = || self.key.as_ref().is_some_and(|key| text == format!("{secret}#{key}"));
        text == secret || text == self.name || self.path.as_deref() == Some(text) || with_key()
    }

    /// The store's name for the version, or else the fingerprint.
    pub(super) fn version(&self) -> Option<&str> {
        self.version.as_deref().or(self.fingerprint.as_deref())
    }
}
