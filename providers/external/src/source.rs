//! What one class asks of an external provider, and the last answer.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use provider::{
    Error, ErrorKind, Object, ObjectRef, Ownership, Parameters, Reading, Request, Result, Session, Site,
    Source, Tenure, Whole, Workload,
};

use crate::body::{self, File};
use crate::session::{ExternalSession, Last};
use crate::socket::Sockets;

/// One class at one provider.
#[derive(Debug)]
pub(crate) struct ExternalSource {
    asked: Arc<Asked>,
    store: String,
    whole: Request,
}

/// What is asked, and the last answer.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) provider: Arc<str>,
    pub(crate) sockets: Arc<Sockets>,
    pub(crate) parameters: Parameters,
    pub(crate) last: Mutex<Option<Last>>,
}

impl ExternalSource {
    pub(crate) fn new(provider: &Arc<str>, sockets: &Arc<Sockets>, parameters: &Parameters) -> Self {
        // The parameters select the backend. So the store's name contains them: an outage of one backend is not an
        // outage of all.
        let mut hasher = DefaultHasher::new();
        parameters.hash(&mut hasher);
        let asked = Asked {
            provider: Arc::clone(provider),
            sockets: Arc::clone(sockets),
            parameters: parameters.clone(),
            last: Mutex::default(),
        };
        Self {
            asked: Arc::new(asked),
            store: format!("external provider {provider}, parameters {:016x}", hasher.finish()),
            whole: request(),
        }
    }
}

fn request() -> Request {
    Request { text: "Mount".into(), ownership: Ownership::Shared }
}

#[async_trait]
impl Source for ExternalSource {
    fn store(&self) -> &str {
        &self.store
    }

    /// Always true: only the provider and the CSIDriver object decide which tokens are needed.
    fn needs_credentials(&self) -> bool {
        true
    }

    fn objects(&self) -> &[ObjectRef] {
        &[]
    }

    fn whole(&self) -> Option<&dyn Whole> {
        Some(self)
    }

    async fn session(&self, _workload: &Workload, _tenure: Tenure) -> Result<Arc<dyn Session>> {
        Err(Error::new(ErrorKind::Invalid, "an external provider is asked for the whole volume"))
    }
}

#[async_trait]
impl Whole for ExternalSource {
    fn request(&self) -> &Request {
        &self.whole
    }

    /// Makes no call: every call to an external provider names the workload.
    async fn session(&self, workload: &Workload, site: Arc<dyn Site>) -> Result<Arc<dyn Session>> {
        Ok(Arc::new(ExternalSession::new(&self.asked, workload.clone(), site)))
    }

    fn unpack(&self, reading: &Reading) -> Result<Arc<dyn Source>> {
        let files = body::unpack(&reading.body).ok_or_else(strange)?;
        Ok(Arc::new(Told::new(self.store.clone(), files)))
    }
}

fn strange() -> Error {
    Error::new(ErrorKind::Invalid, "this is no answer of an external provider")
}

/// The files of one answer.
#[derive(Debug)]
struct Told {
    store: String,
    objects: Vec<ObjectRef>,
    files: Vec<File>,
}

impl Told {
    fn new(store: String, files: Vec<File>) -> Self {
        Self { store, objects: files.iter().map(object).collect(), files }
    }
}

fn object(file: &File) -> ObjectRef {
    ObjectRef { mode: Some(file.mode), ..ObjectRef::new(file.path.clone(), request()) }
}

#[async_trait]
impl Source for Told {
    fn store(&self) -> &str {
        &self.store
    }

    fn objects(&self) -> &[ObjectRef] {
        &self.objects
    }

    async fn session(&self, _workload: &Workload, _tenure: Tenure) -> Result<Arc<dyn Session>> {
        Err(Error::new(ErrorKind::Invalid, "an answer cannot be asked"))
    }

    fn extract(&self, index: usize, _reading: &Reading) -> Result<Object> {
        let file = self.files.get(index).ok_or_else(strange)?;
        Ok(Object { contents: file.contents.clone(), significant: None, version: file.version.clone() })
    }
}
