//! The Secrets that a class wants to be made of the files of its volume. Pure.

use std::collections::{BTreeMap, BTreeSet};

use manifest::{Class, SecretObject, SecretObjectData};
use provider::SecretBytes;

/// Type whose files are split into certificates and key.
const TLS: &str = "kubernetes.io/tls";
/// Type that requires no certain keys.
pub(super) const OPAQUE: &str = "Opaque";
/// Annotation of a secretObject: the file with the password of its PFX. It is not copied to the Secret.
pub(super) const PFX_PASSWORD: &str = "secretfs.dev/pfx-password-object";

/// A Secret as a class wants it.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// Name of the Secret.
    pub(super) name: String,
    /// `type` of the Secret; `Opaque` if the class says none.
    pub(super) kind: String,
    /// Labels that the class wants on it, without the label that says that it is managed.
    pub(super) labels: BTreeMap<String, String>,
    /// Annotations that the class wants on it.
    pub(super) annotations: BTreeMap<String, String>,
    /// Its keys and their values.
    pub(super) data: BTreeMap<String, SecretBytes>,
    /// Keys whose file the volume does not show, because it was withdrawn or is optional and missing.
    pub(super) absent: BTreeSet<String>,
    /// Keys whose file cannot be used. These keys stay as they are.
    pub(super) unusable: BTreeSet<String>,
    /// What is wrong, in texts without a value.
    pub(super) faults: Vec<String>,
}

/// The files of a volume, by path.
pub(super) type Files = BTreeMap<String, SecretBytes>;

/// The Secrets that `class` wants to be made of `files`. `known` are the paths that the volume could show.
pub(super) fn wanted(class: &Class, files: &Files, known: &BTreeSet<String>) -> Vec<Wanted> {
    let mut secrets: Vec<Wanted> = Vec::new();
    for object in &class.secret_objects {
        let new = Reading { object, files, known }.secret();
        match secrets.iter_mut().find(|secret| secret.name == new.name) {
            Some(earlier) => earlier.join(new),
            None => secrets.push(new),
        }
    }
    secrets
}

impl Wanted {
    /// Whether the class names `key`, even if its file cannot be used.
    pub(super) fn names(&self, key: &str) -> bool {
        self.data.contains_key(key) || self.absent.contains(key) || self.unusable.contains(key)
    }

    /// Adds the keys of another secretObject with the same name. If both set something, the first one counts.
    fn join(&mut self, other: Self) {
        if other.kind != self.kind {
            let fault = format!(
                "Secret {} is written twice in the class, as {} and as {}; the second is left out",
                self.name, self.kind, other.kind
            );
            return self.faults.push(fault);
        }
        for (key, value) in other.data {
            if self.names(&key) {
                self.faults.push(format!("key {key} of Secret {} is written twice in the class", self.name));
            } else {
                self.data.insert(key, value);
            }
        }
        self.absent.extend(other.absent.into_iter().filter(|key| !self.data.contains_key(key)));
        self.unusable.extend(other.unusable);
        self.faults.extend(other.faults);
        join(&mut self.labels, other.labels);
        join(&mut self.annotations, other.annotations);
    }
}

/// Adds labels or annotations that are not there yet.
fn join(marks: &mut BTreeMap<String, String>, others: BTreeMap<String, String>) {
    for (key, value) in others {
        marks.entry(key).or_insert(value);
    }
}

/// The value of a key, from a file.
enum Value {
    Bytes(SecretBytes),
    Absent,
    Unknown,
    Unusable(String),
}

struct Reading<'a> {
    object: &'a SecretObject,
    files: &'a Files,
    known: &'a BTreeSet<String>,
}

impl Reading<'_> {
    fn secret(&self) -> Wanted {
        let mut secret = Wanted {
            name: self.object.secret_name.clone(),
            kind: self.object.kind.clone(),
            labels: self.object.labels.clone(),
            annotations: self.object.annotations.clone(),
            data: BTreeMap::new(),
            absent: BTreeSet::new(),
            unusable: BTreeSet::new(),
            faults: Vec::new(),
        };
        secret.annotations.remove(PFX_PASSWORD);
        self.object.data.iter().for_each(|entry| self.add(&mut secret, entry));
        secret
    }

    fn add(&self, secret: &mut Wanted, entry: &SecretObjectData) {
        let (name, key, file) = (&self.object.secret_name, &entry.key, &entry.object_name);
        if secret.names(key) {
            return secret.faults.push(format!("key {key} of Secret {name} is written twice in the class"));
        }
        match self.value(entry) {
            Value::Bytes(bytes) => drop(secret.data.insert(key.clone(), bytes)),
            Value::Absent => drop(secret.absent.insert(key.clone())),
            Value::Unknown => {
                secret.absent.insert(key.clone());
                let fault = format!(
                    "key {key} of Secret {name}: the volume has no file {file:?}; name a file by its path in the volume"
                );
                secret.faults.push(fault);
            }
            Value::Unusable(reason) => {
                secret.unusable.insert(key.clone());
                secret.faults.push(format!("key {key} of Secret {name}: file {file:?}: {reason}"));
            }
        }
    }

    fn value(&self, entry: &SecretObjectData) -> Value {
        let Some(bytes) = self.files.get(&entry.object_name) else {
            return if self.is_known(&entry.object_name) { Value::Absent } else { Value::Unknown };
        };
        match (self.object.kind.as_str(), entry.key.as_str()) {
            (TLS, "tls.crt") => self.converted(|password| {
                tls_pair::certificates(bytes.expose(), password).map(String::into_bytes)
            }),
            (TLS, "tls.key") => self.converted(|password| {
                // The allocation moves into the SecretBytes, which wipe it.
                tls_pair::private_key(bytes.expose(), password)
                    .map(|mut key| std::mem::take(&mut *key).into_bytes())
            }),
            _ => Value::Bytes(bytes.clone()),
        }
    }

    /// Whether the volume could show this file, or shows a file of which this is an older version.
    fn is_known(&self, file: &str) -> bool {
        let older = file.rsplit_once(".previous").is_some_and(|(file, _)| self.known.contains(file));
        older || self.known.contains(file)
    }

    fn converted(&self, convert: impl Fn(&str) -> Result<Vec<u8>, tls_pair::Unusable>) -> Value {
        match self.password() {
            Ok(password) => convert(password)
                .map_or_else(|error| Value::Unusable(error.to_string()), |bytes| Value::Bytes(bytes.into())),
            Err(reason) => Value::Unusable(reason),
        }
    }

    /// The password of a PFX; empty if the class names none. A line end at the end of the file is not part of it: files
    /// often end in one, and passwords do not.
    fn password(&self) -> Result<&str, String> {
        let Some(file) = self.object.annotations.get(PFX_PASSWORD) else { return Ok("") };
        let bytes = self
            .files
            .get(file)
            .ok_or_else(|| format!("the volume has no file {file:?} with its password"))?;
        let text = bytes.expose_str().ok_or_else(|| format!("the password in {file:?} is no text"))?;
        Ok(text.trim_end_matches(['\r', '\n']))
    }
}

#[cfg(test)]
mod tests;
