//! Decodes a header block, changes the authority, and encodes the block so that a reader needs no dynamic table.

use fluke_hpack::Decoder;

use crate::{Malformed, shape};

/// Most bytes of a header block, both encoded and decoded.
pub(crate) const MAX_BLOCK: usize = 64 * 1024;

/// The size of the dynamic table that a server with default settings allows a client, in bytes.
const TABLE: usize = 4096;

/// The authority that replaces whatever the client sent.
const AUTHORITY: &[u8] = b"localhost";

/// A decoder with the table size with which HTTP/2 begins.
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
            // One byte may refer to a table entry of 4 KiB. Beyond the limit, bytes are only counted and not kept.
            if size <= MAX_BLOCK {
                let value = if *name == *b":authority" { AUTHORITY } else { &value };
                append(&mut encoded, &name, value);
            }
        })
        .map_err(|_| Malformed::Compression)?;
    if size > MAX_BLOCK { Err(Malformed::HeaderList) } else { Ok(encoded) }
}

/// Appends a field as a literal that is not added to a table (RFC 7541 §6.2.2).
fn append(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.push(0);
    for text in [name, value] {
        append_length(out, text.len());
        out.extend_from_slice(text);
    }
}

/// Appends the length of a plain string: an integer with a prefix of 7 bits (RFC 7541 §5.1, §5.2).
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
