//! Composed files: one file made of several objects.
//!
//! A store may hold any bytes. Each format escapes them so that a reader of the file gets exactly those bytes, or
//! refuses a value that the format cannot hold.

mod dotenv;
mod escape;
mod json;
mod pem;
mod properties;
mod read;
mod template;
mod verify;
mod yaml;

pub(crate) use read::{FORMATS, read};
pub use template::Template;
pub use verify::{clashes, verify};

use provider::{Error, ErrorKind, Result, SecretBytes};

use self::escape::Put;
use crate::{Composed, ComposedFormat};

/// Pairs of a key in the file and its text.
type Values<'a> = &'a [(&'a str, &'a str)];

impl Composed {
    /// Makes the file that holds `values`, each under its key of [`from`](Self::from). The key of a missing object may
    /// be absent from `values`; that does not change the other keys of the file.
    ///
    /// # Errors
    ///
    /// `Invalid` names an object whose value the format cannot hold, for example because it is not UTF-8.
    pub fn compose(&self, values: &[(&str, SecretBytes)]) -> Result<SecretBytes> {
        let mut texts = Vec::with_capacity(values.len());
        for (key, value) in values {
            texts.push((*key, self.text(key, value)?));
        }
        let write = match &self.format {
            ComposedFormat::Dotenv => dotenv::write,
            ComposedFormat::Json => json::write,
            ComposedFormat::Yaml => yaml::write,
            ComposedFormat::Properties => properties::write,
            ComposedFormat::Pem => pem::write,
            ComposedFormat::Template(template) => {
                return template.fill(&texts).map_err(|(key, what)| self.unfit(key, what));
            }
        };
        Ok(page(|put| write(&texts, put)))
    }

    /// `value` as text that the format can hold.
    fn text<'a>(&self, key: &str, value: &'a SecretBytes) -> Result<&'a str> {
        let text = value.expose_str().ok_or_else(|| self.unfit(Some(key), "not UTF-8 text"))?;
        match self.format {
            ComposedFormat::Dotenv if text.contains('\0') => Err(self.unfit(Some(key), "text with a NUL")),
            ComposedFormat::Pem if !pem::is_pem(text) => Err(self.unfit(Some(key), "not PEM")),
            _ => Ok(text),
        }
    }

    fn unfit(&self, key: Option<&str>, what: &str) -> Error {
        let object =
            |key: &str| self.from.iter().find(|(own, _)| own == key).map(|(_, object)| object.clone());
        let message = match key {
            Some(key) => {
                format!(
                    "object {:?} is {what}, which composed file {} cannot hold",
                    object(key).unwrap_or_default(),
                    self.path
                )
            }
            None => format!("composed file {} is {what}", self.path),
        };
        Error::new(ErrorKind::Invalid, message).remedy("mount the object as a file of its own")
    }
}

/// Whether `word` is a valid name of a shell variable, and so a valid key of a template.
fn is_variable(word: &str) -> bool {
    word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

/// Everything that `write` puts, in one buffer of the right size. A buffer that grows would leave copies of secrets
/// behind.
fn page(write: impl Fn(Put<'_>)) -> SecretBytes {
    let mut bytes = 0_usize;
    write(&mut |text| bytes = bytes.saturating_add(text.len()));
    let mut page = Vec::with_capacity(bytes);
    write(&mut |text| page.extend_from_slice(text.as_bytes()));
    SecretBytes::new(page)
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
            (ComposedFormat::Yaml, b"hunter2\xff"),
            (ComposedFormat::Properties, b"hunter2\xff"),
            (ComposedFormat::Pem, b"hunter2"),
            (ComposedFormat::Template(Template::parse("{{ KEY | xml }}").unwrap()), b"hunter2\x01"),
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
