//! Text on its way into a message.

/// Most characters of somebody else's text that a message repeats.
const SHOWN: usize = 160;

/// `text` on one line, without control characters, and with its middle left out if it is long:
/// messages begin with what and end with why.
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

/// The one of `known` that somebody who typed `typed` most likely meant.
pub(crate) fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let (distance, nearest) = known.into_iter().map(|known| (edits(typed, known), known)).min()?;
    (distance <= 3.max(typed.len() / 2)).then_some(nearest)
}

/// Levenshtein distance, capped at the longer length.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().take(100).enumerate() {
        let mut next = vec![i + 1];
        for ((to, pair), left) in b.iter().zip(row.windows(2)).zip(1..) {
            let [diagonal, above] = pair else { continue };
            let substituted = diagonal + usize::from(from != *to);
            let inserted = next.get(left - 1).map_or(usize::MAX, |before| before + 1);
            next.push(substituted.min(above + 1).min(inserted));
        }
        row = next;
    }
    row.last().copied().unwrap_or(usize::MAX)
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
    }
}
