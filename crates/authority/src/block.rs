//! Header blocks: decoded, changed in one place, encoded so that no state is needed to read them.

use fluke_hpack::Decoder;

use crate::{Malformed, shape};

/// Most bytes of a header block, encoded and decoded alike.
pub(crate) const MAX_BLOCK: usize = 64 * 1024;

/// The table that a server of default settings lets a client use, in bytes.
const TABLE: usize = 4096;

/// What every client is taken to have asked for.
const AUTHORITY: &[u8] = b"localhost";

/// A decoder with the table that the protocol begins with.
pub(crate) fn decoder() -> Decoder<'static> {
    let mut decoder = Decoder::new();
    decoder.set_max_allowed_table_size(TABLE);
    decoder
}

/// Decodes `block` and encodes the same list with `localhost` as its authority.
pub(crate) fn rewrite(decoder: &mut Decoder<'_>, block: &[u8]) -> Result<Vec<u8>, Malformed> {
    if !shape::is_whole(block) {
        return Err(Malformed::Compression);
    }
    let mut encoded = Vec::with_capacity(block.len());
    let mut size = 0;
    decoder
        .decode_with_cb(block, |name, value| {
            size += name.len() + value.len();
            // An index of one byte may stand for 4 KiB: what is too large is counted, not kept.
            if size <= MAX_BLOCK {
                let value = if *name == *b":authority" { AUTHORITY } else { &value };
                append(&mut encoded, &name, value);
            }
        })
        .map_err(|_| Malformed::Compression)?;
    if size > MAX_BLOCK { Err(Malformed::HeaderList) } else { Ok(encoded) }
}

/// Appends a field as a literal that no table remembers (RFC 7541 §6.2.2).
fn append(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.push(0);
    for text in [name, value] {
        append_length(out, text.len());
        out.extend_from_slice(text);
    }
}

/// A length of plain octets: an integer with a prefix of 7 bits (RFC 7541 §5.1, §5.2).
fn append_length(out: &mut Vec<u8>, length: usize) {
    const PREFIX: usize = 0x7f;
    let Some(mut rest) = length.checked_sub(PREFIX) else {
        out.push((length & PREFIX) as u8);
        return;
    };
    out.push(PREFIX as u8);
    while rest > PREFIX {
        out.push((rest & PREFIX) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}
