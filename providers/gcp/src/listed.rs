//! Objects of a class that are listings: the secrets of a project that a filter finds.

use manifest::fields::filled;
use manifest::objects::Position;
use manifest::{WrittenTree, without};
use provider::{Invalid, Request, Tree};
use serde::{Deserialize, Serialize};

use crate::objects::Item;
use crate::resource::Resource;

/// Longest filter, in bytes: it is part of a URL.
const LONGEST_FILTER: usize = 1000;
/// One page, and one value.
const LEAST_CALLS: usize = 2;

/// What is listed, in its canonical form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sought {
    /// `projects/P`, or with `locations/L` behind it.
    pub(crate) parent: String,
    pub(crate) filter: String,
    /// Most files.
    pub(crate) most: usize,
}

impl Sought {
    fn request(&self) -> Request {
        Request::shared(serde_json::to_string(self).unwrap_or_default())
    }

    /// What a [request](Self::request) told of.
    pub(crate) fn of_request(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The newest version of one of its secrets. `None` if that can be none's name.
    pub(crate) fn secret(&self, id: &str) -> Option<Resource> {
        newest_in(&self.parent, id)
    }
}

fn newest_in(parent: &str, id: &str) -> Option<Resource> {
    Resource::parse(&format!("{parent}/secrets/{id}/versions/latest")).ok()
}

impl Item {
    /// Whether it has a key of listings.
    pub(crate) fn is_listing(&self) -> bool {
        let texts = [&self.parent, &self.by_filter, &self.directory];
        texts.into_iter().any(|text| filled(text).is_some()) || self.max_files.is_some()
    }

    /// What it lists.
    ///
    /// # Errors
    ///
    /// What is wrong with its keys.
    pub(crate) fn tree(self, at: Position<'_>) -> Result<Tree, Vec<Invalid>> {
        let one = |fault| vec![fault];
        self.is_only_a_listing(at).map_err(one)?;
        let parent = self.parent_of(at).map_err(one)?;
        let filter = self.filter(at).map_err(one)?;
        let written = WrittenTree {
            name: format!("{parent}/secrets with {filter}"),
            address: String::new(),
            directory: filled(&self.directory),
            most: self.max_files,
            mode: self.mode,
            extras: self.extras(),
        };
        let sought = Sought { parent, filter, most: written.most(at).map_err(one)? };
        written.tree(at, sought.request(), LEAST_CALLS)
    }

    fn is_only_a_listing(&self, at: Position<'_>) -> Result<(), Invalid> {
        let keys = [
            ("resourceName", &self.resource_name),
            ("path", &self.path),
            ("fileName", &self.file_name),
            ("extractJSONKey", &self.json_key),
            ("extractYAMLKey", &self.yaml_key),
            ("ciphertext", &self.ciphertext),
            ("ciphertextFrom", &self.ciphertext_from),
            ("additionalAuthenticatedData", &self.additional_authenticated_data),
        ];
        without(at, &keys.map(|(key, text)| (key, filled(text).is_some())))
    }

    fn parent_of(&self, at: Position<'_>) -> Result<String, Invalid> {
        let remedy = "write projects/P, or projects/P/locations/L for regional secrets";
        let parent = self.parent.as_deref().unwrap_or_default().trim_end_matches('/');
        match newest_in(parent, "a") {
            Some(_) => Ok(parent.to_owned()),
            None if parent.is_empty() => Err(at.refuse("parent", "it is missing", remedy)),
            None => Err(at.refuse("parent", "it is no project and no location of one", remedy)),
        }
    }

    fn filter(&self, at: Position<'_>) -> Result<String, Invalid> {
        let remedy = "write a filter of Secret Manager, such as labels.team=shop";
        match self.by_filter.as_deref().map(str::trim).unwrap_or_default() {
            "" => Err(at.refuse("byFilter", "it is missing", remedy)),
            long if long.len() > LONGEST_FILTER || long.contains(char::is_control) => {
                Err(at.refuse("byFilter", "it is too long, or has a control character", remedy))
            }
            filter => Ok(filter.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::objects::read;

    fn trees(keys: &str) -> Result<Vec<provider::Tree>, Vec<String>> {
        let read = read(&format!("- {{{keys}}}"));
        read.map(|read| read.trees).map_err(|faults| faults.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_listing_is_of_the_secrets_that_a_filter_finds_in_a_project_or_a_region() {
        let trees = trees(
            "parent: projects/p1, byFilter: \"labels.team=shop AND name:db\", directory: a, mode: 0400",
        )
        .unwrap();

        assert_eq!(
            &*trees[0].request.text,
            r#"{"parent":"projects/p1","filter":"labels.team=shop AND name:db","most":100}"#
        );
        assert_eq!(trees[0].mode.map(|mode| mode.bits()), Some(0o400));
        assert!(
            self::trees("parent: projects/p1/locations/europe-west3/, byFilter: x, directory: a").is_ok()
        );
    }

    #[test]
    fn what_is_wrong_with_a_listing_is_told_by_its_key() {
        for (keys, key) in [
            ("parent: projects/p1, directory: a", "secrets[0].byFilter"),
            ("byFilter: x, directory: a", "secrets[0].parent"),
            ("parent: folders/1, byFilter: x, directory: a", "secrets[0].parent"),
            ("parent: projects/p1/secrets, byFilter: x, directory: a", "secrets[0].parent"),
            ("parent: projects/p1, byFilter: x", "secrets[0].directory"),
            ("parent: projects/p1, byFilter: x, directory: a, path: b", "secrets[0].path"),
            ("parent: projects/p1, byFilter: x, directory: a, maxFiles: 0", "secrets[0].maxFiles"),
            ("parent: projects/p1, byFilter: x, directory: a, default: b", "secrets[0].default"),
        ] {
            let told = trees(keys).unwrap_err();
            assert!(told[0].contains(key), "{keys}: {told:?}");
        }
    }
}
