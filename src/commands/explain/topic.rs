//! Finds the page or key that the user asks for, by any of its names.

use std::ffi::OsStr;

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};

use super::page::{self, Entry, Page};

/// A page or a key.
#[derive(Debug)]
pub(super) enum Topic<'a> {
    Page(&'a Page),
    Entry(&'a Entry),
}

/// Finds what `asked` names.
///
/// # Errors
///
/// No page or key has this name. The message suggests similar names, and never repeats `asked`.
pub(super) fn find<'a>(pages: &'a [Page], asked: &str) -> Result<Topic<'a>, String> {
    if let Some(page) = pages.iter().find(|page| page.names.contains(&asked)) {
        return Ok(Topic::Page(page));
    }
    let mut all = pages.iter().flat_map(|page| page.entries().map(move |entry| (page, entry)));
    let named = all.find(|(page, entry)| names(page, entry).any(|name| name == asked));
    named.map(|(_, entry)| Topic::Entry(entry)).ok_or_else(|| remedy(pages, asked))
}

/// The names of a key: its path, its path with the other names of the provider, and the same without `objects`.
fn names<'a>(page: &'a Page, entry: &'a Entry) -> impl Iterator<Item = String> + 'a {
    let beside = entry.path.strip_prefix(page.name()).filter(|rest| rest.starts_with('.'));
    let same = page.names.iter().filter_map(move |name| Some(format!("{name}{}", beside?)));
    let shorter = page.names.iter().map(|name| format!("{name}.{}", entry.key));
    same.chain(shorter).chain([entry.path.clone()])
}

fn remedy(pages: &[Page], asked: &str) -> String {
    let (topics, of_that_name) = (topics(pages), format!(".{asked}"));
    let of_keys = pages.iter().flat_map(|page| page.entries().flat_map(move |entry| names(page, entry)));
    let all: Vec<_> = topics.iter().cloned().chain(of_keys).collect();
    let beside = topics.iter().find(|topic| topic.ends_with(&of_that_name)).map(String::as_str);
    match beside.or_else(|| manifest::nearest(asked, all.iter().map(String::as_str))) {
        Some(meant) => format!("there is no such provider or key; did you mean {meant}?"),
        None => {
            let names: Vec<_> = pages.iter().flat_map(|page| page.names.iter().copied()).collect();
            format!("there is no such provider or key; there are {}", names.join(", "))
        }
    }
}

/// All names that the user can ask for, except the shorter names of keys.
fn topics(pages: &[Page]) -> Vec<String> {
    let names = pages.iter().flat_map(|page| page.names.iter().map(|name| (*name).to_owned()));
    let keys = pages.iter().flat_map(|page| page.entries().map(|entry| entry.path.clone()));
    names.chain(keys).collect()
}

/// Parses any text, and tells shells which names they can complete.
#[derive(Debug, Clone)]
pub(super) struct Topics;

impl TypedValueParser for Topics {
    type Value = String;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<String, clap::Error> {
        StringValueParser::new().parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(topics(&page::all()).into_iter().map(PossibleValue::new)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::explain::page::CLASS_PAGE;

    fn path(asked: &str) -> Result<String, String> {
        let pages = page::all();
        find(&pages, asked).map(|topic| match topic {
            Topic::Page(page) => page.name().to_owned(),
            Topic::Entry(entry) => entry.path.clone(),
        })
    }

    #[test]
    fn a_class_and_its_settings_are_found_by_their_names() {
        assert_eq!(path(CLASS_PAGE).unwrap(), "class");
        assert_eq!(path("secretfs.dev/refresh").unwrap(), "secretfs.dev/refresh");
        assert_eq!(path("class.secretfs.dev/refresh").unwrap(), "secretfs.dev/refresh");
        assert_eq!(path("secretfs.dev/files.format").unwrap(), "secretfs.dev/files.format");
        assert_eq!(path("class.spec.provider").unwrap(), "class.spec.provider");
        assert_eq!(path("class.spec.secretObjects.data.key").unwrap(), "class.spec.secretObjects.data.key");
    }

    #[cfg(feature = "vault")]
    #[test]
    fn a_key_is_found_by_each_name_of_its_provider_and_without_objects() {
        for asked in ["vault.objects.secretPath", "openbao.objects.secretPath", "vault.secretPath"] {
            assert_eq!(path(asked).unwrap(), "vault.objects.secretPath", "{asked}");
        }
        assert_eq!(path("openbao").unwrap(), "vault");
        assert_eq!(path("vault.optional").unwrap(), "vault.objects.optional");
    }

    #[cfg(feature = "vault")]
    #[test]
    fn what_is_mistyped_is_told_by_what_was_meant_and_not_repeated() {
        for (asked, meant) in [
            ("vualt", "vault"),
            ("vault.rolName", "vault.roleName"),
            ("roleName", "vault.roleName"),
            ("secretfs.dev/refesh", "secretfs.dev/refresh"),
        ] {
            let told = path(asked).unwrap_err();
            assert!(told.ends_with(&format!("did you mean {meant}?")), "{told}");
        }
        let told = path("hunter2Zq7hunter2").unwrap_err();
        assert!(told.contains("vault, openbao") && !told.contains("Zq7"), "{told}");
    }
}
