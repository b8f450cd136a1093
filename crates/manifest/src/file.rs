//! A whole manifest file: every class in it, every pod that mounts one, and every fault with its line.

use provider::Invalid;

use crate::around::{self, DriverObject, SecretName};
use crate::class::Class;
use crate::fault::Fault;
use crate::pod::{self, PodVolume};
use crate::read;
use crate::text::nearest;
use crate::tree::{self, Node, Value};

/// The parts of a file of one or many manifests that concern secretfs. Other kinds are ignored.
#[derive(Debug, Clone, Default)]
pub struct Manifests {
    /// The classes without errors.
    pub classes: Vec<LocatedClass>,
    /// Namespace and name of the classes with errors, if the file has them.
    pub broken: Vec<(String, String)>,
    /// Volumes of pods, and of workloads that make pods, that mount classes.
    pub volumes: Vec<PodVolume>,
    /// CSIDriver objects.
    pub drivers: Vec<DriverObject>,
    /// Secrets.
    pub secrets: Vec<SecretName>,
    /// All errors, in the order of the file.
    pub faults: Vec<Fault>,
}

impl Manifests {
    /// Reads YAML or JSON documents.
    pub fn read(text: &str) -> Self {
        let mut manifests = Self::default();
        for document in tree::documents(text) {
            match document {
                Ok(document) => manifests.add(&document),
                Err(fault) => manifests.faults.push(fault),
            }
        }
        manifests
    }

    fn add(&mut self, document: &Node) {
        let kind = document.get("kind").and_then(Node::text).unwrap_or_default();
        if let ("List" | "SecretProviderClassList", Some(items)) = (kind, document.get("items")) {
            items.items().iter().for_each(|item| self.add(item));
        } else if kind == "SecretProviderClass" {
            match read::class(document) {
                Ok(class) => self.classes.push(class),
                Err(faults) => {
                    self.broken.push(read::names(document));
                    self.faults.extend(faults);
                }
            }
        } else if kind == "CSIDriver" {
            self.drivers.extend(around::driver(document));
        } else if kind == "Secret" {
            self.secrets.extend(around::secret(document));
        } else if let Some(fault) = misnamed(document, kind) {
            self.faults.push(fault);
        } else {
            self.volumes.extend(pod::volumes(kind, document));
        }
    }
}

/// How the API versions of classes begin.
const GROUP: &str = "secrets-store.csi.x-k8s.io/";
/// The kinds of this API group.
const KINDS: [&str; 4] = [
    "SecretProviderClass",
    "SecretProviderClassList",
    "SecretProviderClassPodStatus",
    "SecretProviderClassPodStatusList",
];

/// Why a document that looks like a class is not one.
fn misnamed(document: &Node, kind: &str) -> Option<Fault> {
    let of_group = document.get("apiVersion").and_then(Node::text).is_some_and(|it| it.starts_with(GROUP));
    if KINDS.contains(&kind) || !of_group && !kind.starts_with("SecretProviderC") {
        return None;
    }
    let line = document
        .pairs()
        .iter()
        .find(|(key, _)| key.text == "kind")
        .map_or(document.line, |(key, _)| key.line);
    let reason = format!("{kind:?} is no kind of {}", GROUP.trim_end_matches('/'));
    let remedy = match nearest(kind, KINDS) {
        Some(meant) => format!("did you mean {meant}?"),
        None => format!("write {}", KINDS[0]),
    };
    Some(Fault::new(line, "kind", &reason, &remedy))
}

impl Class {
    /// The classes of a file, if the whole file has no error.
    ///
    /// # Errors
    ///
    /// Every fault of the file. Never empty.
    pub fn read(text: &str) -> Result<Vec<Self>, Vec<Fault>> {
        let manifests = Manifests::read(text);
        if manifests.faults.is_empty() {
            Ok(manifests.classes.into_iter().map(|located| located.class).collect())
        } else {
            Err(manifests.faults)
        }
    }
}

/// A class, with the lines on which its parameters are written.
#[derive(Debug, Clone)]
pub struct LocatedClass {
    /// The class.
    pub class: Class,
    /// The line of its `metadata.name`.
    pub line: usize,
    /// The line of its `spec.provider`.
    pub provider_line: usize,
    pub(crate) parameters: Vec<LocatedParameter>,
    pub(crate) secret_objects: Option<Node>,
}

impl LocatedClass {
    /// The fault for an error in a parameter or in `spec.secretObjects`, with its line in the file.
    pub fn fault(&self, invalid: Invalid) -> Fault {
        let line = self.secrets_line(&invalid.key).or_else(|| self.parameter_line(&invalid));
        Fault { line: Some(line.unwrap_or(self.line)), ..Fault::from(invalid) }
    }

    fn secrets_line(&self, key: &str) -> Option<usize> {
        let steps = key.strip_prefix("spec.secretObjects")?;
        line_at(self.secret_objects.as_ref()?, steps)
    }

    fn parameter_line(&self, invalid: &Invalid) -> Option<usize> {
        let owners = self.parameters.iter().filter(|own| own.rest(&invalid.key).is_some());
        owners.max_by_key(|own| own.key.len()).map(|own| own.line_of(invalid))
    }
}

#[derive(Debug, Clone)]
pub(crate) struct LocatedParameter {
    pub(crate) key: String,
    pub(crate) text: String,
    pub(crate) line: usize,
    /// The line of the file on which the text's own first line stands, if each line of the text is a line of the file.
    pub(crate) block: Option<usize>,
}

impl LocatedParameter {
    /// The rest of `key` behind this parameter's own key: for `objects`, `objects[2].secretPath` gives
    /// `[2].secretPath`.
    fn rest<'k>(&self, key: &'k str) -> Option<&'k str> {
        key.strip_prefix(self.key.as_str()).filter(|rest| rest.is_empty() || rest.starts_with(['[', '.']))
    }

    pub(crate) fn line_of(&self, invalid: &Invalid) -> usize {
        let exact = self.rest(&invalid.key).and_then(|steps| inner_line(&self.text, steps));
        match (self.block, exact.or(invalid.line)) {
            (Some(first), Some(inner)) => first + inner.saturating_sub(1),
            _ => self.line,
        }
    }
}

fn inner_line(text: &str, steps: &str) -> Option<usize> {
    line_at(&tree::documents(text).next()?.ok()?, steps)
}

/// The line of the node at the end of `steps`, such as `[2].secretPath`, counted from `root`. If a step leads nowhere,
/// the line of the last node that exists.
fn line_at(root: &Node, steps: &str) -> Option<usize> {
    let (mut node, mut line) = (root, None);
    for step in steps.split(['[', ']', '.']).filter(|step| !step.is_empty()) {
        let next = match &node.value {
            Value::List(items) => {
                step.parse().ok().and_then(|index: usize| items.get(index)).map(|item| (item.line, item))
            }
            Value::Map(pairs) => {
                pairs.iter().find(|(key, _)| key.text == step).map(|(key, node)| (key.line, node))
            }
            Value::Scalar(_) => None,
        };
        let Some((at, below)) = next else { break };
        (node, line) = (below, Some(at));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLASS: &str = r#"# two documents
apiVersion: v1
kind: ConfigMap
data: {a: b}
---
apiVersion: secrets-store.csi.x-k8s.io/v1
kind: SecretProviderClass
metadata: {name: shop, namespace: web}
spec:
  provider: vault
  parameters:
    roleName: shop
    objects: |
      - objectName: a
        secretPath: x

      - objectName: b
        secretPath: y
    quoted: "- a\n- b\n"
"#;

    fn line_of(key: &str, line: Option<usize>) -> Option<usize> {
        let manifests = Manifests::read(CLASS);
        let invalid = Invalid { key: key.to_owned(), line, reason: String::new(), remedy: String::new() };
        manifests.classes[0].fault(invalid).line
    }

    #[test]
    fn a_line_inside_a_parameter_is_a_line_of_the_file() {
        assert_eq!(line_of("objects", Some(5)), Some(18));
        assert_eq!(line_of("objects[1].secretPath", None), Some(18));
        assert_eq!(line_of("objects[1].secretKey", None), Some(17));
        assert_eq!(line_of("objects", None), Some(13));
        assert_eq!(line_of("roleName", None), Some(12));
        assert_eq!(line_of("quoted[1]", None), Some(19));
        assert_eq!(line_of("notThere", None), Some(8));
    }

    #[test]
    fn other_kinds_are_passed_over_and_lists_are_opened() {
        assert_eq!(Class::read(CLASS).unwrap().len(), 1);
        assert_eq!(Class::read("").unwrap(), []);
        let class = "{apiVersion: secrets-store.csi.x-k8s.io/v1, kind: SecretProviderClass, \
            metadata: {name: a}, spec: {provider: p, parameters: {a: b}}}";
        assert_eq!(Class::read(&format!("kind: List\nitems: [{class}]")).unwrap()[0].name, "a");
    }
}
