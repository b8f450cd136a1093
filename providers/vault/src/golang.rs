//! Writes JSON as Go does: compact, keys sorted, `<`, `>` and `&` escaped, numbers as the store wrote them. Files must
//! equal those of the upstream provider byte for byte.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

/// The deepest nesting that is written.
const MAX_DEPTH: usize = 128;

/// A JSON object whose values stay as they are in the text.
pub(crate) type Fields<'a> = BTreeMap<String, &'a RawValue>;

/// Text that becomes a file.
pub(crate) type Output = Zeroizing<Vec<u8>>;

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// `raw` as an object, if it is one.
pub(crate) fn fields(raw: &RawValue) -> Option<Fields<'_>> {
    raw.get().starts_with('{').then(|| serde_json::from_str(raw.get()).ok()).flatten()
}

/// `raw` as text, if it is a string.
pub(crate) fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    serde_json::from_str::<Text<'_>>(raw.get()).ok().map(|text| text.0)
}

/// Whether `raw` is there and not `null`.
pub(crate) fn is_set(raw: Option<&&RawValue>) -> bool {
    raw.is_some_and(|raw| raw.get() != "null")
}

/// Appends `raw`. `None` if it is nested too deeply or contains an invalid string.
pub(crate) fn render(raw: &RawValue, out: &mut Output) -> Option<()> {
    render_at(raw.get(), out, 0)
}

/// Appends an object with these `fields`.
pub(crate) fn render_fields(fields: &Fields<'_>, out: &mut Output) -> Option<()> {
    object_at(fields, out, 0)
}

fn render_at(raw: &str, out: &mut Output, depth: usize) -> Option<()> {
    if depth > MAX_DEPTH {
        return None;
    }
    match raw.as_bytes().first()? {
        b'{' => object_at(&serde_json::from_str(raw).ok()?, out, depth),
        b'[' => list_at(&serde_json::from_str::<Vec<&RawValue>>(raw).ok()?, out, depth),
        b'"' => {
            quote(&serde_json::from_str::<Text<'_>>(raw).ok()?.0, out);
            Some(())
        }
        _ => {
            out.extend_from_slice(raw.as_bytes());
            Some(())
        }
    }
}

fn object_at(fields: &Fields<'_>, out: &mut Output, depth: usize) -> Option<()> {
    out.push(b'{');
    for (index, (key, value)) in fields.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        quote(key, out);
        out.push(b':');
        render_at(value.get(), out, depth + 1)?;
    }
    out.push(b'}');
    Some(())
}

fn list_at(items: &[&RawValue], out: &mut Output, depth: usize) -> Option<()> {
    out.push(b'[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        render_at(item.get(), out, depth + 1)?;
    }
    out.push(b']');
    Some(())
}

fn quote(text: &str, out: &mut Output) {
    out.push(b'"');
    for c in text.chars() {
        match c {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            '\u{8}' => out.extend_from_slice(b"\\b"),
            '\u{c}' => out.extend_from_slice(b"\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => escape(c, out),
            plain => out.extend_from_slice(plain.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.push(b'"');
}

fn escape(c: char, out: &mut Output) {
    out.extend_from_slice(format!("\\u{:04x}", u32::from(c)).as_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn rendered(json: &str) -> Option<String> {
        let raw: &RawValue = serde_json::from_str(json).unwrap();
        let mut out = Output::default();
        render(raw, &mut out)?;
        Some(String::from_utf8(out.to_vec()).unwrap())
    }

    #[test]
    fn keys_are_sorted_and_space_is_gone() {
        assert_eq!(rendered(r#" { "b" : [ 1 , {} ], "a" : null } "#).unwrap(), r#"{"a":null,"b":[1,{}]}"#);
    }

    #[test]
    fn numbers_stay_as_the_store_wrote_them() {
        let numbers = "[1.0,1e3,12345678901234567890123,-0]";
        assert_eq!(rendered(numbers).unwrap(), numbers);
    }

    #[test]
    fn text_is_escaped_as_go_does_it() {
        assert_eq!(
            rendered(r#""<a href='x'>&\u0001\b\f\n\r\t\"\\\/\u2028é\u00e9 \u007f""#).unwrap(),
            "\"\\u003ca href='x'\\u003e\\u0026\\u0001\\b\\f\\n\\r\\t\\\"\\\\/\\u2028éé \u{7f}\""
        );
    }

    #[test]
    fn what_is_nested_too_deep_is_refused_and_not_followed() {
        assert!(rendered(&format!("{}{}", "[".repeat(100), "]".repeat(100))).is_some());
        assert!(rendered(&format!("{}{}", "[".repeat(5_000), "]".repeat(5_000))).is_none());
    }

    proptest! {
        #[test]
        fn what_is_rendered_means_the_same(text in r"\PC*", number in any::<i64>(), keys in proptest::collection::btree_map("[a-z<]{0,4}", any::<bool>(), 0..5)) {
            let value = serde_json::json!({"t": text, "n": number, "k": keys, "l": [text]});
            let rendered = rendered(&value.to_string()).unwrap();
            prop_assert_eq!(serde_json::from_str::<Value>(&rendered).unwrap(), value);
        }
    }
}
