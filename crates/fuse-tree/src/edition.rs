use std::collections::BTreeMap;

use crate::answer::Moment;
use crate::contents::Source;

/// The longest name that Linux has.
const NAME_MAX: usize = 255;
/// The longest path of a file: what stands above it in a pod has to fit into Linux's 4096 too.
const PATH_MAX: usize = 2048;
/// What the names begin with that are not files'.
const OWN: &str = "..";

/// One set of files that is shown at once.
#[derive(Debug, Clone)]
pub struct Edition {
    /// Tells it from other editions of the volume, in every process: handles carry it. A later one has a higher number,
    /// below 2^63.
    pub number: u64,
    /// The name of its directory, which begins with `..`.
    pub name: String,
    /// When it was made.
    pub changed: Moment,
    /// Its files by path, with `/` between the parts.
    pub files: BTreeMap<String, File>,
}

/// One file of an edition.
#[derive(Debug, Clone)]
pub struct File {
    /// Permission bits.
    pub mode: u32,
    /// What it holds.
    pub source: Source,
}

/// Why an edition cannot be shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// The name of its directory.
    #[error("{0:?} cannot name the directory of an edition")]
    Name(String),
    /// A path of a file.
    #[error("{0:?} is no path of a file, or leads through another file")]
    Path(String),
    /// Its number.
    #[error("an edition with this number is there already, or none may have it")]
    Number,
    /// Two paths with one number: another path has to be chosen.
    #[error("{0:?} has the same number as another path")]
    Collision(String),
}

impl Edition {
    /// Whether name, number and the form of each path can be shown.
    pub(crate) fn check(&self) -> Result<(), Invalid> {
        let is_ours = self.name.starts_with(OWN) && is_name(&self.name);
        if !is_ours || self.name == crate::DATA || self.name == crate::NEXT_DATA {
            return Err(Invalid::Name(self.name.clone()));
        }
        if self.number >= 1 << 63 {
            return Err(Invalid::Number);
        }
        let wrong = self.files.keys().find(|path| !is_path(path));
        wrong.map_or(Ok(()), |path| Err(Invalid::Path(path.clone())))
    }

    /// The names that stand in the root for this edition.
    pub(crate) fn tops(&self) -> impl Iterator<Item = &str> {
        let there = self.files.iter().filter(|(_, file)| !matches!(file.source, Source::Withdrawn));
        there.map(|(path, _)| first_part(path))
    }
}

pub(crate) fn first_part(path: &str) -> &str {
    path.split('/').next().unwrap_or(path)
}

/// Whether this may be a name in a directory.
pub(crate) fn is_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && name.len() <= NAME_MAX && !name.contains(['/', '\0'])
}

fn is_path(path: &str) -> bool {
    !path.starts_with(OWN) && path.len() <= PATH_MAX && path.split('/').all(is_name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contents::Plain;

    fn edition(name: &str, path: &str) -> Edition {
        let file = File { mode: 0o644, source: Source::Known(Plain::of("x")) };
        let files = [(path.to_owned(), file)].into();
        Edition { number: 1, name: name.to_owned(), changed: Moment::default(), files }
    }

    #[test]
    fn names_and_paths_that_no_directory_can_have_are_refused() {
        for name in ["", ".", "..", "v1", "..a/b", "..data", "..data_tmp", "..\0"] {
            assert_eq!(edition(name, "a").check(), Err(Invalid::Name(name.to_owned())));
        }
        for path in ["", "/a", "a/", "a//b", "a/./b", "a/../b", "..a", "a\0", &"a".repeat(256)] {
            assert_eq!(edition("..1", path).check(), Err(Invalid::Path(path.to_owned())));
        }
        assert_eq!(edition("..1", "a/..b/c").check(), Ok(()));
    }

    #[test]
    fn a_number_leaves_room_for_the_mark_of_handles() {
        assert_eq!(Edition { number: 1 << 63, ..edition("..1", "a") }.check(), Err(Invalid::Number));
    }
}
