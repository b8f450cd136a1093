//! Writes one audit record for every command, whether it succeeds or fails.

use std::fs::{OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use engine::audit::{Actor, Audit, Destination, Operation, Record, Resource};
use provider_store::{Item, store_name};

use super::PlaceArgs;
use crate::exit::Failure;

/// What a command has touched so far.
#[derive(Debug, Default)]
pub(super) struct Touched(Vec<Resource>);

impl Touched {
    /// Adds `item`, or one version of it.
    pub(super) fn item(&mut self, item: &Item, version: Option<u64>) {
        let (namespace, name) = (item.namespace.to_string(), item.name.to_string());
        let resource = Resource::new("secretfs", format!("{namespace}/{name}"));
        let resource = resource.namespace(&namespace).secret(&name, None);
        self.0.push(match version {
            Some(version) => resource.version(version),
            None => resource,
        });
    }

    /// Adds something that is not an item: the store, a key, a namespace.
    pub(super) fn thing(&mut self, name: impl Into<String>) {
        self.0.push(Resource::new("secretfs", name));
    }
}

impl PlaceArgs {
    /// Runs `work` and records what was done, to which resources, and with which outcome.
    pub(super) fn audited<T>(
        &self,
        operation: Operation,
        work: impl FnOnce(&mut Touched) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        // Opened first: if the user asked for a log that cannot be written, nothing is changed.
        let asked = Audit::to(self.audit_log.iter().cloned()).context("the audit log")?;
        if self.audit_required && operation.is_change() {
            let first = if self.audit_log.is_empty() { &self.own_audit()? } else { &asked };
            let about = Record::new(operation, Actor::person()).resource(self.store_itself()).attempted();
            first.require(&about).context("nothing was changed, for it cannot be recorded: the audit log")?;
        }
        let mut touched = Touched::default();
        let result = work(&mut touched);
        let store = store_name(&self.store);
        let touched = touched.0.into_iter().map(|resource| resource.store(&store));
        let record = Record::new(operation, Actor::person()).resources(touched);
        let record = match &result {
            Ok(_) => record,
            Err(failure) => record.failed(failure),
        };
        let audit = if self.audit_log.is_empty() { self.own_audit()? } else { asked };
        match audit.require(&record) {
            Err(error) if self.audit_required && operation.is_change() => {
                let told = if result.is_ok() { "it was done, but" } else { "it failed, and" };
                Err(anyhow::Error::from(error)
                    .context(format!("{told} what became of it cannot be recorded")))?
            }
            // The log has said so.
            _ => result,
        }
    }

    /// The store's own log. If there is no store, there is no log. If the log cannot be written, a warning says so; where a
    /// record is required, it is an error.
    fn own_audit(&self) -> Result<Audit, Failure> {
        let path = self.audit_file();
        if !self.store.join("store.db").exists() {
            return Ok(Audit::default());
        }
        match make(&path).and_then(|()| Audit::to([Destination::File(path)])) {
            Ok(audit) => Ok(audit),
            Err(error) if self.audit_required => Err(error).context("the audit log")?,
            Err(error) => {
                tracing::warn!(%error, "the audit record of this command is lost");
                Ok(Audit::default())
            }
        }
    }

    fn store_itself(&self) -> Resource {
        let name = store_name(&self.store);
        Resource::new("secretfs", &name).store(&name)
    }

    fn audit_file(&self) -> PathBuf {
        self.store.join("audit.log")
    }
}

/// Makes the log writable for the store's group, because its members put without owning the store.
fn make(path: &Path) -> io::Result<()> {
    match OpenOptions::new().append(true).create_new(true).mode(0o660).open(path) {
        Ok(file) => file.set_permissions(Permissions::from_mode(0o660)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
    }
}
