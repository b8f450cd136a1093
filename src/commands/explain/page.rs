//! The pages of `explain`: one for each built-in provider, and one for what every class has.

use manifest::declaration::{
    ACCESS_RULE, CLASS, COMPOSED_FILE, OBJECT, PART, SECRET_DATA, SECRET_OBJECT, SETTINGS,
};
use manifest::objects::PARAMETER;
use provider::{Declaration, Holds, Key};
use serde::Serialize;

use crate::providers::DECLARATIONS;

/// The name of the page about every class.
pub(super) const CLASS_PAGE: &str = "class";

/// All keys of one provider, or of every class.
#[derive(Debug, Serialize)]
pub(super) struct Page {
    /// The names by which the user asks for it. The first is also the name of its file.
    pub(super) names: Vec<&'static str>,
    pub(super) title: &'static str,
    pub(super) about: &'static str,
    /// For providers: the greatest age of a reading, in seconds, for a class that does not set it.
    pub(super) default_refresh: Option<u64>,
    /// For providers: the keys of credentials that it reads.
    pub(super) credentials: &'static [&'static str],
    pub(super) sections: Vec<Section>,
}

/// The keys of one place, such as an object.
#[derive(Debug, Serialize)]
pub(super) struct Section {
    pub(super) title: &'static str,
    pub(super) keys: Vec<Entry>,
}

/// One key, in the words that are printed.
#[derive(Debug, Serialize)]
pub(super) struct Entry {
    /// The name by which the user asks for it, such as `vault.objects.secretPath`.
    pub(super) path: String,
    pub(super) key: &'static str,
    /// The type of its value, in words.
    pub(super) holds: String,
    pub(super) required: bool,
    pub(super) default: Option<&'static str>,
    /// The newer name of this key, if this is an older one.
    pub(super) older_than: Option<&'static str>,
    pub(super) meaning: &'static str,
    /// Key and value, as a class writes them.
    pub(super) example: String,
    #[serde(skip)]
    pub(super) summary: &'static str,
    /// Only the value of the example.
    #[serde(skip)]
    pub(super) value: &'static str,
}

/// All pages.
pub(super) fn all() -> Vec<Page> {
    DECLARATIONS.iter().map(|declaration| of_provider(declaration)).chain([of_class()]).collect()
}

impl Page {
    pub(super) fn name(&self) -> &'static str {
        self.names.first().copied().unwrap_or_default()
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.sections.iter().flat_map(|section| &section.keys)
    }
}

fn of_provider(declaration: &'static Declaration) -> Page {
    let label = declaration.label();
    let listing = format!("{label}.{}.", listing(declaration));
    let objects = declaration.object.iter().chain(OBJECT);
    let sections = [
        section("Parameters", &format!("{label}."), declaration.parameters),
        section("Annotations of the pod's service account", &format!("{label}."), declaration.annotations),
        section("Keys of an object", &listing, objects),
        section("Keys of a part, where jmesPath is a list", &format!("{listing}jmesPath."), PART),
    ];
    Page {
        names: declaration.names.to_vec(),
        title: declaration.title,
        about: declaration.about,
        default_refresh: Some(declaration.default_refresh.as_secs()),
        credentials: declaration.credentials,
        sections: sections.into_iter().filter(|section| !section.keys.is_empty()).collect(),
    }
}

/// The parameter that lists the objects of a class.
fn listing(declaration: &Declaration) -> &'static str {
    let lists = declaration.parameters.iter().find(|key| key.holds == Holds::Objects);
    lists.map_or(PARAMETER, |key| key.name)
}

fn of_class() -> Page {
    Page {
        names: vec![CLASS_PAGE],
        title: "a SecretProviderClass, whatever its provider",
        about: "The resource is that of the Secrets Store CSI driver, with additional settings that the other \
                driver ignores. Unknown settings are errors.",
        default_refresh: None,
        credentials: &[],
        sections: vec![
            section("Keys of the resource", "class.", CLASS),
            section("Settings, among the parameters", "", SETTINGS),
            section("Keys of a file of secretfs.dev/files", "secretfs.dev/files.", COMPOSED_FILE),
            section("Keys of a rule of secretfs.dev/access", "secretfs.dev/access.", ACCESS_RULE),
            section("Keys of one of spec.secretObjects", "class.spec.secretObjects.", SECRET_OBJECT),
            section("Keys of one of its data", "class.spec.secretObjects.data.", SECRET_DATA),
        ],
    }
}

fn section(title: &'static str, path: &str, keys: impl IntoIterator<Item = &'static Key>) -> Section {
    Section { title, keys: keys.into_iter().map(|key| entry(path, key)).collect() }
}

fn entry(path: &str, key: &'static Key) -> Entry {
    Entry {
        path: format!("{path}{}", key.name),
        key: key.name,
        holds: key.holds.words(),
        required: key.is_required,
        default: key.default,
        older_than: key.older_than,
        meaning: key.meaning,
        example: written(key),
        summary: key.summary(),
        value: key.example,
    }
}

/// The example as a class writes it: each step of a path on a line of its own.
fn written(key: &Key) -> String {
    // The dot in `secretfs.dev/` belongs to the key.
    let steps: Vec<_> = if key.name.contains('/') { vec![key.name] } else { key.name.split('.').collect() };
    let mut indent = String::new();
    let mut lines = String::new();
    for step in steps {
        lines += &format!("{}{indent}{step}:", if lines.is_empty() { "" } else { "\n" });
        indent += "  ";
    }
    match key.holds {
        Holds::Objects => {
            let text = key.example.lines().map(|line| format!("\n{indent}{line}"));
            lines + " |" + &text.collect::<String>()
        }
        _ => format!("{lines} {}", key.example),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_stands_as_in_a_class() {
        let written = |name, holds, example| written(&Key::new(name, holds, "", example));

        assert_eq!(written("secretfs.dev/start", Holds::Text, "cached"), "secretfs.dev/start: cached");
        assert_eq!(written("metadata.name", Holds::Text, "shop"), "metadata:\n  name: shop");
        assert_eq!(written("objects", Holds::Objects, "- {a: b}\n- {}"), "objects: |\n  - {a: b}\n  - {}");
    }

    #[test]
    fn no_two_keys_are_asked_for_by_one_path() {
        let pages = all();
        let mut paths: Vec<_> = pages.iter().flat_map(Page::entries).map(|entry| &entry.path).collect();
        let count = paths.len();
        paths.sort();
        paths.dedup();
        assert_eq!(paths.len(), count);
        assert!(count > 40, "{paths:?}");
    }
}
