use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::compose::escape::{self, Put};

/// A filter that changes a value before it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filter {
    Json,
    Yaml,
    Properties,
    Shell,
    Xml,
    Url,
    Base64,
    Trim,
}

/// The names of the filters in templates.
const NAMES: &[(&str, Filter)] = &[
    ("json", Filter::Json),
    ("yaml", Filter::Yaml),
    ("properties", Filter::Properties),
    ("shell", Filter::Shell),
    ("xml", Filter::Xml),
    ("url", Filter::Url),
    ("base64", Filter::Base64),
    ("trim", Filter::Trim),
];

impl Filter {
    pub(super) fn named(name: &str) -> Option<Self> {
        NAMES.iter().find(|(own, _)| *own == name).map(|(_, filter)| *filter)
    }

    pub(super) fn names() -> impl Iterator<Item = &'static str> + Clone {
        NAMES.iter().map(|(name, _)| *name)
    }

    /// Applies the filter to `text`. The result has at most `most` bytes.
    ///
    /// # Errors
    ///
    /// What kind of text it is that the filter cannot write.
    pub(super) fn apply(self, text: &str, most: usize) -> Result<Zeroizing<String>, &'static str> {
        // XML 1.0 §2.2: no document may hold these characters, not even escaped.
        let is_unwritable =
            |c: char| (c < ' ' && !matches!(c, '\t' | '\n' | '\r')) || matches!(c, '\u{fffe}' | '\u{ffff}');
        if self == Self::Xml && text.contains(is_unwritable) {
            return Err("text with a control character, which XML has no form for");
        }
        let mut bytes = 0_usize;
        self.write(text, &mut |piece| bytes = bytes.saturating_add(piece.len()));
        if bytes > most {
            return Err("longer than 4 MiB");
        }
        let mut made = Zeroizing::new(String::with_capacity(bytes));
        self.write(text, &mut |piece| made.push_str(piece));
        Ok(made)
    }

    fn write(self, text: &str, put: Put<'_>) {
        match self {
            Self::Json => in_quotes(text, put, escape::json),
            Self::Yaml => in_quotes(text, put, escape::yaml),
            Self::Properties => escape::property(text, put),
            Self::Shell => escape::shell(text, put),
            Self::Xml => escape::xml(text, put),
            Self::Url => escape::url(text, put),
            Self::Base64 => put(&Zeroizing::new(STANDARD.encode(text))),
            Self::Trim => put(text.trim()),
        }
    }
}

fn in_quotes(text: &str, put: Put<'_>, escape: fn(&str, Put<'_>)) {
    put("\"");
    escape(text, put);
    put("\"");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_filter_writes_for_its_readers() {
        for (name, expected) in [
            ("json", "\" a'&\\\"\\n\""),
            ("yaml", "\" a'&\\\"\\n\""),
            ("properties", "\\ a'&\"\\n"),
            ("shell", "' a'\\''&\"\n'"),
            ("xml", " a&apos;&amp;&quot;&#10;"),
            ("url", "%20a%27%26%22%0A"),
            ("base64", "IGEnJiIK"),
            ("trim", "a'&\""),
        ] {
            let made = Filter::named(name).unwrap().apply(" a'&\"\n", 100).unwrap();
            assert_eq!(made.as_str(), expected, "{name}");
        }
        assert_eq!(Filter::named("upper"), None);
    }

    #[test]
    fn what_xml_cannot_hold_is_refused() {
        assert!(Filter::Xml.apply("a\u{1}", 100).is_err());
    }
}
