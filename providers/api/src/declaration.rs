//! What a provider says of itself, once: its names, what holds where a class says nothing, and every key that a class
//! may write for it. Parsers take the keys that they know from here; `secretfs check`, `secretfs explain`, the
//! reference pages, the schema for editors and the labels of metrics are made of it.

use std::time::Duration;

/// A kind of store, as people meet it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Declaration {
    /// The names that a class may give in `spec.provider`. The first one is used in metrics and for reference pages.
    pub names: &'static [&'static str],
    /// The store's name for people, such as `HashiCorp Vault and OpenBao`.
    pub title: &'static str,
    /// Whose rights count at the store, and what becomes of keys that nobody knows: a few sentences.
    pub about: &'static str,
    /// How old a reading may grow where the class does not say.
    pub default_refresh: Duration,
    /// The keys of the credentials that some class makes this provider look at.
    pub credentials: &'static [&'static str],
    /// The annotations of a pod's service account that it looks at where the class does not say whom to read as.
    pub annotations: &'static [Key],
    /// The parameters of a class that this provider reads. A key that begins with `secretfs.dev/` is among them
    /// where the provider reads it as well.
    pub parameters: &'static [Key],
    /// The keys of one object that are this provider's own: every provider's objects have more.
    pub object: &'static [Key],
}

impl Declaration {
    /// What metrics and reference pages call it.
    pub fn label(&self) -> &'static str {
        self.names.first().copied().unwrap_or_default()
    }

    /// Whether a class may call it `name`.
    pub fn is_called(&self, name: &str) -> bool {
        self.names.contains(&name)
    }

    /// The parameter `name`, if there is one.
    pub fn parameter(&self, name: &str) -> Option<&'static Key> {
        self.parameters.iter().find(|key| key.name == name)
    }
}

/// The names, the credentials and the refresh of a [`Provider`](crate::Provider) that has a declaration, for its `impl`.
#[macro_export]
macro_rules! as_declared {
    ($declaration:expr) => {
        fn names(&self) -> &'static [&'static str] {
            $declaration.names
        }

        fn credential_keys(&self) -> ::std::option::Option<&'static [&'static str]> {
            ::std::option::Option::Some($declaration.credentials)
        }

        fn default_refresh(&self) -> ::std::time::Duration {
            $declaration.default_refresh
        }
    };
}

/// A key that somebody may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// As it is written.
    pub name: &'static str,
    /// What may stand there.
    pub holds: Holds,
    /// Whether it has to be there.
    pub is_required: bool,
    /// What holds where it is absent, in a few words; `None` where that needs no word.
    pub default: Option<&'static str>,
    /// The key whose older name this is, if it is one.
    pub older_than: Option<&'static str>,
    /// What it does. The first sentence stands alone in lists, and none has a line break.
    pub meaning: &'static str,
    /// A value as YAML has it behind the colon; of [`Holds::Objects`] the lines of the text.
    pub example: &'static str,
}

impl Key {
    /// A key that may be left out.
    pub const fn new(name: &'static str, holds: Holds, meaning: &'static str, example: &'static str) -> Self {
        Self { name, holds, is_required: false, default: None, older_than: None, meaning, example }
    }

    /// The same key; it has to be there.
    #[must_use]
    pub const fn required(self) -> Self {
        Self { is_required: true, ..self }
    }

    /// The same key, with what holds where it is absent.
    #[must_use]
    pub const fn or(self, default: &'static str) -> Self {
        Self { default: Some(default), ..self }
    }

    /// The same key as the older name of `newer`.
    #[must_use]
    pub const fn older_than(self, newer: &'static str) -> Self {
        Self { older_than: Some(newer), ..self }
    }

    /// The first sentence of its meaning, without its full stop.
    pub fn summary(&self) -> &'static str {
        let first = self.meaning.split_once(". ").map_or(self.meaning, |(first, _)| first);
        first.strip_suffix('.').unwrap_or(first)
    }
}

/// What may stand behind a key. In an object an empty value is as good as none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// Text. In an object a number is taken for its digits.
    Text,
    /// Text, and no number or boolean in its place.
    TextOnly,
    /// The same, or a list of maps in its place.
    TextOrList,
    /// `true` or `false`.
    Boolean,
    /// A whole number.
    Number,
    /// A file mode.
    Mode,
    /// A map.
    Map,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A text of one form.
    Form {
        /// The form, as a regular expression that ECMAScript, RE2 and Rust understand alike.
        pattern: &'static str,
        /// The form in words, such as `a duration such as "30s"`.
        words: &'static str,
    },
    /// The path of a file of certificate authorities, or of a directory of such files. Nothing in it is secret.
    Authorities,
    /// The path of a client certificate, or of its key.
    ClientFile,
    /// A list of maps.
    List,
    /// A text in YAML: a list of maps.
    Objects,
}

impl Holds {
    /// What is expected, for messages and for pages.
    pub fn words(self) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::TextOnly => "text, in quotes where it looks like something else".to_owned(),
            Self::TextOrList => "text, in quotes where it looks like something else, or a list".to_owned(),
            Self::Boolean => "true or false, without quotes".to_owned(),
            Self::Number => "a whole number".to_owned(),
            Self::Mode => "a file mode as an unquoted number between 0000 and 0777, such as 0400".to_owned(),
            Self::Map => "a map".to_owned(),
            Self::Choice(choices) => choices.join(" or "),
            Self::Form { words, .. } => words.to_owned(),
            Self::Authorities => "a path below --tls-dir".to_owned(),
            Self::ClientFile => "a path below --tls-dir/NAMESPACE".to_owned(),
            Self::List => "a list of maps".to_owned(),
            Self::Objects => "a text in YAML that lists maps".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = Key::new("zone", Holds::Choice(&["eu", "us"]), "Where it is. Ask the owner.", "eu");

    #[test]
    fn a_list_shows_the_first_sentence_of_what_a_key_means() {
        assert_eq!(KEY.summary(), "Where it is");
        assert_eq!(Key { meaning: "Version 1.2 or later.", ..KEY }.summary(), "Version 1.2 or later");
    }

    #[test]
    fn a_choice_is_told_by_its_words() {
        assert_eq!(KEY.holds.words(), "eu or us");
    }

    #[test]
    fn a_store_is_known_by_each_of_its_names_and_labelled_by_the_first() {
        let shop = Declaration {
            names: &["shop", "store"],
            title: "",
            about: "",
            default_refresh: Duration::ZERO,
            credentials: &[],
            annotations: &[],
            parameters: &[KEY],
            object: &[],
        };

        assert!(shop.is_called("store") && !shop.is_called("sto"));
        assert_eq!(shop.label(), "shop");
        assert_eq!(shop.parameter("zone"), Some(&KEY));
        assert_eq!(shop.parameter("zon"), None);
    }
}
