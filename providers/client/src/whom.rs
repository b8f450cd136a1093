use std::fmt;

use provider::{Identity, Workload};

/// The owner of a login, as far as a store can distinguish workloads.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Whom {
    /// All pods of a service account.
    Account(Identity),
    /// One pod.
    Pod {
        /// Its service account.
        account: Identity,
        /// Its name, for messages.
        name: String,
        /// Its uid.
        uid: String,
    },
    /// One volume, on a host without pods.
    Volume {
        /// The account for which it is mounted.
        account: Identity,
        /// The volume's id.
        volume: String,
    },
}

impl Whom {
    /// All workloads of the same service account, whether they are pods or not.
    pub fn account(workload: &Workload) -> Self {
        Self::Account(workload.identity.clone())
    }

    /// The workload alone: its pod, or its volume on a plain host.
    pub fn alone(workload: &Workload) -> Self {
        let account = workload.identity.clone();
        match &workload.pod {
            Some(pod) => Self::Pod { account, name: pod.name.clone(), uid: pod.uid.clone() },
            None => Self::Volume { account, volume: workload.volume.clone() },
        }
    }
}

/// For messages, and as an identity: equal owners have equal texts, different owners have different texts.
impl fmt::Display for Whom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account(account) => account.fmt(f),
            Self::Pod { account, name, uid } => write!(f, "{account} pod {name} ({uid})"),
            Self::Volume { account, volume } => write!(f, "{account} volume {volume}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use provider::Pod;

    use super::*;

    fn workload(pod: Option<&str>, volume: &str) -> Workload {
        let pod = pod.map(|uid| Pod { name: "web-0".to_owned(), uid: uid.to_owned() });
        let (tokens, credentials) = Default::default();
        let identity = Identity::named("shop", "web");
        Workload { identity, pod, volume: volume.to_owned(), tokens, credentials }
    }

    #[test]
    fn an_account_is_one_and_alone_are_pods_and_on_a_host_volumes() {
        let (pod, other) = (workload(Some("uid-0"), "v0"), workload(Some("uid-1"), "v0"));
        let (host, next) = (workload(None, "v0"), workload(None, "v1"));

        assert_eq!(Whom::account(&pod), Whom::account(&next));
        assert_eq!(Whom::alone(&pod), Whom::alone(&workload(Some("uid-0"), "v1")));
        assert_ne!(Whom::alone(&pod), Whom::alone(&other));
        assert_ne!(Whom::alone(&host), Whom::alone(&next));
        assert_ne!(Whom::alone(&host), Whom::account(&host));
    }

    #[test]
    fn whoever_is_another_is_written_otherwise() {
        assert_eq!(Whom::alone(&workload(Some("uid-0"), "v")).to_string(), "shop/web pod web-0 (uid-0)");
        assert_eq!(Whom::alone(&workload(None, "v")).to_string(), "shop/web volume v");
        assert_eq!(Whom::account(&workload(None, "v")).to_string(), "shop/web");
    }
}
