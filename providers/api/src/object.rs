use std::sync::Arc;

use crate::{Encoding, Error, ErrorKind, FileMode, ObjectPath, Result, SecretBytes, Span};

/// What to read and where the volume shows it.
#[derive(Debug, Clone)]
pub struct ObjectRef {
    /// `objectName` as the class writes it: what composed files and messages call it.
    pub name: String,
    /// Where it appears, relative to the volume's root.
    pub path: ObjectPath,
    /// Permission bits, where the class gives them.
    pub mode: Option<FileMode>,
    /// The store call it comes from.
    pub request: Request,
    /// Whether the object may be missing in the store.
    pub optional: bool,
    /// What to show where the store has none.
    pub default: Option<String>,
    /// How the contents are written in the store; the file holds what they stand for.
    pub encoding: Encoding,
    /// A JMESPath expression applied to that, for stores that have none of their own.
    pub jmes_path: Option<String>,
    /// Whether it is a file of its own; `false` for one that only composed files show.
    pub file: bool,
}

impl ObjectRef {
    /// A file at `path` that shows what `request` brings and must be there.
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

    /// `found` without its encoding.
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
    /// The store's address: a URL, or the directory or socket of one on this machine.
    pub address: String,
    /// Which part of the store.
    pub scope: Scope,
    /// The path or name of the secret there.
    pub path: String,
    /// The one of its keys, where the object is one of several.
    pub key: Option<String>,
}

/// Which part of a store an object is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// The store has no parts, or this is in none of them.
    Whole,
    /// The namespace of that name, as the store calls it.
    Named(String),
    /// The one that is called as the workload's namespace.
    OfWorkload,
}

/// One call to a store. Equal requests by equal identities are one call.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Request {
    /// Everything the provider needs to make the call, in its canonical form. Not secret.
    pub text: Arc<str>,
    /// Whose the answer is.
    pub ownership: Ownership,
}

impl Request {
    /// A call whose answer is any volume's that reads as the same identity.
    pub fn shared(text: impl Into<Arc<str>>) -> Self {
        Self { text: text.into(), ownership: Ownership::Shared }
    }
}

/// Whose a reading is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Ownership {
    /// Any volume's that reads as the same identity; read again when it has grown old.
    Shared,
    /// One volume's, because reading makes something new (a certificate, a login);
    /// read again only near the end of its validity, on a class edit or on demand.
    Volume,
}

/// What a store answered to one request.
#[derive(Debug, Clone)]
pub struct Reading {
    /// The answer, in a form that the same provider's `extract` takes apart.
    pub body: SecretBytes,
    /// The store's own name for this version, where it has one. Not secret.
    pub version: Option<String>,
    /// How long it is good for, where it ends by itself.
    pub validity: Option<Validity>,
}

impl Reading {
    /// An answer without a version that is good until it is polled again.
    pub fn new(body: SecretBytes) -> Self {
        Self { body, version: None, validity: None }
    }
}

/// How long something that ends by itself lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validity {
    /// From when it was read or renewed.
    pub duration: Span,
    /// Whether the store prolongs it on request.
    pub renewable: bool,
    /// The lease it hangs on. A reading with a lease belongs to the volume that read it.
    pub lease: Option<LeaseId>,
}

/// A store's name for a lease. Not secret: it grants nothing by itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LeaseId(pub String);

/// One file's worth, as a class asked for it.
#[derive(Debug, Clone)]
pub struct Object {
    /// What the file holds.
    pub contents: SecretBytes,
    /// What tells two versions apart, where that is not the contents
    /// (an answer that carries a request id differs at every read and means the same).
    pub significant: Option<SecretBytes>,
    /// The store's own name for this version, where it has one. Not secret.
    pub version: Option<String>,
}
