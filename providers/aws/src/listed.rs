//! Objects of a class that are listings: parameters by path, secrets by tags or by the beginning of their names.

use manifest::Tags;
use manifest::fields::filled;
use manifest::objects::Position;
use provider::Invalid;
use serde::Deserialize;

use crate::call::Sought;
use crate::region::Service;

/// Longest path, as the Parameter Store has it.
const MAX_PATH: usize = 2048;
/// Longest name of a secret.
const MAX_PREFIX: usize = 512;

/// The keys of an object that make it a listing, as written.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListingKeys {
    by_path: Option<String>,
    by_tags: Option<String>,
    by_prefix: Option<String>,
    pub(crate) directory: Option<String>,
    max_files: Option<String>,
}

/// What a listing asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Listing {
    pub(crate) service: Service,
    /// The path of parameters; what the names of secrets begin with.
    pub(crate) id: String,
    pub(crate) tags: Tags,
    /// For messages.
    pub(crate) name: String,
}

impl Listing {
    /// The same for one region, of at most so many files.
    pub(crate) fn sought(&self, most: usize) -> Sought {
        Sought { tags: self.tags.clone(), most }
    }

    /// How many calls it takes at least: parameters come with their listing.
    pub(crate) fn least_calls(&self) -> usize {
        if self.service == Service::Ssm { 1 } else { 2 }
    }
}

impl ListingKeys {
    /// Whether any of them is there.
    pub(crate) fn is_any(&self) -> bool {
        let Self { by_path, by_tags, by_prefix, directory, max_files } = self;
        [by_path, by_tags, by_prefix, directory, max_files].into_iter().any(|text| filled(text).is_some())
    }

    /// `maxFiles`; 0 for what is no number.
    pub(crate) fn most(&self) -> Option<usize> {
        filled(&self.max_files).map(|text| text.parse().unwrap_or(0))
    }

    /// What they ask for.
    ///
    /// # Errors
    ///
    /// It is nothing, or two things.
    pub(crate) fn listing(&self, at: Position<'_>) -> Result<Listing, Invalid> {
        let (path, tags, prefix) = (filled(&self.by_path), filled(&self.by_tags), filled(&self.by_prefix));
        match (path, tags.or(prefix)) {
            (Some(path), None) => by_path(path).map_err(|reason| at.refuse("byPath", reason, PATH)),
            (None, Some(_)) => secrets(at, tags.unwrap_or_default(), prefix.unwrap_or_default()),
            (Some(_), Some(_)) => {
                let reason = "it lists parameters, and byTags and byPrefix list secrets";
                Err(at.refuse("byPath", reason, "make two objects of it"))
            }
            (None, None) => {
                let key = if self.directory.is_some() { "directory" } else { "maxFiles" };
                Err(at.refuse(key, "it is for a listing", "set byPath, byTags or byPrefix, or remove it"))
            }
        }
    }
}

const PATH: &str = "write a path of parameters, such as /shop/prod";

fn by_path(raw: &str) -> Result<Listing, &'static str> {
    let path = raw.trim_end_matches('/');
    let is_fit = |char: char| char.is_ascii_alphanumeric() || matches!(char, '_' | '.' | '-' | '/');
    if !path.starts_with('/') {
        return Err("it does not begin with a slash, or is all parameters");
    }
    if path.len() > MAX_PATH || path.contains("//") || !path.chars().all(is_fit) {
        return Err("the Parameter Store has no such path");
    }
    let (id, name) = (path.to_owned(), format!("{path}/*"));
    Ok(Listing { service: Service::Ssm, id, tags: Tags::default(), name })
}

fn secrets(at: Position<'_>, tags: &str, prefix: &str) -> Result<Listing, Invalid> {
    if prefix.len() > MAX_PREFIX || prefix.contains(char::is_control) {
        return Err(at.refuse("byPrefix", "no name of a secret begins so", "write it as shop/prod/"));
    }
    let tags = Tags::parse(tags)
        .map_err(|reason| at.refuse("byTags", reason, "write it as team=shop,stage=prod"))?;
    let told = tags.to_string();
    let name = match (prefix, told.as_str()) {
        (prefix, "") => format!("{prefix}*"),
        ("", tags) => format!("tags {tags}"),
        (prefix, tags) => format!("{prefix}* with tags {tags}"),
    };
    Ok(Listing { service: Service::SecretsManager, id: prefix.to_owned(), tags, name })
}

/// The path of a file below the directory of its listing. `None` if the store was not asked for it.
pub(crate) fn below(service: Service, listed: &str, name: &str) -> Option<String> {
    let rest = match service {
        Service::Ssm => name.strip_prefix(listed)?.strip_prefix('/')?,
        Service::SecretsManager | Service::Sts | Service::Kms => {
            let directory = listed.rfind('/').map_or("", |end| listed.get(..=end).unwrap_or_default());
            name.strip_prefix(listed).and_then(|_| name.strip_prefix(directory))?
        }
    };
    Some(rest.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_of_the_parameter_store() {
        for raw in ["/shop", "/shop/prod/", "/a.b_c-d/E"] {
            assert_eq!(by_path(raw).unwrap().id, raw.trim_end_matches('/'));
        }
        for raw in ["", "/", "shop", "/shop//db", "/shop/*", "/sh op", "/\n"] {
            assert!(by_path(raw).is_err(), "{raw:?}");
        }
    }

    #[test]
    fn a_file_is_called_by_what_is_below_the_listing() {
        let parameter = |name| below(Service::Ssm, "/shop/prod", name);
        assert_eq!(parameter("/shop/prod/db/user").as_deref(), Some("db/user"));
        assert_eq!(parameter("/shop/production"), None);
        assert_eq!(parameter("/shop/prod"), None);
        let secret = |listed, name| below(Service::SecretsManager, listed, name);
        assert_eq!(secret("shop/prod/", "shop/prod/db").as_deref(), Some("db"));
        assert_eq!(secret("shop/pr", "shop/prod/db").as_deref(), Some("prod/db"));
        assert_eq!(secret("", "shop/db").as_deref(), Some("shop/db"));
        assert_eq!(secret("shop/prod/", "shop/test/db"), None);
    }
}
