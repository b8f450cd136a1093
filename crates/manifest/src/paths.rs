//! The paths of objects in a volume: valid paths that do not collide.

use std::collections::BTreeMap;

use provider::{Invalid, ObjectPath};

use crate::text::shorten;

/// An object's path, and the line of the parameter on which it is written.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The index of the object in the list, from 0.
    pub index: usize,
    /// Where it appears.
    pub path: &'a ObjectPath,
    /// Line in the parameter's text, from 1, if it is known.
    pub line: Option<usize>,
}

/// Parses the path `raw`. `key` is the key that the author wrote, such as `objects[2].objectName`.
///
/// # Errors
///
/// The path is absolute, leaves the volume, is too long or too deep.
pub fn object_path(key: &str, line: Option<usize>, raw: &str) -> Result<ObjectPath, Invalid> {
    ObjectPath::try_from(raw).map_err(|refused| Invalid {
        key: key.to_owned(),
        line,
        reason: shorten(&refused.to_string()),
        remedy: "write a relative file name such as db/password".to_owned(),
    })
}

/// The collisions between `places`: two equal paths, or a file at a path that another file needs as a directory. Empty
/// if there is none.
pub fn conflicts<'a>(parameter: &str, places: impl IntoIterator<Item = Place<'a>>) -> Vec<Invalid> {
    let mut seen = Seen { parameter, files: BTreeMap::new(), directories: BTreeMap::new() };
    places.into_iter().filter_map(|place| seen.add(place)).collect()
}

/// Checks that there are no [`conflicts`].
///
/// # Errors
///
/// The first conflict.
pub fn unique<'a>(parameter: &str, places: impl IntoIterator<Item = Place<'a>>) -> Result<(), Invalid> {
    conflicts(parameter, places).into_iter().next().map_or(Ok(()), Err)
}

/// The paths so far: which path is taken, and the index of the object that took it first.
struct Seen<'a> {
    parameter: &'a str,
    files: BTreeMap<String, usize>,
    directories: BTreeMap<String, usize>,
}

impl Seen<'_> {
    fn add(&mut self, Place { index, path, line }: Place<'_>) -> Option<Invalid> {
        let path = path.as_str();
        let found = self.conflict(path);
        self.files.entry(path.to_owned()).or_insert(index);
        for directory in parents(path) {
            self.directories.entry(directory.to_owned()).or_insert(index);
        }
        found.map(|(other, clash)| Invalid {
            key: format!("{}[{index}]", self.parameter),
            line,
            reason: shorten(&format!("path {path:?} {clash} {}[{other}]", self.parameter)),
            remedy: "give every object a path of its own".to_owned(),
        })
    }

    fn conflict(&self, path: &str) -> Option<(usize, String)> {
        let same = self.files.get(path).map(|&other| (other, "is also the path of".to_owned()));
        let below = || self.directories.get(path).map(|&other| (other, "is a directory for".to_owned()));
        let above = || {
            parents(path).find_map(|directory| {
                let other = self.files.get(directory)?;
                Some((*other, format!("needs a directory {directory:?}, which is the file of")))
            })
        };
        same.or_else(below).or_else(above)
    }
}

fn parents(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').filter_map(|(end, _)| path.get(..end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conflicts_of(raw: &[&str]) -> Vec<String> {
        let paths: Vec<_> = raw.iter().map(|raw| ObjectPath::try_from(*raw).unwrap()).collect();
        let places = paths.iter().enumerate();
        let places = places.map(|(index, path)| Place { index, path, line: Some(index + 1) });
        conflicts("objects", places).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn different_files_are_at_peace() {
        assert_eq!(conflicts_of(&["db/user", "db/password", "db.conf", "dbx"]), Vec::<String>::new());
    }

    #[test]
    fn the_second_of_two_equal_paths_names_the_first() {
        assert_eq!(
            conflicts_of(&["a", "b", "a"]),
            [
                "parameter objects[2] (line 3): path \"a\" is also the path of objects[0]; give every object a path of its own"
            ]
        );
    }

    #[test]
    fn a_file_cannot_be_where_another_needs_a_directory() {
        let down = conflicts_of(&["db", "db/user"]);
        assert!(down[0].contains("objects[1]") && down[0].contains("the file of objects[0]"), "{down:?}");

        let up = conflicts_of(&["db/user/name", "db"]);
        assert!(up[0].contains("is a directory for objects[0]"), "{up:?}");
    }

    #[test]
    fn a_refused_path_is_named_but_not_in_full_length() {
        let invalid = object_path("objects[0].objectName", Some(1), &"n".repeat(300)).unwrap_err();
        assert!(invalid.reason.contains("longer than 255 bytes") && invalid.reason.len() < 300, "{invalid}");
    }
}
