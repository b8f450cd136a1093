//! Stores that keep keys which never leave them, and encrypt and decrypt other keys with these.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use crate::{Invalid, Parameters, Result, SecretBytes, Source, Workload};

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
