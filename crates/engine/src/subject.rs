//! The workload that a volume is read for: names that may appear in decisions and messages. No secrets.

use provider::{Identity, Pod, Workload};

/// The service account and the pod that a volume is for. kubelet vouches for them; on a plain host, the command says
/// them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The service account. Its uid is known only if a token tells it, so it may become known later.
    pub identity: Identity,
    /// The pod, if there is one.
    pub pod: Option<Pod>,
}

impl Subject {
    /// Namespace of the service account and of the pod.
    pub fn namespace(&self) -> &str {
        &self.identity.namespace
    }

    /// The service account's name.
    pub fn service_account(&self) -> &str {
        &self.identity.name
    }

    /// Whether both are the same pod under the same service account. The uid of the account is not compared, because
    /// one of them may not know it yet.
    pub fn is_same_pod(&self, other: &Self) -> bool {
        self.pod == other.pod
            && self.namespace() == other.namespace()
            && self.service_account() == other.service_account()
    }
}

impl From<&Workload> for Subject {
    fn from(workload: &Workload) -> Self {
        Self { identity: workload.identity.clone(), pod: workload.pod.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uid_that_is_learnt_later_makes_no_other_pod_of_it() {
        let pod = |name: &str| Some(Pod { name: name.to_owned(), uid: format!("uid-{name}") });
        let before = Subject { identity: Identity::named("shop", "till"), pod: pod("web-0") };
        let mut after = before.clone();
        after.identity.uid = Some("1".to_owned());

        assert!(before.is_same_pod(&after) && before != after);
        assert!(!before.is_same_pod(&Subject { pod: pod("web-1"), ..before.clone() }));
        let other_account = Subject { identity: Identity::named("shop", "admin"), ..before.clone() };
        assert!(!before.is_same_pod(&other_account));
    }
}
