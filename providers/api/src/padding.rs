//! Padding for values that are encrypted, so that their ciphertext does not tell how long a password is.

use zeroize::{Zeroize as _, Zeroizing};

/// The size of the length at the end of a padded value, in bytes.
pub const LENGTH: usize = 4;

/// `value`, then zeros, then its length (big endian): a multiple of `bucket` bytes, with room for `tag` more. `None` for a
/// value of 4 GiB.
pub fn padded(value: &[u8], bucket: usize, tag: usize) -> Option<Zeroizing<Vec<u8>>> {
    let length = u32::try_from(value.len()).ok()?;
    let size = value.len().checked_add(LENGTH)?.checked_next_multiple_of(bucket)?;
    let mut body = Zeroizing::new(Vec::with_capacity(size.checked_add(tag)?));
    body.extend_from_slice(value);
    body.resize(size - LENGTH, 0);
    body.extend_from_slice(&length.to_be_bytes());
    Some(body)
}

/// The length of the value at the front of `plain`; `None` if it was not padded so. The padding behind it is wiped.
pub fn unpadded(plain: &mut [u8]) -> Option<usize> {
    let (rest, length) = plain.split_last_chunk_mut::<LENGTH>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    rest.get_mut(length..)?.zeroize();
    Some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_comes_back_from_its_padding_and_what_is_no_padding_is_refused() {
        for length in [0, 1, 59, 60, 61, 64, 1000] {
            let value = vec![7; length];
            let mut body = padded(&value, 64, 16).unwrap();

            assert!(body.len().is_multiple_of(64) && body.capacity() >= body.len() + 16);
            let found = unpadded(&mut body).unwrap();
            assert_eq!(body[..found], value);
        }
        assert_eq!(unpadded(&mut [0, 0, 0]), None);
        assert_eq!(unpadded(&mut [1, 0, 0, 0, 9]), None);
    }
}
