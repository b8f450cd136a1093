//! The bundle that a store gives to hosts that only put, and the records that these hosts return.

use std::collections::BTreeMap;

use provider::{Error, ErrorKind, Result, SecretBytes};
use serde::{Deserialize, Serialize};

use crate::envelope::{Binding, SealedVersion};
use crate::keys::{NamespaceKey, Recipient, RootPublic, StoreId};
use crate::name::{Item, Name, ServiceAccounts};
use crate::pin::Pin;

/// The public half of a store. A host can put with it, and cannot read with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    format: BundleFormat,
    store: StoreId,
    root: RootPublic,
    namespaces: Vec<NamespaceKey>,
}

/// A version that another host encrypted, for import into the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    format: RecordFormat,
    pub(crate) store: StoreId,
    /// The item to which the version belongs.
    pub item: Item,
    pub(crate) sealed: SealedVersion,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum BundleFormat {
    #[serde(rename = "secretfs-bundle-1")]
    One,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum RecordFormat {
    #[serde(rename = "secretfs-record-1")]
    One,
}

impl Bundle {
    /// The longest bundle that is read, in bytes. It has room for some ten thousand namespaces.
    pub const MAX_BYTES: u64 = 4 * 1024 * 1024;

    pub(crate) fn new(store: StoreId, root: RootPublic, namespaces: Vec<NamespaceKey>) -> Self {
        Self { format: BundleFormat::One, store, root, namespaces }
    }

    /// Parses a bundle.
    ///
    /// # Errors
    ///
    /// `Invalid`: the text is not a bundle.
    pub fn from_json(text: &[u8]) -> Result<Self> {
        serde_json::from_slice(text).map_err(|error| {
            unlike("a public bundle", &error)
                .remedy("make one with `secretfs store export-public` where the store is")
        })
    }

    /// The store and root key to which the bundle belongs.
    pub(crate) fn pin(&self) -> Pin {
        Pin { store: self.store, root: self.root }
    }

    /// The namespaces that have a key of their own in the bundle. Items of other namespaces are sealed to the root key.
    pub fn namespaces(&self) -> impl Iterator<Item = &Name> {
        self.namespaces.iter().map(|key| &key.namespace)
    }

    /// Encrypts `values` as `version` of `item`, for an import into the store.
    ///
    /// # Errors
    ///
    /// `Invalid`: the values cannot be stored. `Denied`: the root key did not sign the namespace's key.
    pub fn seal(
        &self,
        item: &Item,
        version: u64,
        accounts: &ServiceAccounts,
        values: &Values,
    ) -> Result<Record> {
        let recipient = self.recipient(&item.namespace)?;
        let binding = Binding { store: &self.store, item, version, accounts };
        let sealed = SealedVersion::seal(binding, &recipient, values.as_map())?;
        Ok(Record { format: RecordFormat::One, store: self.store, item: item.clone(), sealed })
    }

    fn recipient(&self, namespace: &Name) -> Result<Recipient> {
        match self.namespaces.iter().find(|key| key.namespace == *namespace) {
            Some(key) => key.recipient(&self.store, &self.root),
            None => Ok(self.root.recipient()),
        }
    }
}

impl Record {
    /// Parses a record.
    ///
    /// # Errors
    ///
    /// `Invalid`: the text is not a record.
    pub fn from_json(text: &[u8]) -> Result<Self> {
        serde_json::from_slice(text).map_err(|error| {
            unlike("a ciphertext record", &error)
                .remedy("make one with `secretfs store put --bundle B --out FILE`")
        })
    }

    /// The number of the version.
    pub fn version(&self) -> u64 {
        self.sealed.version
    }

    /// The keys for which the record has values.
    pub fn keys(&self) -> impl Iterator<Item = &Name> {
        self.sealed.contents.keys()
    }
}

/// The message names the place and not the contents, because the user may have given a file with secret values by
/// mistake.
fn unlike(what: &str, error: &serde_json::Error) -> Error {
    let (line, column) = (error.line(), error.column());
    Error::new(ErrorKind::Invalid, format!("not {what} (line {line}, column {column})"))
}

/// The values of one version, by key. They are within the store's limits.
#[derive(Debug, Clone)]
pub struct Values(BTreeMap<Name, SecretBytes>);

impl Values {
    /// The most bytes of all values of a version together.
    pub const MAX_BYTES: usize = 512 * 1024;
    /// The most keys of a version.
    pub const MAX_KEYS: usize = 100;

    /// Makes values from a map.
    ///
    /// # Errors
    ///
    /// `Invalid`: there are no values, too many values, or too long ones.
    pub fn new(values: BTreeMap<Name, SecretBytes>) -> Result<Self> {
        let bytes: usize = values.values().map(SecretBytes::len).sum();
        if bytes > Self::MAX_BYTES {
            let most = Self::MAX_BYTES / 1024;
            let text =
                format!("the values are longer than {most} KiB, the most that a version of an item holds");
            return Err(Error::new(ErrorKind::Invalid, text).remedy("put them as several items"));
        }
        Self::check(values.len(), bytes)?;
        Ok(Self(values))
    }

    /// Checks the limits. They apply to ciphertext too, which is a little longer because of padding.
    pub(crate) fn check(keys: usize, bytes: usize) -> Result<()> {
        let refuse = |reason: String| Err(Error::new(ErrorKind::Invalid, reason));
        match keys {
            0 => refuse("there is no value to put".to_owned()),
            keys if keys > Self::MAX_KEYS => {
                refuse(format!("{keys} keys are more than the {} that an item may have", Self::MAX_KEYS))
            }
            _ if bytes > 2 * Self::MAX_BYTES => refuse("the ciphertext is too long".to_owned()),
            _ => Ok(()),
        }
    }

    /// The keys.
    pub fn keys(&self) -> impl Iterator<Item = &Name> {
        self.0.keys()
    }

    pub(crate) fn as_map(&self) -> &BTreeMap<Name, SecretBytes> {
        &self.0
    }
}
