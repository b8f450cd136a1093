//! An answer as the body of a reading: a head that lists the files, then their contents one after the other.

use provider::{FileMode, ObjectPath, SecretBytes};
use serde::{Deserialize, Serialize};

/// The size of the head's length, in bytes.
const LENGTH: usize = size_of::<u32>();

/// A file of an answer, checked.
#[derive(Debug, Clone)]
pub(crate) struct File {
    pub(crate) path: ObjectPath,
    pub(crate) mode: FileMode,
    pub(crate) contents: SecretBytes,
    pub(crate) version: Option<String>,
}

/// A file in the head.
#[derive(Serialize, Deserialize)]
struct Entry {
    path: String,
    mode: u32,
    len: usize,
    version: Option<String>,
}

/// Packs all of `files` into one buffer.
pub(crate) fn pack(files: &[File]) -> Option<SecretBytes> {
    let entries: Vec<_> = files.iter().map(entry).collect();
    let head = serde_json::to_vec(&entries).ok()?;
    let contents: usize = files.iter().map(|file| file.contents.len()).sum();
    // Allocated at its full size: a buffer that grows leaves copies of secrets behind.
    let mut body = Vec::with_capacity(LENGTH + head.len() + contents);
    body.extend(u32::try_from(head.len()).ok()?.to_le_bytes());
    body.extend(head);
    files.iter().for_each(|file| body.extend_from_slice(file.contents.expose()));
    Some(SecretBytes::new(body))
}

fn entry(file: &File) -> Entry {
    let (path, mode) = (file.path.to_string(), file.mode.bits());
    Entry { path, mode, len: file.contents.len(), version: file.version.clone() }
}

/// The files in `body`. They share its buffer. `None` if [`pack`] did not make `body`.
pub(crate) fn unpack(body: &SecretBytes) -> Option<Vec<File>> {
    let (length, rest) = body.expose().split_first_chunk::<LENGTH>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let entries: Vec<Entry> = serde_json::from_slice(rest.get(..length)?).ok()?;
    let mut at = LENGTH + length;
    entries.into_iter().map(|entry| file(entry, body, &mut at)).collect()
}

fn file(entry: Entry, body: &SecretBytes, at: &mut usize) -> Option<File> {
    let end = at.checked_add(entry.len)?;
    let contents = body.slice(*at..end)?;
    *at = end;
    Some(File {
        path: ObjectPath::try_from(entry.path.as_str()).ok()?,
        mode: FileMode::try_from(u64::from(entry.mode)).ok()?,
        contents,
        version: entry.version,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn a_file(path: &str, contents: &[u8]) -> File {
        File {
            path: path.try_into().unwrap(),
            mode: FileMode::try_from(0o400).unwrap(),
            contents: contents.to_vec().into(),
            version: Some("7".to_owned()),
        }
    }

    #[test]
    fn what_was_packed_is_unpacked_to_the_byte() {
        let body = pack(&[a_file("a", b"one"), a_file("b/c", b""), a_file("d", b"\0\xff")]).unwrap();

        let files = unpack(&body).unwrap();

        let told: Vec<_> = files.iter().map(|file| (file.path.as_str(), file.contents.expose())).collect();
        assert_eq!(told, [("a", &b"one"[..]), ("b/c", b""), ("d", b"\0\xff")]);
        assert!(files.iter().all(|file| file.mode.bits() == 0o400 && file.version.as_deref() == Some("7")));
    }

    proptest! {
        #[test]
        fn bytes_that_are_no_body_are_refused_or_harmless(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = unpack(&SecretBytes::new(bytes));
        }
    }
}
