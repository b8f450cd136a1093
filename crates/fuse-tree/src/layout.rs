//! The directories and files of one edition, by number.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::answer::Kind;
use crate::contents::Source;
use crate::edition::{Edition, File, Invalid};
use crate::node::{EditionTag, Numbering, PathId};

/// One edition, built.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) edition: Edition,
    pub(crate) tag: EditionTag,
    /// Whether its directory has a name in the root.
    pub(crate) is_named: bool,
    /// Handles that were opened in it, as far as this process knows.
    pub(crate) handles: u64,
    /// Whether another process may have opened more.
    pub(crate) is_inherited: bool,
    places: HashMap<PathId, Place>,
    /// Files whose names the swapper took away.
    unlinked: BTreeSet<String>,
}

/// A directory or file within an edition.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) path: String,
    pub(crate) parent: PathId,
    pub(crate) children: Option<BTreeMap<PathId, String>>,
}

impl Place {
    pub(crate) fn kind(&self) -> Kind {
        if self.children.is_some() { Kind::Directory } else { Kind::File }
    }
}

impl Layout {
    pub(crate) fn of(edition: Edition, numbering: Numbering) -> Result<Self, Invalid> {
        edition.check()?;
        let places = Builder::new(numbering).places(&edition)?;
        let (tag, unlinked) = (EditionTag::of(edition.number), BTreeSet::new());
        Ok(Self { edition, tag, is_named: true, handles: 0, is_inherited: false, places, unlinked })
    }

    /// What is at a number, also if its name is gone.
    pub(crate) fn place(&self, path: PathId) -> Option<&Place> {
        self.places.get(&path)
    }

    /// What is at a number, if a name leads there.
    pub(crate) fn named_place(&self, path: PathId) -> Option<&Place> {
        self.place(path).filter(|place| self.is_shown(place))
    }

    pub(crate) fn file(&self, place: &Place) -> Option<&File> {
        self.edition.files.get(&place.path)
    }

    /// Whether anything that is not withdrawn is at or below the place.
    fn is_shown(&self, place: &Place) -> bool {
        let Some(children) = &place.children else { return self.is_there(&place.path) };
        place.path.is_empty() || children.keys().any(|child| self.named_place(*child).is_some())
    }

    fn is_there(&self, path: &str) -> bool {
        let file = self.edition.files.get(path);
        file.is_some_and(|file| !matches!(file.source, Source::Withdrawn)) && !self.unlinked.contains(path)
    }

    /// Takes away the name of a file.
    pub(crate) fn unlink(&mut self, path: &str) -> bool {
        self.is_there(path) && self.unlinked.insert(path.to_owned())
    }

    /// Withdraws a file. `true` if it was there.
    pub(crate) fn withdraw(&mut self, path: &str) -> bool {
        let Some(file) = self.edition.files.get_mut(path) else { return false };
        let before = std::mem::replace(&mut file.source, Source::Withdrawn);
        !matches!(before, Source::Withdrawn)
    }
}

struct Builder {
    numbering: Numbering,
    places: HashMap<PathId, Place>,
}

impl Builder {
    fn new(numbering: Numbering) -> Self {
        Self { numbering, places: HashMap::new() }
    }

    fn places(mut self, edition: &Edition) -> Result<HashMap<PathId, Place>, Invalid> {
        self.directory("")?;
        for path in edition.files.keys() {
            let parent = self.directory(parent_of(path))?;
            let file = Place { path: path.clone(), parent, children: None };
            self.add(file)?;
        }
        Ok(self.places)
    }

    /// Makes a directory and those above it, and says its number.
    fn directory(&mut self, path: &str) -> Result<PathId, Invalid> {
        let id = self.numbering.inner(path);
        match self.places.get(&id) {
            Some(there) if there.path != path => return Err(Invalid::Collision(path.to_owned())),
            Some(there) if there.children.is_none() => return Err(Invalid::Path(path.to_owned())),
            Some(_) => return Ok(id),
            None => {}
        }
        let parent = if path.is_empty() { id } else { self.directory(parent_of(path))? };
        self.add(Place { path: path.to_owned(), parent, children: Some(BTreeMap::new()) })
    }

    fn add(&mut self, place: Place) -> Result<PathId, Invalid> {
        let id = self.numbering.inner(&place.path);
        if let Some(there) = self.places.get(&id) {
            let path = place.path.clone();
            let is_other = there.path != place.path;
            return Err(if is_other { Invalid::Collision(path) } else { Invalid::Path(path) });
        }
        let name = place.path.rsplit('/').next().unwrap_or_default().to_owned();
        let above = self.places.get_mut(&place.parent).and_then(|parent| parent.children.as_mut());
        if let Some(children) = above {
            children.insert(id, name);
        }
        self.places.insert(id, place);
        Ok(id)
    }
}

fn parent_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::Moment;
    use crate::contents::Plain;

    fn build(paths: &[&str]) -> Result<Layout, Invalid> {
        let file = || File { mode: 0o644, source: Source::Known(Plain::of("x")) };
        let files = paths.iter().map(|path| ((*path).to_owned(), file())).collect();
        let edition = Edition { number: 1, name: "..1".to_owned(), changed: Moment::default(), files };
        Layout::of(edition, Numbering::of("v"))
    }

    #[test]
    fn directories_are_made_for_the_paths_below_them() {
        let layout = build(&["a/b/c", "a/d", "e"]).unwrap();
        let numbering = Numbering::of("v");

        let names = |path| -> Vec<String> {
            let place = layout.named_place(numbering.inner(path)).unwrap();
            let mut names: Vec<_> = place.children.as_ref().unwrap().values().cloned().collect();
            names.sort();
            names
        };
        assert_eq!(names(""), ["a", "e"]);
        assert_eq!(names("a"), ["b", "d"]);
        assert_eq!(layout.place(numbering.inner("a/b/c")).unwrap().kind(), Kind::File);
    }

    #[test]
    fn a_file_is_no_directory() {
        assert_eq!(build(&["a", "a/b"]).unwrap_err(), Invalid::Path("a".to_owned()));
        assert_eq!(build(&["a", "a-b", "a/b"]).unwrap_err(), Invalid::Path("a".to_owned()));
    }

    #[test]
    fn a_directory_goes_with_the_last_file_in_it() {
        let mut layout = build(&["a/b", "a/c", "d"]).unwrap();
        let directory = Numbering::of("v").inner("a");

        assert!(layout.withdraw("a/b") && !layout.withdraw("a/b"));
        assert!(layout.named_place(directory).is_some());
        assert!(layout.unlink("a/c") && !layout.unlink("a/c"));
        assert!(layout.named_place(directory).is_none() && layout.place(directory).is_some());
    }
}
