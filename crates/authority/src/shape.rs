//! Checks the shape of a header block: whether its instructions are complete.
//!
//! The decoder panics on a size update whose number is cut off or too long. So it gets no block that did not pass this
//! check.

/// Most octets of a number, prefix included. Header lists of 64 KiB need three.
const MAX_OCTETS: usize = 5;

/// Whether every number and every string in the block is complete (RFC 7541 §5, §6).
pub(crate) fn is_whole(block: &[u8]) -> bool {
    let mut rest = block;
    while !rest.is_empty() {
        match after_instruction(rest) {
            Some(after) => rest = after,
            None => return false,
        }
    }
    true
}

fn after_instruction(bytes: &[u8]) -> Option<&[u8]> {
    let first = *bytes.first()?;
    if first & 0x80 != 0 {
        return Some(number(bytes, 7)?.1);
    }
    if first & 0xe0 == 0x20 {
        return Some(number(bytes, 5)?.1);
    }
    let prefix = if first & 0x40 != 0 { 6 } else { 4 };
    match number(bytes, prefix)? {
        (0, rest) => after_string(after_string(rest)?),
        (_, rest) => after_string(rest),
    }
}

fn after_string(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = number(bytes, 7)?;
    rest.get(length..)
}

/// A number that has `prefix` bits in its first octet, and the bytes that follow it.
fn number(bytes: &[u8], prefix: u32) -> Option<(usize, &[u8])> {
    let (first, mut rest) = bytes.split_first()?;
    let mask = (1_usize << prefix) - 1;
    let mut value = usize::from(*first) & mask;
    if value < mask {
        return Some((value, rest));
    }
    for shift in (0..).step_by(7).take(MAX_OCTETS - 1) {
        let (octet, after) = rest.split_first()?;
        rest = after;
        value += usize::from(octet & 0x7f) << shift;
        if octet & 0x80 == 0 {
            return Some((value, rest));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_of_every_kind_are_whole() {
        for block in [
            &[][..],
            &[0x82],
            &[0xff, 0x80, 0x01],
            &[0x3f, 0xe1, 0x1f, 0x82],
            &[0x40, 1, b'a', 1, b'b'],
            &[0x41, 2, b'a', b'b'],
            &[0x00, 0, 0],
            &[0x1f, 0x05, 0],
        ] {
            assert!(is_whole(block), "{block:x?}");
        }
    }

    #[test]
    fn what_is_cut_off_or_too_long_is_not() {
        for block in [
            &[0xff][..],
            &[0x3f],
            &[0x3f, 0xff, 0xff],
            &[0x3f, 0xff, 0xff, 0xff, 0xff, 0x01],
            &[0x40, 1, b'a'],
            &[0x40, 1, b'a', 2, b'b'],
            &[0x41],
            &[0x00, 0x7f, 0xff],
        ] {
            assert!(!is_whole(block), "{block:x?}");
        }
    }
}
