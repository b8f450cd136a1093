//! Makes foreign texts safe to print: nothing in them may start a new line, move the cursor of a terminal, or change
//! the direction of the text that follows.

use std::borrow::Cow;
use std::fmt::Write as _;

/// `text` on one line. Control characters and invisible characters are escaped as in Rust (`\n`, `\u{1b}`). Quotes and
/// backslashes stay.
pub fn visible(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_visible) {
        return Cow::Borrowed(text);
    }
    let mut told = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_visible(c) { told.push(c) } else { told.extend(c.escape_debug()) }
    }
    Cow::Owned(told)
}

/// `json`, whose ASCII control characters are escaped already, with all other control characters escaped too. Parsers
/// read the same value.
pub fn visible_json(json: &str) -> Cow<'_, str> {
    if json.chars().all(|c| c == '\n' || is_visible(c)) {
        return Cow::Borrowed(json);
    }
    let mut told = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if c == '\n' || is_visible(c) { told.push(c) } else { push_escaped(c, &mut told) }
    }
    Cow::Owned(told)
}

/// `text` as a text of JSON, in which nothing is invisible.
pub fn json_text(text: &str) -> String {
    let mut told = String::with_capacity(text.len() + 16);
    told.push('"');
    for c in text.chars() {
        if is_visible(c) && c != '"' && c != '\\' { told.push(c) } else { push_escaped(c, &mut told) }
    }
    told.push('"');
    told
}

fn push_escaped(c: char, json: &mut String) {
    for unit in c.encode_utf16(&mut [0; 2]) {
        // Writing to memory does not fail.
        let _ = write!(json, "\\u{unit:04x}");
    }
}

fn is_visible(c: char) -> bool {
    // Nearly every character is ASCII. This avoids a look into the Unicode tables for them.
    matches!(c, ' '..='~') || c.escape_debug().len() == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_shows_by_itself_stays_and_costs_nothing() {
        for text in ["", "a \"quoted\" 'name' \\ – ключ, 鍵 🔑", "C:\\path"] {
            assert!(matches!(visible(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }

    #[test]
    fn what_does_not_show_is_written_out() {
        assert_eq!(visible("a\nb\r\t\u{1b}[2J"), "a\\nb\\r\\t\\u{1b}[2J");
        assert_eq!(
            visible("\u{9b}\u{85}\u{2028}\u{202e}\u{200b}\u{7f}"),
            r"\u{9b}\u{85}\u{2028}\u{202e}\u{200b}\u{7f}"
        );
    }

    #[test]
    fn json_with_everything_written_out_means_what_it_meant() {
        let odd = "\u{7f}\u{9b}\u{2028}\u{202e}\u{e0001}\n\u{1b}é";
        let json = serde_json::to_string(odd).unwrap();

        let told = visible_json(&json).into_owned();

        assert_eq!(told, "\"\\u007f\\u009b\\u2028\\u202e\\udb40\\udc01\\n\\u001bé\"");
        assert_eq!(serde_json::from_str::<String>(&told).unwrap(), odd);
    }

    #[test]
    fn a_text_of_json_means_the_text_and_shows_all_of_it() {
        let odd = "a \"quoted\" \\ – 鍵\n\t\u{1b}\u{9b}\u{2028}\u{e0001}";

        let told = json_text(odd);

        assert_eq!(serde_json::from_str::<String>(&told).unwrap(), odd);
        assert!(told.contains("鍵") && told.chars().all(is_visible), "{told}");
    }
}
