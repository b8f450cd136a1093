//! Parses the text of a template.

use super::{Condition, Fault, Filter, Part};
use crate::text::{nearest, shorten};

/// How deep conditions may be nested.
const MOST_DEPTH: usize = 16;
/// Most filters behind one key.
const MOST_FILTERS: usize = 3;

pub(super) fn parse(text: &str) -> Result<Vec<Part>, Fault> {
    let mut reader = Reader { text, at: 0, mark: 0, depth: 0 };
    let (parts, end) = reader.parts()?;
    match end {
        None => Ok(parts),
        Some(tag) => Err(reader.fault(&format!("there is {{% {tag} %}} without an {{% if … %}} before it"))),
    }
}

/// Reads parts from a position on.
struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// The position of the last mark, at which errors are reported.
    mark: usize,
    depth: usize,
}

/// The marks that begin something, each with the mark that ends it.
const MARKS: [(&str, &str); 3] = [("{{", "}}"), ("{%", "%}"), ("{#", "#}")];

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn skip(&mut self, bytes: usize) {
        self.at = self.at.saturating_add(bytes);
    }

    fn fault(&self, reason: &str) -> Fault {
        self.fault_at(self.mark, reason)
    }

    fn fault_at(&self, mark: usize, reason: &str) -> Fault {
        let read = self.text.get(..mark).unwrap_or_default();
        Fault { line: read.matches('\n').count().saturating_add(1), reason: shorten(reason) }
    }

    /// The next opening mark, and its distance. Each character is looked at only once, because a stranger writes the
    /// text.
    fn opening(&self) -> Option<(usize, (&'static str, &'static str))> {
        let rest = self.rest();
        let marks = |at| {
            MARKS.into_iter().find(|(open, _)| rest.get(at..).is_some_and(|rest| rest.starts_with(open)))
        };
        rest.match_indices('{').find_map(|(at, _)| Some((at, marks(at)?)))
    }

    /// The parts up to the end of the text or up to a tag that ends them. Returns that tag too.
    fn parts(&mut self) -> Result<(Vec<Part>, Option<&'a str>), Fault> {
        let mut parts = Vec::new();
        loop {
            let Some((before, (open, close))) = self.opening() else {
                push(&mut parts, self.rest());
                self.at = self.text.len();
                return Ok((parts, None));
            };
            let plain = self.rest().get(..before).unwrap_or_default();
            self.skip(before);
            self.mark = self.at;
            let inside = self.inside(open, close)?;
            let plain = if open == "{{" { plain } else { self.without_own_line(plain) };
            push(&mut parts, plain);
            match open {
                "{{" => parts.push(self.place(inside)?),
                "{%" => match inside.split_whitespace().collect::<Vec<_>>().as_slice() {
                    ["if", key] => parts.push(self.condition(key, false)?),
                    ["if", "not", key] => parts.push(self.condition(key, true)?),
                    ["else" | "endif"] => return Ok((parts, Some(inside))),
                    _ => return Err(self.unknown_tag(inside)),
                },
                _ => {}
            }
        }
    }

    fn unknown_tag(&self, tag: &str) -> Fault {
        let known = "write {% if KEY %}, {% if not KEY %}, {% else %} or {% endif %}";
        self.fault(&format!("{{% {tag} %}} is not known here; {known}"))
    }

    /// The text between `open` and `close`. Moves behind both.
    fn inside(&mut self, open: &str, close: &str) -> Result<&'a str, Fault> {
        let rest = self.rest().get(open.len()..).unwrap_or_default();
        let end = rest.find(close).ok_or_else(|| self.fault(&format!("{open} has no {close} after it")))?;
        self.skip(open.len().saturating_add(end).saturating_add(close.len()));
        Ok(rest.get(..end).unwrap_or_default().trim())
    }

    /// `plain` is the text before the tag that was just read. If the tag stands alone on its line, the line is removed.
    fn without_own_line(&mut self, plain: &'a str) -> &'a str {
        let begin = plain.rfind('\n').map_or(0, |at| at.saturating_add(1));
        let (kept, indent) = plain.split_at(begin);
        let blank = |c: char| c == ' ' || c == '\t';
        let after = self.rest().trim_start_matches(blank);
        let ends_line = after.starts_with('\n') || after.is_empty();
        let is_first = begin > 0 || self.is_at_line_start(plain);
        if !(is_first && ends_line && indent.chars().all(blank)) {
            return plain;
        }
        self.at = self.text.len().saturating_sub(after.strip_prefix('\n').unwrap_or(after).len());
        kept
    }

    /// Whether `plain` begins at the start of a line. `plain` ends where the tag that was just read begins.
    fn is_at_line_start(&self, plain: &str) -> bool {
        let before = self.text.get(..self.mark.saturating_sub(plain.len())).unwrap_or_default();
        before.is_empty() || before.ends_with('\n')
    }

    fn place(&self, inside: &str) -> Result<Part, Fault> {
        if let Some(literal) = inside.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            return Ok(Part::Text(literal.to_owned()));
        }
        let mut words = inside.split('|').map(str::trim);
        let key = self.key(words.next().unwrap_or_default())?;
        let filters = words.map(|name| self.filter(name)).collect::<Result<Vec<_>, _>>()?;
        if filters.len() > MOST_FILTERS {
            return Err(self.fault(&format!("{key} has more than {MOST_FILTERS} filters")));
        }
        Ok(Part::Place { key, filters })
    }

    fn filter(&self, name: &str) -> Result<Filter, Fault> {
        Filter::named(name).ok_or_else(|| {
            let all = || Filter::names().collect::<Vec<_>>().join(", ");
            let remedy = nearest(name, Filter::names())
                .map_or_else(|| format!("there are {}", all()), |meant| format!("did you mean {meant:?}?"));
            self.fault(&format!("there is no filter {name:?}; {remedy}"))
        })
    }

    fn key(&self, word: &str) -> Result<String, Fault> {
        if super::super::is_variable(word) {
            return Ok(word.to_owned());
        }
        let remedy = "write a key of `from`: letters, digits and _, not beginning with a digit";
        Err(self.fault(&format!("{word:?} is no key; {remedy}")))
    }

    /// Reads what follows `{% if … %}`, up to its `{% endif %}`.
    fn condition(&mut self, key: &str, is_negated: bool) -> Result<Part, Fault> {
        let (key, begun) = (self.key(key)?, self.mark);
        let unended = |reader: &Self| reader.fault_at(begun, "{% if … %} has no {% endif %}");
        self.depth = self.depth.saturating_add(1);
        if self.depth > MOST_DEPTH {
            return Err(self.fault(&format!("there are more than {MOST_DEPTH} conditions in each other")));
        }
        let (first, end) = self.parts()?;
        let second = match end {
            Some("else") => {
                let (second, end) = self.parts()?;
                if end == Some("else") {
                    return Err(self.fault("{% else %} is there twice"));
                }
                end.ok_or_else(|| unended(self))?;
                second
            }
            end => {
                end.ok_or_else(|| unended(self))?;
                Vec::new()
            }
        };
        self.depth = self.depth.saturating_sub(1);
        let (present, absent) = if is_negated { (second, first) } else { (first, second) };
        Ok(Part::If(Condition { key, present, absent }))
    }
}

fn push(parts: &mut Vec<Part>, text: &str) {
    if !text.is_empty() {
        parts.push(Part::Text(text.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, line, reason) in [
            ("a\n{{ A", 2, "{{ has no }} after it"),
            ("{% if A %}\n", 1, "has no {% endif %}"),
            ("{% if A %}{% else %}\n", 1, "has no {% endif %}"),
            ("{% endif %}", 1, "without an {% if … %}"),
            ("{% if A %}{% else %}{% else %}{% endif %}", 1, "is there twice"),
            ("\n\n{% for x in A %}", 3, "{% for x in A %} is not known here; write {% if KEY %}"),
            ("{{ A.b }}", 1, "\"A.b\" is no key; write a key of `from`"),
            ("{{ A ~ A }}", 1, "\"A ~ A\" is no key"),
            ("{{ A | jsn }}", 1, "there is no filter \"jsn\"; did you mean \"json\"?"),
            ("{{ A | sha256sum }}", 1, "there are json, yaml"),
            ("{{ A | json | json | json | json }}", 1, "more than 3 filters"),
        ] {
            let fault = parse(text).unwrap_err();
            assert!(fault.line == line && fault.reason.contains(reason), "{text}: {fault:?}");
        }
        let deep = "{% if A %}".repeat(10_000);
        assert!(parse(&deep).unwrap_err().reason.contains("more than 16 conditions"));
    }

    proptest! {
        #[test]
        fn a_text_without_marks_is_itself(text in r"[^{]{0,80}") {
            let parts = parse(&text).unwrap();
            let expected = if text.is_empty() { Vec::new() } else { vec![Part::Text(text)] };
            prop_assert_eq!(parts, expected);
        }

        #[test]
        fn no_text_of_a_stranger_ends_the_parser(text in r"(\{\{|\}\}|\{%|%\}|\{#|#\}| if A |else|endif|A|\||json|\n| |é){0,40}") {
            drop(parse(&text));
        }
    }
}
