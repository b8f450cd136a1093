//! The store as a [`Provider`].

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use async_trait::async_trait;
use provider::{
    Changes, Error, ErrorKind, Invalid, ObjectRef, Origin, Parameters, Provider, Reading, Request, Restarts,
    Result, Scope, Session, Source, Tenure, Workload, for_current_tenant,
};

use crate::declaration::DECLARATION;
use crate::name::{Account, Item, Name};
use crate::objects::{self, Asked};
use crate::pool::Turns;
use crate::read::{Reader, Wanted};
use crate::root_file::RootKeySource;
use crate::watch::Watcher;

/// The name of the store in `directory`, for audit records, volumes and outages.
pub fn store_name(directory: &Path) -> String {
    format!("secretfs:{}", directory.display())
}

/// Reads the embedded store for workloads: `provider: secretfs`.
#[derive(Debug)]
pub struct EmbeddedStore(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// The name by which outages are counted.
    name: String,
    reader: Reader,
    turns: Turns,
    /// Lives as long as somebody subscribes to changes.
    watcher: Mutex<Weak<Watcher>>,
    restarts: Arc<Restarts>,
}

impl EmbeddedStore {
    /// A provider for the store in `directory`, opened with `root`. It opens nothing before the first read.
    pub fn new(directory: PathBuf, root: RootKeySource) -> Self {
        let name = store_name(&directory);
        let (watcher, restarts) = (Mutex::new(Weak::new()), Arc::default());
        let (reader, turns) = (Reader::new(directory, root), Turns::default());
        Self(Arc::new(Shared { name, reader, turns, watcher, restarts }))
    }
}

impl Shared {
    fn watcher(&self) -> std::io::Result<Arc<Watcher>> {
        let mut slot = self.watcher.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = slot.upgrade() {
            return Ok(running);
        }
        let directory = self.reader.directory().to_owned();
        let started = Arc::new(Watcher::start(directory, Arc::clone(&self.restarts))?);
        *slot = Arc::downgrade(&started);
        Ok(started)
    }
}

impl Provider for EmbeddedStore {
    provider::as_declared!(DECLARATION);

    fn source(
        &self,
        _namespace: &str,
        parameters: &Parameters,
    ) -> std::result::Result<Arc<dyn Source>, Vec<Invalid>> {
        let objects = objects::read(parameters)?;
        Ok(Arc::new(ItemSource { shared: Arc::clone(&self.0), objects }))
    }

    fn watch_restarts(&self) -> u64 {
        self.0.restarts.get()
    }
}

#[derive(Debug)]
struct ItemSource {
    shared: Arc<Shared>,
    objects: Vec<ObjectRef>,
}

#[async_trait]
impl Source for ItemSource {
    fn store(&self) -> &str {
        &self.shared.name
    }

    fn objects(&self) -> &[ObjectRef] {
        &self.objects
    }

    async fn session(&self, workload: &Workload, _tenure: Tenure) -> Result<Arc<dyn Session>> {
        let account = match workload.identity.name.as_str() {
            "" => None,
            account => Some(Account::reading(account.parse()?, workload.identity.uid.as_deref())),
        };
        Ok(Arc::new(ItemSession {
            identity: workload.identity.to_string(),
            namespace: workload.identity.namespace.parse()?,
            account,
            shared: Arc::clone(&self.shared),
        }))
    }

    fn requests_per_call(&self, _index: usize) -> Option<NonZeroUsize> {
        None
    }

    fn origin(&self, index: usize) -> Origin {
        let asked = self.objects.get(index).and_then(|object| Asked::parse(&object.request.text).ok());
        Origin {
            address: self.shared.name.clone(),
            scope: Scope::OfWorkload,
            path: asked.as_ref().map_or_else(String::new, |asked| asked.item.to_string()),
            key: asked.map(|asked| asked.key.to_string()),
        }
    }

    fn changes(&self) -> Option<Box<dyn Changes>> {
        match self.shared.watcher() {
            Ok(watcher) => Some(Box::new(watcher.subscribe())),
            Err(error) => {
                tracing::warn!(store = self.shared.name, %error, "cannot watch the store: changes are seen at the next refresh");
                None
            }
        }
    }
}

/// A session without a login: kubelet vouches for the pod, and a plain host for its own class.
#[derive(Debug)]
struct ItemSession {
    identity: String,
    namespace: Name,
    account: Option<Account>,
    shared: Arc<Shared>,
}

#[async_trait]
impl Session for ItemSession {
    fn identity(&self) -> &str {
        &self.identity
    }

    async fn read(&self, request: &Request) -> Result<Reading> {
        let Asked { item, key, version } = Asked::parse(&request.text)?;
        let item = Item { namespace: self.namespace.clone(), name: item };
        let turn = self.shared.turns.of(&self.namespace).await?;
        let (wanted, account, shared) =
            (Wanted { item, key, version }, self.account.clone(), Arc::clone(&self.shared));
        let read = move || {
            let _turn = turn;
            shared.reader.read(&wanted, account.as_ref())
        };
        let stopped = |_| Error::new(ErrorKind::Unavailable, "the read was stopped: secretfs is ending");
        let found = tokio::task::spawn_blocking(for_current_tenant(read)).await.map_err(stopped)??;
        Ok(Reading { body: found.value, version: Some(found.version.to_string()), validity: None })
    }
}
