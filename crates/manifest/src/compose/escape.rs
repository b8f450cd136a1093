//! How each format writes text, so that its readers get exactly that text back.

/// Receives the next piece of the output.
pub(super) type Put<'a> = &'a mut dyn FnMut(&str);

/// The inside of a JSON string.
pub(super) fn json(text: &str, put: Put<'_>) {
    each(text, put, |c| c < ' ' || c == '"' || c == '\\', quoted);
}

/// The inside of a YAML string in double quotes (YAML 1.2 §5.1, §7.3.1). Characters that YAML calls not printable are
/// escaped too.
pub(super) fn yaml(text: &str, put: Put<'_>) {
    let is_special = |c: char| {
        c < ' '
            || matches!(
                c,
                '"' | '\\' | '\u{7f}'
                    ..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'
            )
    };
    each(text, put, is_special, quoted);
}

/// The value of a Java properties file, in ASCII only, because some readers decode the file as Latin-1 and others as
/// UTF-8 (`java.util.Properties`).
pub(super) fn property(text: &str, put: Put<'_>) {
    // A reader would take blanks at the beginning for blanks around the separator.
    let blanks = text.len().saturating_sub(text.trim_start_matches(' ').len());
    (0..blanks).for_each(|_| put("\\ "));
    let is_special = |c: char| !(' '..='~').contains(&c) || c == '\\';
    each(text.trim_start_matches(' '), put, is_special, |c, put| match c {
        '\\' => put("\\\\"),
        other => quoted(other, put),
    });
}

/// The key of a Java properties file.
pub(super) fn property_key(text: &str, put: Put<'_>) {
    let is_special = |c: char| !('!'..='~').contains(&c) || matches!(c, '\\' | '=' | ':' | '#' | '!');
    each(text, put, is_special, |c, put| match c {
        ' ' | '\\' | '=' | ':' | '#' | '!' => {
            put("\\");
            put(c.encode_utf8(&mut [0; 4]));
        }
        other => quoted(other, put),
    });
}

/// One word of a POSIX shell, in quotes.
pub(super) fn shell(text: &str, put: Put<'_>) {
    put("'");
    each(text, put, |c| c == '\'', |_, put| put("'\\''"));
    put("'");
}

/// Text of an XML element or of a quoted attribute. The caller refuses characters that XML cannot hold.
pub(super) fn xml(text: &str, put: Put<'_>) {
    let is_special = |c: char| matches!(c, '&' | '<' | '>' | '"' | '\'' | '\r' | '\n' | '\t');
    each(text, put, is_special, |c, put| {
        put(match c {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            '"' => "&quot;",
            '\'' => "&apos;",
            '\r' => "&#13;",
            '\n' => "&#10;",
            _ => "&#9;",
        });
    });
}

/// A component of a URL. Everything but the unreserved characters of RFC 3986 §2.3 is percent-encoded.
pub(super) fn url(text: &str, put: Put<'_>) {
    let is_special = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~'));
    each(text, put, is_special, |c, put| {
        for byte in c.encode_utf8(&mut [0; 4]).bytes() {
            put_ascii(
                &[b'%', digit(byte >> 4).to_ascii_uppercase(), digit(byte & 15).to_ascii_uppercase()],
                put,
            );
        }
    });
}

/// Writes `text`: runs of plain characters as they are, and each special character as `escape` writes it.
fn each(text: &str, put: Put<'_>, is_special: impl Fn(char) -> bool, escape: impl Fn(char, Put<'_>)) {
    let mut begin = 0;
    for (at, c) in text.char_indices().filter(|(_, c)| is_special(*c)) {
        put(text.get(begin..at).unwrap_or_default());
        escape(c, put);
        begin = at.saturating_add(c.len_utf8());
    }
    put(text.get(begin..).unwrap_or_default());
}

/// Writes one character with the escapes that JSON, YAML and properties files share.
fn quoted(c: char, put: Put<'_>) {
    match c {
        '"' => put("\\\""),
        '\\' => put("\\\\"),
        '\n' => put("\\n"),
        '\t' => put("\\t"),
        '\r' => put("\\r"),
        other => other.encode_utf16(&mut [0; 2]).iter().for_each(|unit| put_unit(*unit, put)),
    }
}

fn put_unit(unit: u16, put: Put<'_>) {
    let [high, low] = unit.to_be_bytes();
    put_ascii(&[b'\\', b'u', digit(high >> 4), digit(high & 15), digit(low >> 4), digit(low & 15)], put);
}

fn put_ascii(bytes: &[u8], put: Put<'_>) {
    put(std::str::from_utf8(bytes).unwrap_or_default());
}

fn digit(of: u8) -> u8 {
    match of {
        0..=9 => b'0'.saturating_add(of),
        _ => b'a'.saturating_add(of.saturating_sub(10)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(escape: impl Fn(&str, Put<'_>), text: &str) -> String {
        let mut written = String::new();
        escape(text, &mut |piece| written.push_str(piece));
        written
    }

    /// The value that `java.util.Properties.load` reads.
    fn property_read(written: &str) -> String {
        let (mut units, mut rest) = (Vec::new(), written.trim_start_matches(' ').chars());
        while let Some(c) = rest.next() {
            let unit = match (c, if c == '\\' { rest.next() } else { None }) {
                (_, Some('u')) => {
                    u16::from_str_radix(&rest.by_ref().take(4).collect::<String>(), 16).unwrap()
                }
                (_, Some('n')) => u16::from(b'\n'),
                (_, Some('t')) => u16::from(b'\t'),
                (_, Some('r')) => u16::from(b'\r'),
                (_, Some(other)) => u16::try_from(u32::from(other)).unwrap(),
                (plain, None) => u16::try_from(u32::from(plain)).unwrap(),
            };
            units.push(unit);
        }
        String::from_utf16(&units).unwrap()
    }

    #[test]
    fn what_a_format_would_take_for_its_own_is_escaped() {
        for (escape, text, expected) in [
            (json as fn(&str, Put<'_>), "a\"\\\n\u{1}é", "a\\\"\\\\\\n\\u0001é"),
            (yaml, "\u{85}\u{2028}\u{feff}ü", "\\u0085\\u2028\\ufeffü"),
            (property, "  a b=é😀", "\\ \\ a b=\\u00e9\\ud83d\\ude00"),
            (property_key, "a b=c:#!é", "a\\ b\\=c\\:\\#\\!\\u00e9"),
            (shell, "it's $HOME", "'it'\\''s $HOME'"),
            (xml, "<a b='c'>&\n", "&lt;a b=&apos;c&apos;&gt;&amp;&#10;"),
            (url, "a b/é~", "a%20b%2F%C3%A9~"),
        ] {
            assert_eq!(written(escape, text), expected);
        }
    }

    proptest! {
        #[test]
        fn readers_get_the_text_back(text in r"(\PC|[\x00-\x20\x22\x27\\\x7f\u{85}\u{2028}]){0,60}") {
            let quoted = |escape: fn(&str, Put<'_>)| format!("\"{}\"", written(escape, &text));
            prop_assert_eq!(&serde_json::from_str::<String>(&quoted(json)).unwrap(), &text);
            prop_assert_eq!(&serde_yaml::from_str::<String>(&quoted(yaml)).unwrap(), &text);
            let property = written(property, &text);
            prop_assert!(property.is_ascii());
            prop_assert_eq!(&property_read(&property), &text);
        }
    }
}
