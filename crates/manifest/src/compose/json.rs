//! One JSON object, keys in the class's order. Every value is a string, also one that holds JSON itself.

use provider::SecretBytes;

use super::Page;

pub(super) fn write(values: &[(&str, SecretBytes)]) -> SecretBytes {
    let bytes = object(values).map(|piece| piece.as_str().len()).sum();
    let mut page = Page::new(bytes);
    object(values).for_each(|piece| page.push(piece.as_str()));
    page.finish()
}

/// A part of the text: a run of the value itself, or an escape of at most six bytes.
enum Piece<'a> {
    Run(&'a str),
    Escape([u8; 6]),
}

impl Piece<'_> {
    fn as_str(&self) -> &str {
        match self {
            Self::Run(text) => text,
            Self::Escape(bytes) => std::str::from_utf8(bytes).unwrap_or_default(),
        }
    }
}

fn object<'a>(values: &'a [(&'a str, SecretBytes)]) -> impl Iterator<Item = Piece<'a>> {
    let members = values.iter().enumerate().flat_map(|(index, (key, value))| {
        let before = if index == 0 { "\n  \"" } else { ",\n  \"" };
        let value = value.expose_str().unwrap_or_default();
        let key = [Piece::Run(before)].into_iter().chain(escaped(key));
        key.chain([Piece::Run("\": \"")]).chain(escaped(value)).chain([Piece::Run("\"")])
    });
    [Piece::Run("{")].into_iter().chain(members).chain([Piece::Run("\n}\n")])
}

fn escaped(text: &str) -> impl Iterator<Item = Piece<'_>> {
    text.split_inclusive(must_be_escaped).flat_map(|run| {
        let last = run.chars().next_back().filter(|c| must_be_escaped(*c));
        let plain = last.and_then(|c| run.strip_suffix(c)).unwrap_or(run);
        [Some(Piece::Run(plain)), last.map(escape)].into_iter().flatten()
    })
}

fn must_be_escaped(c: char) -> bool {
    c < ' ' || c == '"' || c == '\\'
}

fn escape(c: char) -> Piece<'static> {
    match c {
        '"' => Piece::Run("\\\""),
        '\\' => Piece::Run("\\\\"),
        '\n' => Piece::Run("\\n"),
        '\t' => Piece::Run("\\t"),
        '\r' => Piece::Run("\\r"),
        control => {
            Piece::Escape([b'\\', b'u', b'0', b'0', b'0' + (control as u8 >> 4), hex(control as u8 & 15)])
        }
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        0..=9 => b'0' + digit,
        _ => b'a' + digit.saturating_sub(10),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn keys_stay_in_order_and_values_stay_strings() {
        let values =
            [("Z", SecretBytes::from("1".to_owned())), ("A", SecretBytes::from("{\"a\":1}\n".to_owned()))];

        assert_eq!(
            write(&values).expose_str().unwrap(),
            "{\n  \"Z\": \"1\",\n  \"A\": \"{\\\"a\\\":1}\\n\"\n}\n"
        );
    }

    proptest! {
        #[test]
        fn every_text_is_read_back(key in r"\PC{0,20}", value in r"(\PC|[\x00-\x1f\x22\\\x7f]){0,60}") {
            let page = write(&[(&key, SecretBytes::from(value.clone()))]);

            let read: Value = serde_json::from_slice(page.expose()).unwrap();
            prop_assert_eq!(read.get(&key), Some(&Value::String(value)));
        }
    }
}
