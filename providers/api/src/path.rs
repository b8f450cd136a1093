use std::fmt;
use std::path::Path;

/// The longest file name that the kernel accepts (`NAME_MAX`), in bytes.
const MAX_NAME: usize = 255;
/// The deepest path of a file in a volume, in components.
const MAX_DEPTH: usize = 8;

/// A relative path of plain components: it cannot leave the volume.
///
/// The type itself is the proof: no other code needs to check for `..` again.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectPath(String);

/// Why a text is not an [`ObjectPath`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path:?} is not a file name inside the volume: {reason}")]
pub struct InvalidPath {
    path: String,
    reason: &'static str,
}

impl ObjectPath {
    /// The path, relative to the volume's root, components separated by `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path, relative to the volume's root.
    pub fn as_path(&self) -> &Path {
        Path::new(&self.0)
    }

    /// The components, outermost first. At least one.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// The name directly below the volume's root.
    pub fn top(&self) -> &str {
        self.0.split('/').next().unwrap_or(&self.0)
    }

    /// Whether `self` is a directory on the way to `other`.
    pub fn is_ancestor_of(&self, other: &Self) -> bool {
        other.0.strip_prefix(&self.0).is_some_and(|rest| rest.starts_with('/'))
    }

    /// The same path with `suffix` appended to its last component.
    ///
    /// # Errors
    ///
    /// The new name would be too long.
    pub fn with_suffix(&self, suffix: &str) -> Result<Self, InvalidPath> {
        Self::try_from(format!("{}{suffix}", self.0).as_str())
    }
}

impl TryFrom<&str> for ObjectPath {
    type Error = InvalidPath;

    fn try_from(raw: &str) -> Result<Self, InvalidPath> {
        match refusal(raw) {
            Some(reason) => Err(InvalidPath { path: raw.to_owned(), reason }),
            None => Ok(Self(raw.to_owned())),
        }
    }
}

fn refusal(raw: &str) -> Option<&'static str> {
    if raw.is_empty() {
        return Some("it is empty");
    }
    if raw.starts_with('/') {
        return Some("it is absolute");
    }
    if raw.split('/').count() > MAX_DEPTH {
        return Some("it is more than 8 levels deep");
    }
    // `..data` and similar names are used for the atomic swap at a rotation.
    if raw.starts_with("..") {
        return Some("names that begin with `..` are the volume's own");
    }
    raw.split('/').find_map(component_refusal)
}

fn component_refusal(component: &str) -> Option<&'static str> {
    match component {
        "" => Some("it has an empty component"),
        "." | ".." => Some("it has a `.` or `..` component"),
        long if long.len() > MAX_NAME => Some("a component is longer than 255 bytes"),
        odd if odd.chars().any(|c| c.is_control() || c == '\\') => {
            Some("it has a control character or a backslash")
        }
        _ => None,
    }
}

impl fmt::Display for ObjectPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Permission bits of a file: `0o000` to `0o777`, no set-id and no sticky bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileMode(u32);

/// A number outside `0o000..=0o777`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:#o} is not a file mode between 0000 and 0777")]
pub struct InvalidMode(u64);

impl FileMode {
    /// The bits, as `chmod` takes them.
    pub fn bits(self) -> u32 {
        self.0
    }
}

impl TryFrom<u64> for FileMode {
    type Error = InvalidMode;

    fn try_from(bits: u64) -> Result<Self, InvalidMode> {
        u32::try_from(bits).ok().filter(|bits| *bits <= 0o777).map(Self).ok_or(InvalidMode(bits))
    }
}

impl fmt::Display for FileMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Component;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_path_that_leaves_the_volume_is_not_a_path() {
        for raw in
            ["", "/etc/passwd", "..", "../x", "a/../../x", "..data", "./x", "a//b", "a/", "a\0b", "a\\b"]
        {
            assert!(ObjectPath::try_from(raw).is_err(), "{raw:?}");
        }
        assert!(ObjectPath::try_from("n".repeat(256).as_str()).is_err());
        assert!(ObjectPath::try_from("a/b/c/d/e/f/g/h/i").is_err());
    }

    #[test]
    fn plain_relative_paths_are_paths() {
        for raw in ["key", "db/password", ".hidden", "a..b", "ключ", "n".repeat(255).as_str()] {
            assert!(ObjectPath::try_from(raw).is_ok(), "{raw:?}");
        }
    }

    #[test]
    fn a_mode_beyond_the_permission_bits_is_refused() {
        assert_eq!(FileMode::try_from(0o400).unwrap().bits(), 0o400);
        assert!(FileMode::try_from(0o4755).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn whatever_is_accepted_stays_below_the_root(raw in r"[a-z./\\\x00\x7f]{0,24}|\PC{0,300}") {
            if let Ok(path) = ObjectPath::try_from(raw.as_str()) {
                let plain = path.as_path().components().all(|c| matches!(c, Component::Normal(_)));
                prop_assert!(plain && !path.as_str().is_empty());
                prop_assert!(path.components().all(|c| c.len() <= 255 && c != ".." && !c.contains('\0')));
                prop_assert!(!path.top().starts_with(".."));
            }
        }
    }
}
