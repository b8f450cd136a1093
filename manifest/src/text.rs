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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_keeps_its_ends() {
        let short = shorten(&format!("begin{}end", "x".repeat(1000)));
        assert!(short.starts_with("begin") && short.ends_with("end") && short.chars().count() == SHOWN + 1);
    }
}
