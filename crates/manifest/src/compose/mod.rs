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

impl Composed {
    /// The file that holds `values`, each under its key of [`from`](Self::from). A key may be absent
    /// where its object is; the file's other keys do not depend on it.
    ///
    /// # Errors
    ///
    /// `Invalid` names an object whose value the format cannot hold: not UTF-8, or NUL in dotenv.
    pub fn compose(&self, values: &[(&str, SecretBytes)]) -> Result<SecretBytes> {
        for (key, value) in values {
            self.check(key, value)?;
        }
        Ok(match self.format {
            ComposedFormat::Dotenv => dotenv::write(values),
            ComposedFormat::Json => json::write(values),
        })
    }

    fn check(&self, key: &str, value: &SecretBytes) -> Result<()> {
        let what = match value.expose_str() {
            None => "not UTF-8 text",
            Some(text) if self.format == ComposedFormat::Dotenv && text.contains('\0') => "text with a NUL",
            Some(_) => return Ok(()),
        };
        let object = self.from.iter().find(|(own, _)| own == key).map_or(key, |(_, object)| object);
        let message = format!("object {object:?} is {what}, which composed file {} cannot hold", self.path);
        Err(Error::new(ErrorKind::Invalid, message).remedy("mount the object as a file of its own"))
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

#[cfg(test)]
mod tests {
    use provider::ObjectPath;

    use super::*;

    fn composed(format: ComposedFormat) -> Composed {
        let from = vec![("KEY".to_owned(), "db/pass".to_owned())];
        Composed { path: ObjectPath::try_from("app.env").unwrap(), format, from, mode: None }
    }

    #[test]
    fn a_value_that_the_format_cannot_hold_names_its_object_and_not_itself() {
        for (format, value) in [
            (ComposedFormat::Dotenv, b"hunter2\xff".as_slice()),
            (ComposedFormat::Dotenv, b"hunter2\0"),
            (ComposedFormat::Json, b"hunter2\xff"),
        ] {
            let refused = composed(format).compose(&[("KEY", SecretBytes::new(value.to_vec()))]).unwrap_err();

            let told = refused.to_string();
            assert!(
                told.contains("\"db/pass\"") && told.contains("app.env") && !told.contains("hunter2"),
                "{told}"
            );
        }
    }

    #[test]
    fn json_holds_a_nul_and_any_file_may_be_empty() {
        let nul = composed(ComposedFormat::Json).compose(&[("KEY", SecretBytes::new(vec![0]))]).unwrap();
        assert_eq!(nul.expose_str(), Some("{\n  \"KEY\": \"\\u0000\"\n}\n"));
        assert!(composed(ComposedFormat::Dotenv).compose(&[]).unwrap().is_empty());
    }
}
