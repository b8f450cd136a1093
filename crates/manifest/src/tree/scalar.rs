use std::borrow::Cow;

use serde_yaml::granit_parser::{ScalarStyle, Tag};

#[derive(Debug, Clone)]
pub(crate) struct Scalar {
    pub(crate) text: String,
    pub(crate) kind: Kind,
    /// The line of the file on which the text's own first line stands, if each line of the text is a line of the file.
    pub(crate) block: Option<usize>,
}

/// The type that a Kubernetes API server gives a scalar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    Bool,
    Number,
    Text,
}

impl Scalar {
    pub(super) fn new(text: Cow<'_, str>, style: ScalarStyle, tag: Option<&Tag>, line: usize) -> Self {
        let plain = style == ScalarStyle::Plain && tag.is_none_or(|tag| tag.core_suffix() != Some("str"));
        let kind = if plain { kind(&text) } else { Kind::Text };
        // The span begins at the first line that is not blank, so the blank lines before it are subtracted.
        let blank = text.bytes().take_while(|byte| *byte == b'\n').count();
        let block = (style == ScalarStyle::Literal).then(|| line.saturating_sub(blank).max(1));
        Self { text: text.into_owned(), kind, block }
    }
}

/// The kind by YAML 1.1, as `kubectl` and API servers read it, and by YAML 1.2 for forms that only 1.2 has.
fn kind(text: &str) -> Kind {
    const BOOLEANS: [&str; 8] = ["y", "yes", "n", "no", "on", "off", "true", "false"];
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Kind::Null,
        ".inf" | "-.inf" | "+.inf" | ".nan" => Kind::Number,
        word if BOOLEANS.iter().any(|known| known.eq_ignore_ascii_case(word)) => Kind::Bool,
        word if is_number(word) => Kind::Number,
        _ => Kind::Text,
    }
}

fn is_number(word: &str) -> bool {
    let digits = word.replace('_', "");
    let unsigned = digits.strip_prefix(['-', '+']).unwrap_or(&digits);
    let radix = |prefix, radix| {
        let rest: Option<&str> = unsigned.strip_prefix(prefix);
        rest.is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_digit(radix)))
    };
    let decimal = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && unsigned.contains(|c: char| c.is_ascii_digit())
        && unsigned.parse::<f64>().is_ok();
    decimal || radix("0x", 16) || radix("0o", 8) || radix("0b", 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_are_what_an_api_server_takes_them_for() {
        for (text, expected) in [
            ("yes", Kind::Bool),
            ("Off", Kind::Bool),
            ("0400", Kind::Number),
            ("1_000", Kind::Number),
            ("1.5e3", Kind::Number),
            ("0x1F", Kind::Number),
            ("~", Kind::Null),
            ("30s", Kind::Text),
            ("inf", Kind::Text),
            ("1.2.3", Kind::Text),
            ("https://vault:8200", Kind::Text),
        ] {
            assert_eq!(kind(text), expected, "{text}");
        }
    }
}
