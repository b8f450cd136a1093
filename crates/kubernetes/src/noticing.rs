//! Notices requests to refresh: annotations whose value changes.

use std::collections::BTreeMap;

use class::ClassName;
use kube::api::DynamicObject;
use tokio::sync::mpsc;

/// The annotation. Its value is the time of the request; each other value than before is a request.
pub(crate) const ANNOTATION: &str = "secretfs.dev/refresh-requested";
/// How many requests may wait until they are noted. Of those that find no room, the class is read at its interval.
const WAITING: usize = 1024;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Asked {
    /// A class.
    Class(ClassName),
    /// The classes that a pod mounts: its namespace and its name.
    Pod(String, String),
}

/// Notices requests in what a watch tells.
#[derive(Debug)]
pub(crate) struct Noticer {
    /// The value that each object had last.
    seen: BTreeMap<Asked, Option<String>>,
    requests: mpsc::Sender<Asked>,
}

/// A noticer for the watch of classes, one for that of pods, and who follows what they notice.
pub(crate) fn requests() -> ([Noticer; 2], mpsc::Receiver<Asked>) {
    let (requests, follower) = mpsc::channel(WAITING);
    let noticer = || Noticer { seen: BTreeMap::new(), requests: requests.clone() };
    ([noticer(), noticer()], follower)
}

impl Noticer {
    /// Looks at an object as it is now. What stood there when it was first seen is no request: it was followed, or the node
    /// was not there and reads anyway.
    pub(crate) fn look(&mut self, name: &Asked, object: &DynamicObject) {
        let annotations = object.metadata.annotations.as_ref();
        let value = annotations.and_then(|annotations| annotations.get(ANNOTATION)).cloned();
        let before = self.seen.insert(name.clone(), value.clone());
        let is_new = before.is_some_and(|before| before != value) && value.is_some();
        if is_new && self.requests.try_send(name.clone()).is_err() {
            tracing::warn!(
                ?name,
                "too many requests to refresh at once; this one waits for the class's interval"
            );
        }
    }

    /// Forgets everything but what is there.
    pub(crate) fn keep(&mut self, is_there: impl Fn(&Asked) -> bool) {
        self.seen.retain(|name, _| is_there(name));
    }

    /// Forgets what was deleted.
    pub(crate) fn forget(&mut self, name: &Asked) {
        self.seen.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn class() -> Asked {
        Asked::Class(ClassName { namespace: "shop".to_owned(), name: "db".to_owned() })
    }

    fn object(value: Option<&str>) -> DynamicObject {
        let annotations = value.map(|value| json!({ANNOTATION: value})).unwrap_or_default();
        serde_json::from_value(json!({"metadata": {"name": "db", "annotations": annotations}})).unwrap()
    }

    #[test]
    fn each_other_value_is_a_request_and_what_stood_there_before_is_none() {
        let ([mut noticer, _], mut follower) = requests();
        let mut asked = |value| {
            noticer.look(&class(), &object(value));
            follower.try_recv().is_ok()
        };
        let told = [None, Some("1"), Some("1"), Some("2"), None, Some("2")].map(&mut asked);
        assert_eq!(told, [false, true, false, true, false, true]);

        let ([mut noticer, _], mut follower) = requests();
        noticer.look(&class(), &object(Some("1")));
        assert!(follower.try_recv().is_err(), "a node that starts reads anyway");
    }
}
