//! Prepares text of strangers for messages.

/// The longest foreign text that a message repeats, in characters.
const SHOWN: usize = 160;

/// `text` on one line, without control characters. If it is long, its middle is left out, because messages begin with
/// what happened and end with the reason.
pub(crate) fn shorten(text: &str) -> String {
    let clean: Vec<char> = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if clean.len() <= SHOWN {
        return clean.into_iter().collect();
    }
    let half = SHOWN / 2;
    let head = clean.iter().take(half);
    let tail = clean.iter().skip(clean.len() - half);
    head.chain(&['…']).chain(tail).collect()
}

/// The longest word that is compared with known words, in characters.
const COMPARED: usize = 100;

/// The word in `known` that is most similar to `typed`, if one is similar enough.
pub fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed: String = typed.chars().take(COMPARED).collect();
    let edits = |known: &'a str| (strsim::damerau_levenshtein(&typed, known), known);
    let (distance, nearest) = known.into_iter().map(edits).min()?;
    let most = if typed.len() <= 4 { 2 } else { 3.max(typed.len() / 2) };
    (distance <= most).then_some(nearest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_keeps_its_ends() {
        let short = shorten(&format!("begin{}end", "x".repeat(1000)));
        assert!(short.starts_with("begin") && short.ends_with("end") && short.chars().count() == SHOWN + 1);
    }

    #[test]
    fn the_nearest_key_is_found_and_a_far_one_is_not() {
        assert_eq!(nearest("refesh", ["refresh", "mode"]), Some("refresh"));
        assert_eq!(nearest("banana", ["refresh", "mode"]), None);
        assert_eq!(nearest("itme", ["file", "item", "mode"]), Some("item"));
        assert_eq!(nearest("aws", ["kubernetes", "openbao", "secretfs", "vault"]), None);
    }
}
