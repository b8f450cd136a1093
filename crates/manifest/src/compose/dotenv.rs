//! `KEY='value'` lines.
//!
//! A POSIX shell that reads the file (`set -a; . ./app.env`) gets exactly these values, for every text without NUL.
//! Dotenv libraries quote as shells do, except for escapes that only some of them know. So each value takes the first
//! of these forms that is safe for it:
//!
//! 1. `'…'`: the value has no quote, and no backslash that a library would read as an escape;
//! 2. `"…"`: the value has nothing that a shell would expand;
//! 3. `'…'\''…'`: the form that only shells understand.
//!
//! Libraries misread the third form. It is used for values with both a `'` (or two backslashes in a row) and a `$` or a
//! backtick. Some libraries also misread a value that ends in a backslash, expand `${NAME}` inside single quotes, or
//! read a carriage return as a newline. JSON has none of these problems.

use super::Values;
use super::escape::Put;

pub(super) fn write(values: Values<'_>, put: Put<'_>) {
    values.iter().copied().flat_map(line).for_each(put);
}

/// The pieces of the line, in order. Joined together they are the line.
fn line<'a>((key, value): (&'a str, &'a str)) -> impl Iterator<Item = &'a str> {
    let form = Form::of(value);
    let quote = form.quote();
    let escaped = pieces(value, form);
    [key, "=", quote].into_iter().chain(escaped).chain([quote, "\n"])
}

#[derive(Clone, Copy)]
enum Form {
    Single,
    Double,
    Shell,
}

impl Form {
    fn of(value: &str) -> Self {
        let escapes = value.contains('\'') || value.contains("\\\\") || value.ends_with('\\');
        match (escapes, value.contains(['$', '`'])) {
            (false, _) => Self::Single,
            (true, false) => Self::Double,
            (true, true) => Self::Shell,
        }
    }

    fn quote(self) -> &'static str {
        match self {
            Self::Single | Self::Shell => "'",
            Self::Double => "\"",
        }
    }

    fn escape(self, c: char) -> Option<&'static str> {
        match (self, c) {
            (Self::Double, '"') => Some("\\\""),
            (Self::Double, '\\') => Some("\\\\"),
            (Self::Shell, '\'') => Some("'\\''"),
            _ => None,
        }
    }
}

fn pieces(value: &str, form: Form) -> impl Iterator<Item = &str> {
    value.split_inclusive(move |c| form.escape(c).is_some()).flat_map(move |run| {
        let last = run.char_indices().next_back();
        let (plain, escape) = match last.and_then(|(at, c)| Some((at, form.escape(c)?))) {
            Some((at, escape)) => (run.get(..at).unwrap_or_default(), escape),
            None => (run, ""),
        };
        [plain, escape]
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    fn file(values: &[String]) -> String {
        let keys: Vec<_> = (0..values.len()).map(|index| format!("K{index}")).collect();
        let values: Vec<_> =
            keys.iter().zip(values).map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let page = crate::compose::page(|put| write(&values, put));
        page.expose_str().unwrap().to_owned()
    }

    fn by_key(pairs: impl IntoIterator<Item = (String, String)>, count: usize) -> Vec<String> {
        let mut found: BTreeMap<_, _> = pairs.into_iter().collect();
        (0..count).map(|index| found.remove(&format!("K{index}")).unwrap_or("(missing)".to_owned())).collect()
    }

    /// The variables that a program sees if a shell reads the file and then starts it.
    fn sourced(file: &str, count: usize) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.env");
        std::fs::write(&path, file).unwrap();
        let script = "set -a; . \"$1\"; exec env -0";
        let mut shell = Command::new("sh");
        shell.args(["-euc", script, "sh"]).arg(&path).env_clear().env("PATH", "/usr/bin:/bin");
        let output = shell.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let pairs = text.split('\0').filter_map(|pair| pair.split_once('='));
        by_key(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())), count)
    }

    /// What python-dotenv reads from the file by its grammar, without the expansion of `${NAME}`.
    fn loaded(file: &str, count: usize) -> Vec<String> {
        let (mut rest, mut pairs) = (file, Vec::new());
        while let Some((key, value)) = rest.split_once('=') {
            let quote = value.chars().next().unwrap();
            let Some((raw, after)) = quoted(value, quote) else { break };
            pairs.push((key.to_owned(), decoded(raw, quote)));
            rest = after.strip_prefix('\n').unwrap_or("");
        }
        by_key(pairs, count)
    }

    /// Matches `'((?:\\'|[^'])*)'`, or the same pattern for `"`. It is greedy, as in python-dotenv.
    fn quoted(text: &str, quote: char) -> Option<(&str, &str)> {
        let (body, mut escaped, mut end) = (text.get(1..)?, false, None);
        for (at, c) in body.char_indices() {
            if c == quote {
                end = Some(at);
                if !escaped {
                    break;
                }
            }
            escaped = c == '\\';
        }
        Some((body.get(..end?)?, body.get(end? + 1..)?))
    }

    fn decoded(raw: &str, quote: char) -> String {
        let escapes = if quote == '"' { "\\'\"abfnrtv" } else { "\\'" };
        let (mut text, mut chars) = (String::new(), raw.chars().peekable());
        while let Some(c) = chars.next() {
            match chars.peek() {
                Some(next) if c == '\\' && escapes.contains(*next) => text.extend(chars.next()),
                _ => text.push(c),
            }
        }
        text
    }

    #[test]
    fn each_value_takes_the_first_form_that_is_safe() {
        for (value, expected) in [
            ("", "K0=''\n"),
            ("plain # text", "K0='plain # text'\n"),
            (r#"a$b`c"d!e\n"#, "K0='a$b`c\"d!e\\n'\n"),
            ("two\nlines", "K0='two\nlines'\n"),
            ("it's", "K0=\"it's\"\n"),
            (r#"it's "so" \ "#, "K0=\"it's \\\"so\\\" \\\\ \"\n"),
            (r"C:\", "K0=\"C:\\\\\"\n"),
            ("it's $5", "K0='it'\\''s $5'\n"),
        ] {
            assert_eq!(file(&[value.to_owned()]), expected, "{value}");
        }
    }

    /// Texts of the characters that quoting often gets wrong.
    const HARD: &str = r"([ab '\x22$`!#=\\\n\t{}()&;*~-]|\PC){0,24}";

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn a_shell_reads_every_text_to_the_byte(
            values in prop::collection::vec(prop_oneof![HARD, r"[^\x00]{0,40}"], 1..20)
        ) {
            prop_assert_eq!(sourced(&file(&values), values.len()), values);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn a_library_reads_what_the_shell_reads_save_where_documented(
            values in prop::collection::vec(HARD, 1..10)
        ) {
            let both = |value: &String| !matches!(Form::of(value), Form::Shell) && !value.ends_with('\\');
            let values: Vec<_> = values.into_iter().filter(both).collect();

            prop_assert_eq!(loaded(&file(&values), values.len()), values);
        }
    }
}
