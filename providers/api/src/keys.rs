//! Stores that keep keys which never leave them, and encrypt and decrypt other keys with these.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::{Invalid, ObjectPath, ObjectRef, Parameters, Request, Result, SecretBytes, Source, Workload};

/// What a ciphertext is bound to: names with their values. The same names and values are needed to decrypt it. Not
/// secret: the store may log them, and its policies may look at them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Context(BTreeMap<String, String>);

impl Context {
    /// The same with one more name.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.0.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The names with their values, in order.
    pub fn pairs(&self) -> &BTreeMap<String, String> {
        &self.0
    }
}

/// A ciphertext that a store can decrypt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ciphertext {
    /// The key that decrypts it, as a class writes it for this store.
    pub key: String,
    /// The ciphertext, in the store's own notation. Empty only to have the key judged offline: nothing decrypts it.
    pub text: String,
    /// What it is bound to.
    pub context: Context,
}

/// The objects of a [keyring](Keys::keyring): one for each of `ciphertexts`, with what `request` asks the store for.
///
/// # Errors
///
/// Every fault that `request` finds. Never empty.
pub fn decrypted(
    ciphertexts: &[Ciphertext],
    request: impl Fn(&Ciphertext) -> std::result::Result<Request, Invalid>,
) -> std::result::Result<Vec<ObjectRef>, Vec<Invalid>> {
    let (mut objects, mut faults) = (Vec::new(), Vec::new());
    let many = |_| Invalid::new("objects", "there are too many", "write fewer");
    for (index, ciphertext) in ciphertexts.iter().enumerate() {
        let path = ObjectPath::try_from(index.to_string().as_str()).map_err(many);
        match path.and_then(|path| Ok(ObjectRef::new(path, request(ciphertext)?))) {
            Ok(object) => objects.push(object),
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() { Ok(objects) } else { Err(faults) }
}

/// Whether `text` may be a ciphertext in base64: one of at most `most` bytes, and of one at least.
pub fn is_ciphertext(text: &str, most: usize) -> bool {
    let length = BASE64_STANDARD.decode(text).map(|bytes| bytes.len());
    length.is_ok_and(|length| (1..=most).contains(&length))
}

/// The ciphertext in base64 that a secret holds: bytes as they are, or their base64. `None` if it can be no ciphertext of at
/// most `most` bytes.
pub fn held_ciphertext(held: &[u8], most: usize) -> Option<String> {
    let text = std::str::from_utf8(held).ok().map(|text| text.split_ascii_whitespace().collect::<String>());
    if let Some(text) = text.filter(|text| is_ciphertext(text, most)) {
        return Some(text);
    }
    (1..=most).contains(&held.len()).then(|| BASE64_STANDARD.encode(held))
}

/// What a store made of a plaintext.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encrypted {
    /// The ciphertext, in the store's own notation.
    pub text: String,
    /// The version of the key that made it, if the store tells it.
    pub version: Option<String>,
}

/// A provider whose store encrypts and decrypts.
///
/// Who may do it is the store's decision: a [`Keyring`] logs in for a workload as any source of this provider does.
pub trait Keys: Send + Sync {
    /// A source that decrypts `ciphertexts`: its object at an index is the ciphertext at that index. `parameters` are
    /// those of a class in `namespace`, without a list of objects. Makes no call.
    ///
    /// # Errors
    ///
    /// Every fault of the parameters, the keys and the ciphertexts. Never empty.
    fn keyring(
        &self,
        namespace: &str,
        parameters: &Parameters,
        ciphertexts: &[Ciphertext],
    ) -> std::result::Result<Arc<dyn Keyring>, Vec<Invalid>>;
}

/// The keys of one store, as one class reaches them. As a [`Source`] it decrypts.
#[async_trait]
pub trait Keyring: Source {
    /// Encrypts `plain` with `key`, with the rights of `workload`. `plain` has at most 4 KiB.
    ///
    /// # Errors
    ///
    /// As [`Session::read`](crate::Session::read).
    async fn encrypt(
        &self,
        workload: &Workload,
        key: &str,
        plain: &SecretBytes,
        context: &Context,
    ) -> Result<Encrypted>;
}
