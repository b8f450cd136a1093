//! A text with places for values: `{{ KEY }}`, `{{ KEY | json }}`, `{% if KEY %}…{% else %}…{% endif %}`, `{# … #}`.
//!
//! This is a small part of Jinja, written here because a stranger may be the author of a class. Real Jinja, and each
//! similar library that was tried, lets a template of a few lines make gigabytes or run for hours (`a ~ a`, lists of
//! lists, nested loops), and the limits of these libraries do not prevent it. Here nothing repeats: a file is as long
//! as the template's own text plus what its places show.

mod filter;
mod parse;

use std::collections::BTreeMap;

use provider::SecretBytes;
use zeroize::Zeroizing;

use self::filter::Filter;
use super::{Values, page};

/// The longest file that a template may make, in bytes.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// A text with places for values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Place { key: String, filters: Vec<Filter> },
    If(Condition),
}

/// A condition on one key, with the parts for each of its two outcomes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Condition {
    key: String,
    /// Shown if the value exists and is not empty.
    present: Vec<Part>,
    /// Shown if the value is missing or empty.
    absent: Vec<Part>,
}

/// An error in the text of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The line, from 1.
    pub(crate) line: usize,
    pub(crate) reason: String,
}

/// Why no file can be made: the key of the value that the file cannot hold, and a description of that value. The key is
/// `None` if the whole file is too long.
pub(super) type Unfit<'a> = (Option<&'a str>, &'static str);

enum Piece<'a> {
    Plain(&'a str),
    Made(Zeroizing<String>),
}

impl Piece<'_> {
    fn as_str(&self) -> &str {
        match self {
            Self::Plain(text) => text,
            Self::Made(text) => text,
        }
    }
}

/// The output that is written so far.
#[derive(Default)]
struct Pieces<'a> {
    pieces: Vec<Piece<'a>>,
    bytes: usize,
}

impl<'a> Pieces<'a> {
    fn push(&mut self, piece: Piece<'a>) -> Result<(), Unfit<'a>> {
        self.bytes = self.bytes.saturating_add(piece.as_str().len());
        if self.bytes > MOST_BYTES {
            return Err((None, "longer than 4 MiB"));
        }
        self.pieces.push(piece);
        Ok(())
    }
}

impl Template {
    /// Parses `text`.
    ///
    /// # Errors
    ///
    /// The first error in `text`.
    pub(crate) fn parse(text: &str) -> Result<Self, Fault> {
        parse::parse(text).map(Self)
    }

    /// Makes the file, with `values` in their places. A place without a value stays empty.
    pub(super) fn fill<'a>(&'a self, values: Values<'a>) -> Result<SecretBytes, Unfit<'a>> {
        let mut pieces = Pieces::default();
        let values = values.iter().copied().collect();
        fill(&self.0, &values, &mut pieces)?;
        Ok(page(|put| pieces.pieces.iter().for_each(|piece| put(piece.as_str()))))
    }

    /// Every key that the template uses.
    pub(crate) fn keys(&self) -> Vec<&str> {
        let mut keys = Vec::new();
        visit(&self.0, &mut Vec::new(), &mut |key, _| keys.push(key));
        keys
    }

    /// The keys that the template shows without a condition that checks whether the value exists.
    pub(super) fn unguarded(&self) -> Vec<&str> {
        let mut keys = Vec::new();
        visit(&self.0, &mut Vec::new(), &mut |key, is_guarded| {
            if !is_guarded {
                keys.push(key);
            }
        });
        keys
    }
}

fn fill<'a>(
    parts: &'a [Part],
    values: &BTreeMap<&str, &'a str>,
    pieces: &mut Pieces<'a>,
) -> Result<(), Unfit<'a>> {
    let value = |key: &str| values.get(key).copied().unwrap_or_default();
    for part in parts {
        match part {
            Part::Text(text) => pieces.push(Piece::Plain(text))?,
            Part::Place { key, filters } => pieces.push(shown(key, value(key), filters)?)?,
            Part::If(condition) if value(&condition.key).is_empty() => {
                fill(&condition.absent, values, pieces)?
            }
            Part::If(condition) => fill(&condition.present, values, pieces)?,
        }
    }
    Ok(())
}

/// The text of `value` after its filters.
fn shown<'a>(key: &'a str, value: &'a str, filters: &[Filter]) -> Result<Piece<'a>, Unfit<'a>> {
    let mut shown = Piece::Plain(value);
    for filter in filters {
        shown = Piece::Made(filter.apply(shown.as_str(), MOST_BYTES).map_err(|what| (Some(key), what))?);
    }
    Ok(shown)
}

/// Calls `each` with every key in `parts`, and with true if a condition on this key surrounds the place. A condition
/// itself counts as such a place, because it asks for its key without showing it.
fn visit<'a>(parts: &'a [Part], guards: &mut Vec<&'a str>, each: &mut dyn FnMut(&'a str, bool)) {
    for part in parts {
        match part {
            Part::Text(_) => {}
            Part::Place { key, .. } => each(key, guards.contains(&key.as_str())),
            Part::If(Condition { key, present, absent }) => {
                each(key, true);
                guards.push(key);
                visit(present, guards, each);
                guards.pop();
                visit(absent, guards, each);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(template: &str, values: Values<'_>) -> String {
        let template = Template::parse(template).unwrap();
        let file = template.fill(values).unwrap();
        file.expose_str().unwrap().to_owned()
    }

    #[test]
    fn values_stand_in_their_places_as_they_are_or_escaped() {
        let values = [("USER", "o'hara"), ("PASS", "a\"b")];

        let written =
            filled("user = {{ USER }}\npass = {{PASS|json}}\ncmd = {{ USER | trim | shell }}\n", &values);

        assert_eq!(written, "user = o'hara\npass = \"a\\\"b\"\ncmd = 'o'\\''hara'\n");
    }

    #[test]
    fn a_condition_asks_whether_a_value_is_there_and_takes_its_own_line_with_it() {
        let template = "a\n  {% if TOKEN %}\ntoken={{ TOKEN }}\n{% else %}\nanonymous\n{% endif %}\nz{% if not TOKEN %}!{% endif %}\n";

        assert_eq!(filled(template, &[("TOKEN", "t")]), "a\ntoken=t\nz\n");
        assert_eq!(filled(template, &[("TOKEN", "")]), "a\nanonymous\nz!\n");
        assert_eq!(filled(template, &[]), "a\nanonymous\nz!\n");
    }

    #[test]
    fn a_value_is_never_taken_for_a_template() {
        let written = filled("{{ A }}{{ B }}", &[("A", "{{ B }}{% if"), ("B", "b")]);

        assert_eq!(written, "{{ B }}{% ifb");
    }

    #[test]
    fn comments_vanish_and_a_literal_writes_braces() {
        assert_eq!(filled("{# for the app #}\na {{ \"{{ x }\" }} b }} {\n", &[]), "a {{ x } b }} {\n");
    }

    #[test]
    fn marks_inside_a_comment_begin_nothing() {
        assert_eq!(filled("a\n{# {{ A }} #}\nb{# {{ #}\n", &[]), "a\nb\n");
    }

    #[test]
    fn a_key_is_guarded_by_its_own_condition_only() {
        let template = "{{ A }}{% if B %}{{ B }}{{ C }}{% else %}{{ D }}{% endif %}{% if not E %}x{% else %}{{ E }}{% endif %}";
        let template = Template::parse(template).unwrap();

        assert_eq!(template.unguarded(), ["A", "C", "D"]);
        let mut keys = template.keys();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys, ["A", "B", "C", "D", "E"]);
    }

    #[test]
    fn a_template_of_a_stranger_cannot_make_a_file_of_any_length() {
        let long = "x".repeat(600 * 1024);
        for text in ["{{ A }}".repeat(20_000), "{{ A | json | json | json }}".repeat(1_000)] {
            let template = Template::parse(&text).unwrap();

            let values = [("A", long.as_str())];
            let refused = template.fill(&values).err();

            assert_eq!(refused, Some((None, "longer than 4 MiB")));
        }
        let quotes = "\"".repeat(2 * 1024 * 1024);
        let template = Template::parse("{{ A | json | json | json }}").unwrap();
        let values = [("A", quotes.as_str())];
        assert_eq!(template.fill(&values).err(), Some((Some("A"), "longer than 4 MiB")));
    }
}
