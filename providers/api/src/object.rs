use std::sync::Arc;

use crate::{Encoding, Error, ErrorKind, FileMode, ObjectPath, Result, SecretBytes, Span};

/// What to read and where the volume shows it.
#[derive(Debug, Clone)]
pub struct ObjectRef {
    /// `objectName` as the class writes it. Composed files and messages use it.
    pub name: String,
    /// Where the file appears, relative to the volume's root.
    pub path: ObjectPath,
    /// Permission bits, if the class sets them.
    pub mode: Option<FileMode>,
    /// The store call that returns it.
    pub request: Request,
    /// Whether the object may be missing in the store.
    pub optional: bool,
    /// What to show if the store does not have the object.
    pub default: Option<String>,
    /// How the store holds the contents. The file shows the decoded value.
    pub encoding: Encoding,
    /// A JMESPath expression for the decoded value, for stores without an expression of their own.
    pub jmes_path: Option<String>,
    /// Whether it is a file of its own. `false` if only composed files show it.
    pub file: bool,
}

impl ObjectRef {
    /// A required object: a file at `path` that shows the answer to `request`.
    pub fn new(path: ObjectPath, request: Request) -> Self {
        Self {
            name: path.to_string(),
            path,
            mode: None,
            request,
            optional: false,
            default: None,
            encoding: Encoding::None,
            jmes_path: None,
            file: true,
        }
    }

    /// Decodes `found`.
    ///
    /// # Errors
    ///
    /// `Invalid` if it is not in that encoding.
    pub fn decoded(&self, found: Object) -> Result<Object> {
        let contents = self.encoding.decode(&found.contents).ok_or_else(|| {
            Error::new(ErrorKind::Invalid, format!("the value is not {}", self.encoding.name()))
                .remedy("put it in that encoding, or correct `encoding`")
        })?;
        Ok(Object { contents, ..found })
    }
}

/// Where a store keeps an object, in the store's own words. Not secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The store's address: a URL, or a directory or socket on this machine.
    pub address: String,
    /// The part of the store that has the object.
    pub scope: Scope,
    /// The path or name of the secret in that part.
    pub path: String,
    /// The key inside the secret, if the secret has several.
    pub key: Option<String>,
}

/// The part of a store that has an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// The store has no parts, or the object is in none of them.
    Whole,
    /// The namespace with this name, in the store's own sense of the word.
    Named(String),
    /// The part that has the same name as the workload's namespace.
    OfWorkload,
}

/// One call to a store. Equal requests by equal identities become one call.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Request {
    /// Everything that the provider needs to make the call, in canonical form. Not secret.
    pub text: Arc<str>,
    /// Who may use the answer.
    pub ownership: Ownership,
}

impl Request {
    /// A call whose answer every volume with the same identity may use.
    pub fn shared(text: impl Into<Arc<str>>) -> Self {
        Self { text: text.into(), ownership: Ownership::Shared }
    }
}

/// Who may use a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ownership {
    /// Every volume with the same identity. It is read again when it is too old.
    Shared,
    /// One volume only, because the call creates something new (a certificate, a login). It is read again only near the
    /// end of its validity, after an edit of the class, or on demand.
    Volume,
}

/// A store's answer to one request.
#[derive(Debug, Clone)]
pub struct Reading {
    /// The answer, in a form that the same provider's `extract` understands.
    pub body: SecretBytes,
    /// The store's own name for this version, if it has one. Not secret.
    pub version: Option<String>,
    /// How long it is valid, if it ends by itself.
    pub validity: Option<Validity>,
}

impl Reading {
    /// An answer without a version that is valid until it is read again.
    pub fn new(body: SecretBytes) -> Self {
        Self { body, version: None, validity: None }
    }
}

/// The lifetime of something that ends by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validity {
    /// Its length, from the time of the reading or of the last renewal.
    pub duration: Span,
    /// Whether the store renews it on request.
    pub renewable: bool,
    /// The lease that it belongs to. A reading with a lease belongs to the volume that read it.
    pub lease: Option<LeaseId>,
}

/// A store's name for a lease. Not secret, because it grants no access.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LeaseId(pub String);

/// The contents of one file, as a class asked for it.
#[derive(Debug, Clone)]
pub struct Object {
    /// What the file holds.
    pub contents: SecretBytes,
    /// The bytes that decide whether two versions differ, if those are not the contents. Example: an answer with a
    /// request id is different at every read, though it means the same.
    pub significant: Option<SecretBytes>,
    /// The store's own name for this version, if it has one. Not secret.
    pub version: Option<String>,
}
