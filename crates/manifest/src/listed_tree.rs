//! Objects of a class that are listings: the part that all stores with listings read in the same way. Each provider has
//! its own keys for what is listed.

use std::collections::BTreeMap;
use std::fmt;

use provider::{Invalid, ObjectPath, ObjectRef, Request, Tree};
use serde::{Deserialize, Serialize};

use crate::objects::{ObjectExtras, Position, encoding};
use crate::parts::JmesPath;
use crate::text::shorten;
use crate::yaml::{MAX_OBJECTS, NumericMode};

/// The most files of a listing, unless its class says otherwise.
const USUAL_FILES: usize = 100;
/// The most tags of one listing.
const MOST_TAGS: usize = 10;
/// The longest tag with its value, in bytes, as AWS and Azure allow it.
const LONGEST_TAG: usize = 512 + 1 + 256;

/// One listing, with its keys as they are written.
#[derive(Debug)]
pub struct WrittenTree<'a> {
    /// What is listed, in the words of the class.
    pub name: String,
    /// The store's address.
    pub address: String,
    /// `directory`.
    pub directory: Option<&'a str>,
    /// `maxFiles`.
    pub most: Option<usize>,
    /// Permission bits of each file.
    pub mode: Option<NumericMode>,
    /// The keys that every object may have.
    pub extras: ObjectExtras,
}

impl WrittenTree<'_> {
    /// How many files it may have: the usual number, where the class does not say.
    ///
    /// # Errors
    ///
    /// It is none, or more than a class may list objects.
    pub fn most(&self, at: Position<'_>) -> Result<usize, Invalid> {
        match self.most {
            None => Ok(USUAL_FILES),
            Some(most) if (1..=MAX_OBJECTS).contains(&most) => Ok(most),
            Some(_) => {
                let reason = format!("it is not between 1 and {MAX_OBJECTS}");
                Err(at.refuse("maxFiles", &reason, "write a number in between, or list less"))
            }
        }
    }

    /// The tree that `request` brings, in `least_calls` at least.
    ///
    /// # Errors
    ///
    /// What is wrong with its keys.
    pub fn tree(self, at: Position<'_>, request: Request, least_calls: usize) -> Result<Tree, Vec<Invalid>> {
        let (most, directory) = (self.most(at), self.directory(at));
        let encoding = encoding(at, "encoding", self.extras.encoding.as_deref());
        let jmes_path = self.jmes_path(at);
        match (most, directory, encoding, jmes_path, self.unfit(at)) {
            (Ok(most), Ok(directory), Ok(encoding), Ok(jmes_path), None) => Ok(Tree {
                name: self.name,
                address: self.address,
                directory,
                mode: self.mode.map(|mode| mode.0),
                request,
                optional: self.extras.optional,
                encoding,
                jmes_path,
                file: self.extras.file,
                most,
                least_calls,
            }),
            (most, directory, encoding, jmes_path, unfit) => {
                let faults = [most.err(), directory.err(), encoding.err(), jmes_path.err(), unfit];
                Err(faults.into_iter().flatten().collect())
            }
        }
    }

    fn directory(&self, at: Position<'_>) -> Result<ObjectPath, Invalid> {
        match self.directory {
            Some(raw) => at.path("directory", raw.trim_end_matches('/')),
            None => {
                Err(at.refuse("directory", "it is missing", "name the directory of the files, such as shop"))
            }
        }
    }

    fn jmes_path(&self, at: Position<'_>) -> Result<Option<String>, Invalid> {
        match &self.extras.jmes_path {
            None => Ok(None),
            Some(JmesPath::Whole(expression)) => Ok(Some(expression.clone())),
            Some(JmesPath::Parts(_)) => {
                let reason = "a list of parts is for one object, and a listing has many";
                Err(at.refuse("jmesPath", reason, "write one expression, which is applied to each file"))
            }
        }
    }

    fn unfit(&self, at: Position<'_>) -> Option<Invalid> {
        let reason = "nobody can say which file of a listing is missing";
        let refused = || at.refuse("default", reason, "list that object by its name, with a default");
        self.extras.default.as_ref().map(|_| refused())
    }
}

/// Tags that a listed secret must have: `key=value`, or only a key for any value, separated by commas.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tags(BTreeMap<String, Option<String>>);

impl Tags {
    /// Understands `raw`; an empty text has none.
    ///
    /// # Errors
    ///
    /// It is no list of tags, or a longer one than stores take.
    pub fn parse(raw: &str) -> Result<Self, &'static str> {
        let mut tags = BTreeMap::new();
        for pair in raw.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let (key, value) = match pair.split_once('=') {
                Some((key, value)) => (key.trim(), Some(value.trim().to_owned())),
                None => (pair, None),
            };
            if key.is_empty() || pair.len() > LONGEST_TAG || pair.contains(char::is_control) {
                return Err("it is no list of tags");
            }
            if tags.insert(key.to_owned(), value).is_some() {
                return Err("a tag is there twice");
            }
        }
        if tags.len() > MOST_TAGS { Err("it has more than 10 tags") } else { Ok(Self(tags)) }
    }

    /// Whether the list is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each key, with its value if the value counts.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_deref()))
    }

    /// Whether `has` says so of each.
    pub fn are_all(&self, has: impl Fn(&str, Option<&str>) -> bool) -> bool {
        self.iter().all(|(key, value)| has(key, value))
    }
}

impl fmt::Display for Tags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tag = |(key, value): (&str, Option<&str>)| match value {
            Some(value) => format!("{key}={value}"),
            None => key.to_owned(),
        };
        f.write_str(&self.iter().map(tag).collect::<Vec<_>>().join(","))
    }
}

/// Refuses the first of `keys` that an entry has, if any: they are about one object, and the entry is a listing.
///
/// # Errors
///
/// There is one.
pub fn without(at: Position<'_>, keys: &[(&'static str, bool)]) -> Result<(), Invalid> {
    match keys.iter().find(|(_, is_there)| *is_there) {
        None => Ok(()),
        Some((key, _)) => {
            let reason = "it is about one object, and this is a listing";
            Err(at.refuse(key, reason, "remove it, or list the object for itself"))
        }
    }
}

/// Objects of the class where one of `trees` needs a directory.
pub(crate) fn in_the_way(parameter: &str, objects: &[ObjectRef], trees: &[Tree]) -> Vec<Invalid> {
    let blocks = |tree: &Tree, object: &ObjectRef| {
        object.file && (object.path == tree.directory || object.path.is_ancestor_of(&tree.directory))
    };
    let blocked = trees.iter().filter_map(|tree| {
        let object = objects.iter().find(|object| blocks(tree, object))?;
        let reason =
            format!("the listing {:?} needs a directory where object {:?} is a file", tree.name, object.name);
        Some(Invalid::new(parameter, shorten(&reason), "give the listing another directory"))
    });
    blocked.collect()
}

#[cfg(test)]
mod tests {
    use provider::{Holds, Key};
    use serde::Deserialize;

    use super::*;
    use crate::Listing;
    use crate::objects::{Asked, read_with_trees};

    const OWN: &[Key] = &[
        Key::new("list", Holds::Text, "", ""),
        crate::declaration::DIRECTORY,
        crate::declaration::MAX_FILES,
    ];

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Written {
        list: String,
        directory: Option<String>,
        max_files: Option<usize>,
        #[serde(flatten)]
        extras: ObjectExtras,
    }

    fn read(text: &str) -> Result<Vec<Tree>, Vec<String>> {
        let understand = |at: Position<'_>, item: Written| {
            let tree = WrittenTree {
                name: item.list,
                address: String::new(),
                directory: item.directory.as_deref(),
                most: item.max_files,
                mode: None,
                extras: item.extras,
            };
            tree.tree(at, Request::shared("r"), 1).map(Asked::<()>::Tree)
        };
        let read = read_with_trees(&Listing::OBJECTS, text, OWN, understand);
        read.map(|read| read.trees).map_err(|faults| faults.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_listing_has_a_directory_and_a_hundred_files_where_it_does_not_say() {
        let trees =
            read("- {list: /shop, directory: conf/, encoding: base64, jmesPath: a, optional: true}").unwrap();
        assert_eq!((trees[0].directory.as_str(), trees[0].most, trees[0].optional), ("conf", 100, true));
        assert_eq!(trees[0].encoding, provider::Encoding::Base64);
        assert_eq!(read("- {list: a, directory: b, maxFiles: 1000}").unwrap()[0].most, 1000);
    }

    #[test]
    fn what_is_wrong_with_a_listing_is_told_by_its_key() {
        for (keys, key) in [
            ("", "objects[0].directory"),
            (", directory: ../x", "objects[0].directory"),
            (", directory: x, maxFiles: 0", "objects[0].maxFiles"),
            (", directory: x, maxFiles: 1001", "objects[0].maxFiles"),
            (", directory: x, encoding: rot13", "objects[0].encoding"),
            (", directory: x, default: y", "objects[0].default"),
            (", directory: x, jmesPath: [{path: a, objectAlias: b}]", "objects[0].jmesPath"),
        ] {
            let told = read(&format!("- {{list: /shop{keys}}}")).unwrap_err();
            assert!(told.len() == 1 && told[0].contains(key), "{told:?}");
        }
    }

    #[test]
    fn tags_are_pairs_or_keys() {
        let tags = Tags::parse("team=shop, stage = prod,public,empty=").unwrap();
        let pairs: Vec<_> = tags.iter().collect();
        assert_eq!(
            pairs,
            [("empty", Some("")), ("public", None), ("stage", Some("prod")), ("team", Some("shop"))]
        );
        assert_eq!(tags.to_string(), "empty=,public,stage=prod,team=shop");
        assert!(tags.are_all(|key, _| key != "other") && Tags::parse("").unwrap().is_empty());
        let many = (0..11).map(|n| format!("k{n},")).collect::<String>();
        for raw in ["=x", "a=1,a=2", "a\nb", &"k".repeat(800), &many] {
            assert!(Tags::parse(raw).is_err(), "{raw}");
        }
    }

    #[test]
    fn an_object_is_no_directory_of_a_listing() {
        let trees = read("- {list: /shop, directory: conf/shop}").unwrap();
        let object = |path: &str| ObjectRef::new(path.try_into().unwrap(), Request::shared("r"));
        assert_eq!(in_the_way("objects", &[object("conf/shop2"), object("conf/shop/a")], &trees), []);
        for path in ["conf", "conf/shop"] {
            assert_eq!(in_the_way("objects", &[object(path)], &trees).len(), 1, "{path}");
        }
    }
}
