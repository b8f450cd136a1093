//! Parses a document as a class.

use std::collections::BTreeMap;

use provider::Parameters;

use crate::class::{Class, SecretObject, SecretObjectData};
use crate::fault::Fault;
use crate::file::{LocatedClass, LocatedParameter};
use crate::settings::{FetchWhen, PREFIX, SHARED_WITH_PROVIDERS, Settings};
use crate::tree::{Key, Node, Value};

pub(crate) const API_VERSIONS: [&str; 2] =
    ["secrets-store.csi.x-k8s.io/v1", "secrets-store.csi.x-k8s.io/v1alpha1"];

/// Parses `document` as a class.
pub(crate) fn class(document: &Node) -> Result<LocatedClass, Vec<Fault>> {
    let mut reading = Reading { document, faults: Vec::new() };
    let class = reading.class();
    if reading.faults.is_empty() { Ok(class) } else { Err(reading.faults) }
}

/// Namespace and name of a class that has errors, as far as they can be read.
pub(crate) fn names(document: &Node) -> (String, String) {
    let text = |key| document.at(&["metadata", key]).and_then(Node::text).map(str::to_owned);
    (text("namespace").unwrap_or_else(|| "default".to_owned()), text("name").unwrap_or_default())
}

/// A class while it is parsed. An error is noted, and parsing goes on, so that one run finds all of them.
struct Reading<'a> {
    document: &'a Node,
    faults: Vec<Fault>,
}

impl<'a> Reading<'a> {
    fn class(&mut self) -> LocatedClass {
        self.api_version();
        let (name, line) = self.name();
        let namespace = self.namespace();
        let (provider, provider_line) = self.provider();
        let parameters = self.parameters();
        let class = Class {
            namespace,
            name,
            provider,
            settings: self.settings(&parameters),
            parameters: handed_on(&parameters),
            own: kept(&parameters),
            secret_objects: self.secret_objects(),
        };
        self.require_known_early(&class.settings, &class.secret_objects);
        let secret_objects = self.document.at(&["spec", "secretObjects"]).cloned();
        LocatedClass { class, line, provider_line, parameters, secret_objects }
    }

    fn refuse(&mut self, line: usize, key: &str, reason: &str, remedy: &str) {
        self.faults.push(Fault::new(line, key, reason, remedy));
    }

    /// The text at the path `keys`. Notes an error if it is missing.
    fn required(&mut self, keys: &[&str], example: &str) -> Option<(&'a str, usize)> {
        let key = keys.join(".");
        let Some(node) = self.document.at(keys) else {
            self.refuse(self.document.line, &key, "it is missing", &format!("add it, as in {example}"));
            return None;
        };
        let text = self.text_of(&key, node)?;
        if text.is_empty() {
            self.refuse(node.line, &key, "it is empty", &format!("write it, as in {example}"));
            return None;
        }
        Some((text, node.line))
    }

    fn text_of(&mut self, key: &str, node: &'a Node) -> Option<&'a str> {
        let text = node.text();
        if text.is_none() {
            let remedy = match &node.value {
                Value::Scalar(_) if node.is_null() => "write a value, or \"\" for an empty text".to_owned(),
                Value::Scalar(scalar) => format!("quote it: \"{}\"", scalar.text),
                Value::List(_) | Value::Map(_) => {
                    "write it as text, in a block that begins with `|`".to_owned()
                }
            };
            self.refuse(node.line, key, &format!("it is {}, not text", node.describe()), &remedy);
        }
        text
    }

    fn api_version(&mut self) {
        let Some((version, line)) = self.required(&["apiVersion"], API_VERSIONS[0]) else {
            return;
        };
        if !API_VERSIONS.contains(&version) {
            let reason = format!("{version:?} is no version of SecretProviderClass");
            self.refuse(line, "apiVersion", &reason, &format!("write {}", API_VERSIONS[0]));
        }
    }

    fn name(&mut self) -> (String, usize) {
        let Some((name, line)) = self.required(&["metadata", "name"], "shop") else {
            return (String::new(), self.document.line);
        };
        if !is_name(name, 253, true) {
            let reason = format!("{name:?} is not a Kubernetes name");
            self.refuse(line, "metadata.name", &reason, "use lower-case letters, digits, - and .");
        }
        (name.to_owned(), line)
    }

    fn namespace(&mut self) -> String {
        let Some(node) = self.document.at(&["metadata", "namespace"]).filter(|node| !node.is_null()) else {
            return "default".to_owned();
        };
        let Some(namespace) = self.text_of("metadata.namespace", node) else {
            return String::new();
        };
        if !is_name(namespace, 63, false) {
            let reason = format!("{namespace:?} is not a Kubernetes namespace");
            self.refuse(node.line, "metadata.namespace", &reason, "use lower-case letters, digits and -");
        }
        namespace.to_owned()
    }

    fn provider(&mut self) -> (String, usize) {
        let Some((provider, line)) = self.required(&["spec", "provider"], "vault") else {
            return (String::new(), self.document.line);
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if provider.len() > 30 || !provider.chars().all(plain) {
            let reason = format!("{provider:?} is not the name of a provider");
            self.refuse(line, "spec.provider", &reason, "use at most 30 letters, digits, - and _");
        }
        (provider.to_owned(), line)
    }

    fn parameters(&mut self) -> Vec<LocatedParameter> {
        let pairs = self.document.at(&["spec", "parameters"]).map(Node::pairs).unwrap_or_default();
        if pairs.is_empty() {
            let line = self.document.at(&["spec", "parameters"]).unwrap_or(self.document).line;
            self.refuse(line, "spec.parameters", "there are none", "add the provider's parameters");
        }
        pairs.iter().filter_map(|(key, node)| self.parameter(key, node)).collect()
    }

    fn parameter(&mut self, key: &Key, node: &'a Node) -> Option<LocatedParameter> {
        let text = self.text_of(&key.text, node)?;
        if text.contains('\0') {
            self.refuse(key.line, &key.text, "it holds a NUL character", "remove the character");
            return None;
        }
        let block = match &node.value {
            Value::Scalar(scalar) => scalar.block,
            Value::List(_) | Value::Map(_) => None,
        };
        Some(LocatedParameter { key: key.text.clone(), text: text.to_owned(), line: key.line, block })
    }

    fn settings(&mut self, parameters: &[LocatedParameter]) -> Settings {
        let mut settings = Settings::default();
        for own in parameters.iter().filter(|parameter| parameter.key.starts_with(PREFIX)) {
            for invalid in settings.set(&own.key, &own.text).err().unwrap_or_default() {
                self.faults.push(Fault { line: Some(own.line_of(&invalid)), ..Fault::from(invalid) });
            }
        }
        if let Some(invalid) = settings.contradiction() {
            let written = parameters.iter().find(|parameter| parameter.key == invalid.key);
            let line = written.map(|written| written.line);
            self.faults.push(Fault { line, ..Fault::from(invalid) });
        }
        settings
    }

    fn secret_objects(&mut self) -> Vec<SecretObject> {
        let objects = self.document.at(&["spec", "secretObjects"]).map(Node::items).unwrap_or_default();
        objects.iter().enumerate().map(|(index, object)| self.secret_object(index, object)).collect()
    }

    /// What is read only for who opens a file is in no Secret.
    fn require_known_early(&mut self, settings: &Settings, secret_objects: &[SecretObject]) {
        if settings.fetch == FetchWhen::OnOpen && !secret_objects.is_empty() {
            let line =
                self.document.at(&["spec", "secretObjects"]).map_or(self.document.line, |node| node.line);
            let reason = "the values are read only when a file is opened, so no Secret can be made of them";
            let remedy = format!("write {PREFIX}fetch: eager, or remove spec.secretObjects");
            self.refuse(line, "spec.secretObjects", reason, &remedy);
        }
    }

    fn secret_object(&mut self, index: usize, object: &'a Node) -> SecretObject {
        let key = format!("spec.secretObjects[{index}]");
        let data = object.get("data").map(Node::items).unwrap_or_default();
        if data.is_empty() {
            self.refuse(
                object.line,
                &format!("{key}.data"),
                "it lists no keys",
                "add {objectName: …, key: …}",
            );
        }
        let kind = self.trimmed(&key, object, "type");
        SecretObject {
            secret_name: self.present(&key, object, "secretName"),
            kind: if kind.is_empty() { "Opaque".to_owned() } else { kind },
            labels: self.texts(&key, object, "labels"),
            annotations: self.texts(&key, object, "annotations"),
            data: data.iter().enumerate().map(|(at, entry)| self.secret_data(&key, at, entry)).collect(),
        }
    }

    fn secret_data(&mut self, object: &str, index: usize, entry: &'a Node) -> SecretObjectData {
        let key = format!("{object}.data[{index}]");
        SecretObjectData {
            object_name: self.present(&key, entry, "objectName"),
            key: self.present(&key, entry, "key"),
        }
    }

    fn present(&mut self, key: &str, node: &'a Node, field: &str) -> String {
        let before = self.faults.len();
        let text = self.trimmed(key, node, field);
        if text.is_empty() && self.faults.len() == before {
            self.refuse(node.line, &format!("{key}.{field}"), "it is missing", "add it");
        }
        text
    }

    fn trimmed(&mut self, key: &str, node: &'a Node, field: &str) -> String {
        let Some(value) = node.get(field).filter(|value| !value.is_null()) else {
            return String::new();
        };
        let text = self.text_of(&format!("{key}.{field}"), value).unwrap_or_default();
        text.trim().to_owned()
    }

    fn texts(&mut self, key: &str, node: &'a Node, field: &str) -> BTreeMap<String, String> {
        let pairs = node.get(field).map(Node::pairs).unwrap_or_default();
        let text = |(own, value): &'a (Key, Node)| {
            let text = self.text_of(&format!("{key}.{field}.{}", own.text), value)?;
            Some((own.text.clone(), text.to_owned()))
        };
        pairs.iter().filter_map(text).collect()
    }
}

/// The parameters that providers see: all except the `secretfs.dev/` keys that only secretfs reads.
fn handed_on(parameters: &[LocatedParameter]) -> Parameters {
    those(parameters, is_of_providers)
}

fn kept(parameters: &[LocatedParameter]) -> Parameters {
    those(parameters, |key| !is_of_providers(key))
}

fn those(parameters: &[LocatedParameter], wanted: impl Fn(&str) -> bool) -> Parameters {
    let parameters = parameters.iter().filter(|parameter| wanted(&parameter.key));
    parameters.map(|parameter| (parameter.key.clone(), parameter.text.clone())).collect()
}

/// Whether providers see the parameter `key`.
pub(crate) fn is_of_providers(key: &str) -> bool {
    !key.starts_with(PREFIX) || SHARED_WITH_PROVIDERS.contains(&key)
}

fn is_name(name: &str, longest: usize, dots: bool) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || (dots && c == '.');
    let outer = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.len() <= longest && name.chars().all(inner) && name.starts_with(outer) && name.ends_with(outer)
}

#[cfg(test)]
mod tests;
