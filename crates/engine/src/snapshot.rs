//! One consistent set of the files of a volume.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use aws_lc_rs::hmac;
use provider::{FileMode, ObjectPath, Origin, SecretBytes};

/// One file of a volume.
#[derive(Debug, Clone)]
pub struct File {
    /// The bytes of the file.
    pub contents: SecretBytes,
    /// Permission bits, if the class sets them. `None` means the volume's default.
    pub mode: Option<FileMode>,
    /// Identifies the version without telling the value.
    pub fingerprint: Fingerprint,
    /// The store's own name for this version, if it has one.
    pub version: Option<String>,
}

/// One object of a class: where the store keeps it, and which files show it.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The object's `objectName` in its class.
    pub name: String,
    /// Where its store keeps it.
    pub origin: Origin,
    /// The file that shows it alone, unless the class wants none.
    pub file: Option<ObjectPath>,
    /// The composed files that hold it.
    pub composed: Vec<ObjectPath>,
}

/// One object that files of a volume were made of: names and versions, and never a value.
#[derive(Debug, Clone)]
pub struct Made {
    /// The object that was read.
    pub asked: Asked,
    /// The store's own name for the version, if it has one.
    pub version: Option<String>,
    /// Identifies the version without telling the value.
    pub fingerprint: Fingerprint,
}

impl Made {
    /// The contents differ, and the store's names for the versions do not say that they are the same.
    fn is_another_version_than(&self, other: &Self) -> bool {
        let is_named_alike = self.version.is_some() && self.version == other.version;
        self.fingerprint != other.fingerprint && !is_named_alike
    }
}

impl Asked {
    /// The files that show the object.
    pub fn paths(&self) -> impl Iterator<Item = &ObjectPath> {
        self.file.iter().chain(&self.composed)
    }
}

/// The files of a volume at one moment. Immutable: a rotation makes a new one.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    files: BTreeMap<ObjectPath, File>,
    /// The objects that the files were made of. Empty if this is not known, because the files were found mounted.
    made_of: Vec<Made>,
}

impl Snapshot {
    /// The file at `path`, if the volume has one.
    pub fn get(&self, path: &ObjectPath) -> Option<&File> {
        self.files.get(path)
    }

    /// Every file, in path order.
    pub fn iter(&self) -> impl Iterator<Item = (&ObjectPath, &File)> {
        self.files.iter()
    }

    /// The same snapshot, which says that its files were made of `objects`.
    #[must_use]
    pub fn made_of(mut self, objects: Vec<Made>) -> Self {
        self.made_of = objects;
        self
    }

    /// The objects that the files were made of; empty if this is not known.
    pub fn objects(&self) -> &[Made] {
        &self.made_of
    }

    /// What these files were made of, if they were made of the same objects as later ones, of which `objects` tells.
    /// Objects without a file of their own are left out.
    pub fn made_of_the_same(&self, objects: &[Made]) -> Vec<Made> {
        let here = |made: &Made| {
            let File { version, fingerprint, .. } = self.get(made.asked.file.as_ref()?)?;
            let (version, fingerprint) = (version.clone(), fingerprint.clone());
            Some(Made { asked: made.asked.clone(), version, fingerprint })
        };
        objects.iter().filter_map(here).collect()
    }

    /// The objects that `old` shows in another version than these files do. What `old` does not show has no version that was
    /// replaced.
    pub fn replaced(&self, old: &Self) -> Vec<Made> {
        let adopted = old.made_of.is_empty().then(|| old.made_of_the_same(&self.made_of));
        let shown = adopted.as_ref().unwrap_or(&old.made_of).iter();
        let shown: HashMap<&str, &Made> = shown.map(|made| (made.asked.name.as_str(), made)).collect();
        let is_another = |made: &&Made| {
            shown.get(made.asked.name.as_str()).is_some_and(|shown| shown.is_another_version_than(made))
        };
        self.made_of.iter().filter(is_another).cloned().collect()
    }

    /// How many files there are.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there are no files.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Sum of the files' sizes in bytes.
    pub fn bytes(&self) -> u64 {
        self.files.values().map(|file| file.contents.len() as u64).sum()
    }

    /// Whether both have the same paths, versions and modes, so that a volume that shows `self` need not change.
    pub fn same_versions(&self, other: &Self) -> bool {
        self.len() == other.len()
            && self.iter().zip(other.iter()).all(|((path, file), (other_path, other_file))| {
                path == other_path
                    && file.fingerprint == other_file.fingerprint
                    && file.mode == other_file.mode
            })
    }
}

impl FromIterator<(ObjectPath, File)> for Snapshot {
    fn from_iter<I: IntoIterator<Item = (ObjectPath, File)>>(files: I) -> Self {
        Self { files: files.into_iter().collect(), made_of: Vec::new() }
    }
}

/// Identifies the contents of a file. Without the [`FingerprintKey`] it tells nothing about the value.
#[derive(Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// Its first 64 bits, by which handles tell versions of one file apart.
    pub fn number(&self) -> u64 {
        let digits = self.0.get(..16).unwrap_or(&self.0);
        u64::from_str_radix(digits, 16).unwrap_or_default()
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The key of fingerprints. Each boot of a node has a random one, so nobody can compare fingerprints of two nodes, or
/// make a table of fingerprints of known values.
pub struct FingerprintKey(hmac::Key);

/// How many bytes of the HMAC a fingerprint has: enough to tell versions apart.
const SHOWN: usize = 12;

impl FingerprintKey {
    /// A key from at least 32 random bytes.
    pub fn new(random: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, random))
    }

    /// The fingerprint of a file at `path` with these `contents`.
    pub fn fingerprint(&self, path: &ObjectPath, contents: &[u8]) -> Fingerprint {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(path.as_str().as_bytes());
        context.update(&[0]);
        context.update(contents);
        shown(&context.sign())
    }

    /// The fingerprint of something that consists of several parts, in this order.
    pub fn fingerprint_of<'a>(&self, parts: impl IntoIterator<Item = &'a [u8]>) -> Fingerprint {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(&part.len().to_be_bytes());
            context.update(part);
        }
        shown(&context.sign())
    }
}

fn shown(tag: &hmac::Tag) -> Fingerprint {
    Fingerprint(tag.as_ref().iter().take(SHOWN).map(|byte| format!("{byte:02x}")).collect())
}

impl fmt::Debug for FingerprintKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FingerprintKey")
    }
}

#[cfg(test)]
mod tests {
    use provider::Scope;

    use super::*;

    /// Files of these objects, each with its value and the store's name for the version.
    fn shown(objects: &[(&str, &str, Option<&str>)]) -> Snapshot {
        let key = FingerprintKey::new(&[7; 32]);
        let file = |(name, value, version): &(&str, &str, Option<&str>)| {
            let path = ObjectPath::try_from(*name).unwrap();
            let fingerprint = key.fingerprint(&path, value.as_bytes());
            let version = version.map(str::to_owned);
            (path, File { contents: value.as_bytes().to_vec().into(), mode: None, fingerprint, version })
        };
        let made = |(path, file): (ObjectPath, File)| {
            let (address, name) = ("a".to_owned(), path.to_string());
            let origin = Origin { address, scope: Scope::Whole, path: name.clone(), key: None };
            let asked = Asked { name, origin, file: Some(path), composed: Vec::new() };
            Made { asked, version: file.version, fingerprint: file.fingerprint }
        };
        let made = objects.iter().map(|object| made(file(object))).collect();
        objects.iter().map(file).collect::<Snapshot>().made_of(made)
    }

    #[test]
    fn only_objects_that_are_shown_in_another_version_count_as_replaced() {
        let old = shown(&[("same", "a", Some("1")), ("new", "a", Some("1")), ("nameless", "a", None)]);
        let now = shown(&[
            ("same", "a", Some("1")),
            ("new", "b", Some("2")),
            ("nameless", "b", None),
            ("added", "a", Some("1")),
        ]);
        let names =
            |replaced: Vec<Made>| replaced.into_iter().map(|made| made.asked.name).collect::<Vec<_>>();

        assert_eq!(names(now.replaced(&old)), ["new", "nameless"]);
        assert_eq!(
            names(now.replaced(&shown(&[]))),
            Vec::<String>::new(),
            "what comes back was not replaced"
        );
        assert_eq!(names(shown(&[("new", "a", Some("2"))]).replaced(&old)), Vec::<String>::new());
        // Of files that an earlier process showed, only files are known.
        assert_eq!(names(now.replaced(&old.made_of(Vec::new()))), ["new", "nameless"]);
    }
}
