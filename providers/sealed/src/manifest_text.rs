//! Finds sealed texts in a manifest as it is written, so that one is replaced and everything around it stays.

use std::ops::Range;

use crate::text::{FIRST, LAST, SealedText};

/// A sealed text in a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Which bytes of the manifest it is.
    pub range: Range<usize>,
    /// What it says.
    pub text: SealedText,
    /// What stands before each of its lines but the first; None if it stands on one line.
    indent: Option<String>,
}

impl Span {
    /// `text` as it is written in the place of this one.
    pub fn written(&self, text: &SealedText) -> String {
        match &self.indent {
            Some(indent) => text.lines().join(&format!("\n{indent}")),
            None => text.lines().join(" "),
        }
    }
}

/// The sealed texts of `manifest`, in their order. What only begins as one is left out.
pub fn spans(manifest: &str) -> Vec<Span> {
    let (mut found, mut from) = (Vec::new(), 0);
    while let Some(start) = next(manifest, FIRST, from) {
        from = start + FIRST.len();
        let Some(end) = next(manifest, LAST, from).map(|at| at + LAST.len()) else { break };
        let Some(written) = manifest.get(start..end) else { break };
        if let Ok(text) = SealedText::parse(written) {
            found.push(Span { range: start..end, text, indent: indent(written) });
            from = end;
        }
    }
    found
}

/// Where `word` stands next, with no letter or digit beside it.
fn next(manifest: &str, word: &str, from: usize) -> Option<usize> {
    let beside = |c: Option<char>| c.is_none_or(|c| c.is_whitespace() || c == '"' || c == '\'');
    let rest = manifest.get(from..)?;
    rest.match_indices(word).map(|(at, _)| from + at).find(|at| {
        let before = manifest.get(..*at).and_then(|text| text.chars().next_back());
        let after = manifest.get(at + word.len()..).and_then(|text| text.chars().next());
        beside(before) && beside(after)
    })
}

fn indent(written: &str) -> Option<String> {
    let (_, below) = written.split_once('\n')?;
    Some(below.chars().take_while(|c| *c == ' ').collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::tests::sample;

    #[test]
    fn a_text_is_found_and_replaced_as_it_is_written_and_nothing_else_changes() {
        let (one, two) = (sample("a", &[1; 100]), sample("b", &[2; 10]));
        let manifest = format!(
            "# SFS1 is no sealed text, and this is the end\nobjects: |\n  - objectName: a\n    sealed: |\n      {}\n  - {{objectName: b, sealed: \"{}\"}}\n",
            one.lines().join("\n      "),
            two.lines().join(" ")
        );

        let found = spans(&manifest);

        assert_eq!(found.iter().map(|span| &span.text).collect::<Vec<_>>(), [&one, &two]);
        for span in &found {
            assert_eq!(span.written(&span.text), manifest[span.range.clone()]);
        }
    }
}
