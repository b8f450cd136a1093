//! Orders to take secrets back: what each covers, and which of them hold.
//!
//! An order binds until whoever gave it takes it away: running volumes, volumes that start, and volumes that this or a
//! later process takes over. It is not an answer of a store, so no store is asked, and none is needed, to follow it.
//! Who may give orders is decided where they come from: by the rights of an API server, or by who may write the file of
//! a host.

mod in_force;
mod record;

pub use in_force::{InForce, On};
pub use record::Record;

use std::fmt;

use class::ClassName;
use provider::{Error, ErrorKind};
use serde::{Deserialize, Serialize};

use crate::subject::Subject;

/// Most orders of one namespace, of the whole cluster, or of this host, that are followed. Each costs memory on every
/// node, and a comparison for each volume of its namespace.
pub const MOST: usize = 1000;

/// One order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// Where it was given.
    pub given: Given,
    /// Its name there.
    pub name: String,
    /// What it covers.
    pub target: Target,
    /// Why it was given, in the words of whoever gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Where an order was given.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Given {
    /// In this namespace of a cluster. It covers nothing of other namespaces.
    InNamespace(String),
    /// For a whole cluster.
    InCluster,
    /// On this host.
    OnHost,
}

/// What an order covers: whatever has all the properties that are named here. Nothing named covers everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The namespace of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The name of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// The name of the class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// One secret: an `objectName`, the path of its file in the volume, or its path or name in its store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
}

/// The names of one object of a volume.
#[derive(Debug, Clone, Copy)]
pub struct Named<'a> {
    /// Its `objectName`.
    pub name: &'a str,
    /// The path of its file in the volume.
    pub path: &'a str,
    /// Its path or name in its store, if that is known.
    pub origin: Option<&'a str>,
}

impl Revocation {
    /// Whether it covers something of the volumes of `subject` that follow `class`.
    fn concerns(&self, subject: &Subject, class: &ClassName) -> bool {
        let Target { namespace, pod, class: of_class, object: _ } = &self.target;
        let is = |wanted: &Option<String>, name: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| Some(wanted) == name)
        };
        let given_here = match &self.given {
            Given::InNamespace(namespace) => namespace == subject.namespace(),
            Given::InCluster | Given::OnHost => true,
        };
        given_here
            && is(namespace, Some(subject.namespace()))
            && is(pod, subject.pod.as_ref().map(|pod| pod.name.as_str()))
            && is(of_class, Some(&class.name))
    }

    /// Whether it covers this object, if it concerns the volume.
    fn covers(&self, object: Named<'_>) -> bool {
        let Named { name, path, origin } = object;
        let is_called = |wanted: &str| wanted == name || wanted == path || Some(wanted) == origin;
        self.target.object.as_deref().is_none_or(is_called)
    }

    /// What a pod is told whose secret it covers.
    pub fn error(&self) -> Error {
        Error::new(ErrorKind::Revoked, self.told()).remedy("it holds until the order is taken away")
    }

    /// The order in words, with its reason.
    pub fn told(&self) -> String {
        match &self.reason {
            Some(reason) => format!("revoked by {self}: {reason}"),
            None => format!("revoked by {self}"),
        }
    }
}

impl fmt::Display for Revocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.given {
            Given::InNamespace(namespace) => write!(f, "Revocation {namespace}/{}", self.name),
            Given::InCluster => write!(f, "ClusterRevocation {}", self.name),
            Given::OnHost => write!(f, "revocation {} of this host", self.name),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace, pod, class, object } = self;
        let named = [("object", object), ("class", class), ("pod", pod), ("namespace", namespace)];
        let mut parts = named.iter().filter_map(|(what, name)| Some((what, name.as_ref()?)));
        let Some((what, name)) = parts.next() else { return f.write_str("everything") };
        write!(f, "{what} {name}")?;
        parts.try_for_each(|(what, name)| write!(f, ", {what} {name}"))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use provider::{Identity, Pod};

    use super::*;

    pub(crate) fn order(given: Given, target: Target) -> Revocation {
        Revocation { given, name: "leak".to_owned(), target, reason: None }
    }

    /// A target of namespace, pod, class and object; empty texts name nothing.
    pub(crate) fn target(names: [&str; 4]) -> Target {
        let [namespace, pod, class, object] = names.map(|name| (!name.is_empty()).then(|| name.to_owned()));
        Target { namespace, pod, class, object }
    }

    fn web() -> (Subject, ClassName) {
        let pod = Pod { name: "web-0".to_owned(), uid: "1".to_owned() };
        let class = ClassName { namespace: "shop".to_owned(), name: "db".to_owned() };
        (Subject { identity: Identity::named("shop", "till"), pod: Some(pod) }, class)
    }

    #[test]
    fn an_order_concerns_the_volumes_that_have_everything_it_names() {
        let (subject, class) = web();
        let concerns = |given: Given, names| order(given, target(names)).concerns(&subject, &class);
        for names in [
            ["", "", "", ""],
            ["shop", "", "", ""],
            ["", "web-0", "", ""],
            ["", "", "db", ""],
            ["shop", "web-0", "db", ""],
            ["", "", "", "anything"],
        ] {
            assert!(concerns(Given::InCluster, names), "{names:?}");
        }
        for names in [["billing", "", "", ""], ["shop", "web-1", "", ""], ["shop", "", "tls", ""]] {
            assert!(!concerns(Given::InCluster, names), "{names:?}");
        }
    }

    #[test]
    fn an_order_of_a_namespace_covers_nothing_of_another_whatever_it_names() {
        let (subject, class) = web();
        let given = |namespace: &str| Given::InNamespace(namespace.to_owned());

        assert!(order(given("shop"), Target::default()).concerns(&subject, &class));
        assert!(!order(given("billing"), Target::default()).concerns(&subject, &class));
        assert!(!order(given("billing"), target(["shop", "", "", ""])).concerns(&subject, &class));
    }

    #[test]
    fn an_object_goes_by_its_name_its_file_and_its_path_in_the_store() {
        let named = Named { name: "password", path: "db/pass", origin: Some("secret/data/db") };
        let covers = |object| order(Given::OnHost, target(["", "", "", object])).covers(named);

        assert!(["", "password", "db/pass", "secret/data/db"].into_iter().all(covers));
        assert!(!["user", "db", "secret/data"].into_iter().any(covers));
    }

    #[test]
    fn an_order_is_told_with_where_it_was_given_and_why() {
        let given = Given::InNamespace("shop".to_owned());
        let order = Revocation { reason: Some("it leaked".to_owned()), ..order(given, Target::default()) };

        assert_eq!(order.told(), "revoked by Revocation shop/leak: it leaked");
        assert_eq!(order.target.to_string(), "everything");
        assert_eq!(target(["shop", "", "db", "pass"]).to_string(), "object pass, class db, namespace shop");
    }
}
