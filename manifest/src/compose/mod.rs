//! Composed files: one file made of several objects.
//!
//! Values are bytes of a store; each format escapes them so that its readers
//! get exactly those bytes, or says that it cannot.

mod dotenv;
mod json;
mod read;
mod verify;

pub(crate) use read::read;
pub use verify::verify;

use provider::{Error, ErrorKind, Result, SecretBytes};

use crate::{Composed, ComposedFormat};

/// Writes `file` from the contents of its objects, which `contents` finds by `objectName`.
///
/// # Errors
///
/// `Invalid` names the object that a text format cannot hold, `NotFound` the one that is missing.
pub fn write(file: &Composed, contents: impl Fn(&str) -> Option<SecretBytes>) -> Result<SecretBytes> {
    let mut values = Vec::with_capacity(file.from.len());
    for (key, object) in &file.from {
        let missing = || {
            Error::new(ErrorKind::NotFound, format!("composed file {} has no object {object:?}", file.path))
        };
        let value = contents(object).ok_or_else(missing)?;
        text(file, object, &value)?;
        values.push((key.as_str(), value));
    }
    Ok(match file.format {
        ComposedFormat::Dotenv => dotenv::write(&values),
        ComposedFormat::Json => json::write(&values),
    })
}

fn text(file: &Composed, object: &str, value: &SecretBytes) -> Result<()> {
    let refuse = |what| {
        let message = format!("object {object:?} is {what}, which composed file {} cannot hold", file.path);
        Err(Error::new(ErrorKind::Invalid, message).remedy("mount the object as a file of its own"))
    };
    match value.expose_str() {
        None => refuse("not UTF-8 text"),
        Some(text) if file.format == ComposedFormat::Dotenv && text.contains('\0') => {
            refuse("text with a NUL")
        }
        Some(_) => Ok(()),
    }
}

/// Bytes that are written to one buffer of the right size, so that none are left behind by growing.
struct Page(Vec<u8>);

impl Page {
    fn new(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    fn push(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    fn finish(self) -> SecretBytes {
        SecretBytes::new(self.0)
    }
}
