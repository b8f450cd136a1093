//! What a client sends, in any pieces, comes out the same and within bounds.
#![no_main]

use authority::{Malformed, Rewriter};
use libfuzzer_sys::fuzz_target;

fn fed(pieces: &[&[u8]]) -> (Result<(), Malformed>, Vec<u8>) {
    let (mut rewriter, mut out) = (Rewriter::new(), Vec::new());
    let outcome = pieces.iter().try_for_each(|piece| rewriter.feed(piece, &mut out));
    (outcome, out)
}

fuzz_target!(|input: &[u8]| {
    let Some((cut, bytes)) = input.split_first() else { return };
    let (head, tail) = bytes.split_at(usize::from(*cut).min(bytes.len()));

    let whole = fed(&[bytes]);

    assert_eq!(whole, fed(&[head, tail]));
});
