use std::fmt;

use provider::Invalid;

use crate::text::shorten;

/// An error in a manifest file: where it is, what is wrong, why, and how to correct it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Line of the file, from 1, if it is known.
    pub line: Option<usize>,
    /// The key in which the error is: `spec.provider`, or a parameter's key such as `objects[2].secretPath`.
    pub key: String,
    /// What is wrong, in one clause.
    pub reason: String,
    /// What to write instead.
    pub remedy: String,
}

impl Fault {
    pub(crate) fn new(line: usize, key: impl Into<String>, reason: &str, remedy: &str) -> Self {
        Self { line: Some(line), key: key.into(), reason: shorten(reason), remedy: remedy.to_owned() }
    }
}

impl From<Invalid> for Fault {
    fn from(invalid: Invalid) -> Self {
        Self { line: invalid.line, key: invalid.key, reason: invalid.reason, remedy: invalid.remedy }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        write!(f, "{}: {}; {}", self.key, self.reason, self.remedy)
    }
}

impl std::error::Error for Fault {}
