//! A store in a directory of its own, and its readers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use provider::{
    Error, ErrorKind, Identity, Object, Parameters, Provider, SecretBytes, Source, Tenure, Workload,
};
use provider_store::{
    Account, Anchor, Ciphertext, EmbeddedStore, Item, Name, Put, RootKey, RootKeySource, ServiceAccounts,
    Store, Values,
};
use tempfile::TempDir;

/// The default of `secretfs store delete`.
pub(crate) const KEPT: Ciphertext = Ciphertext::Kept(Duration::from_secs(7 * 86_400));

/// A store. Its root key is in another directory.
pub(crate) struct Fixture {
    directory: TempDir,
    keys: TempDir,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let fixture = Self { directory: tempfile::tempdir().unwrap(), keys: tempfile::tempdir().unwrap() };
        Store::init(fixture.directory(), &fixture.root()).unwrap();
        fixture
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn root(&self) -> RootKeySource {
        RootKeySource::beside(self.keys.path())
    }

    pub(crate) fn root_file(&self) -> std::path::PathBuf {
        self.keys.path().join("root.key")
    }

    pub(crate) fn unlocked(&self) -> RootKey {
        self.root().unlock().unwrap()
    }

    /// Opens the store as a host that has only the root key's public half.
    pub(crate) fn store(&self) -> Store {
        self.open_as_writer().unwrap()
    }

    pub(crate) fn open_as_writer(&self) -> Result<Store, Error> {
        let nowhere = RootKeySource::File("/nonexistent/root.key".into());
        let anchor = Anchor::new(nowhere).with_public(Some(self.root().public_file()));
        Store::open(self.directory(), &anchor)
    }

    /// Opens the store with its root key.
    pub(crate) fn owner(&self) -> Store {
        self.open_as_owner().unwrap()
    }

    pub(crate) fn open_as_owner(&self) -> Result<Store, Error> {
        Store::open(self.directory(), &Anchor::new(self.root()))
    }

    /// Puts a value as a host without the root key.
    pub(crate) fn put(&self, item: &Item, value: &str) -> Put {
        self.store().put(item, None, &one(value)).unwrap()
    }

    pub(crate) fn put_for(&self, item: &Item, value: &str, accounts: ServiceAccounts) -> Put {
        self.store().put(item, Some(accounts), &one(value)).unwrap()
    }

    pub(crate) fn provider(&self) -> EmbeddedStore {
        EmbeddedStore::new(self.directory().to_owned(), self.root())
    }

    /// The value that a pod of `account` in `namespace` reads, with a new provider at each call.
    pub(crate) fn read(&self, namespace: &str, account: &str, object: &str) -> Result<String, Error> {
        read(&self.provider(), namespace, account, object)
    }

    /// The bytes of all files in the store's directory.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let files = std::fs::read_dir(self.directory()).unwrap();
        files.flat_map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
    }
}

pub(crate) fn item(namespace: &str, name: &str) -> Item {
    Item { namespace: namespace.parse().unwrap(), name: name.parse().unwrap() }
}

pub(crate) fn one(value: &str) -> Values {
    values(&[("value", value)])
}

pub(crate) fn values(values: &[(&str, &str)]) -> Values {
    let pairs =
        values.iter().map(|(key, value)| (key.parse().unwrap(), SecretBytes::from((*value).to_owned())));
    Values::new(pairs.collect::<BTreeMap<Name, SecretBytes>>()).unwrap()
}

pub(crate) fn only(accounts: &[&str]) -> ServiceAccounts {
    ServiceAccounts::Only(accounts.iter().map(|name| name.parse().unwrap()).collect::<BTreeSet<Account>>())
}

pub(crate) fn source(provider: &EmbeddedStore, object: &str) -> Arc<dyn Source> {
    let objects = format!("- {{objectName: file, {object}}}");
    provider.source("shop", &Parameters::from([("objects".to_owned(), objects)])).unwrap()
}

pub(crate) fn workload(namespace: &str, account: &str) -> Workload {
    Workload {
        identity: Identity::named(namespace, account),
        pod: None,
        volume: "volume".to_owned(),
        tokens: BTreeMap::new(),
        credentials: BTreeMap::new(),
    }
}

pub(crate) async fn fetch(source: &dyn Source, workload: &Workload) -> Result<Object, Error> {
    let session = source.session(workload, Tenure::Shared).await?;
    let reading = session.read(&source.objects()[0].request).await?;
    source.objects()[0].decoded(source.extract(0, &reading)?)
}

pub(crate) fn read(
    provider: &EmbeddedStore,
    namespace: &str,
    account: &str,
    object: &str,
) -> Result<String, Error> {
    let source = source(provider, object);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let object = runtime.block_on(fetch(&*source, &workload(namespace, account)))?;
    Ok(object.contents.expose_str().unwrap().to_owned())
}

pub(crate) fn kind<T: std::fmt::Debug>(result: Result<T, Error>) -> ErrorKind {
    result.unwrap_err().kind()
}
