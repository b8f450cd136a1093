use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Mutex;

use async_trait::async_trait;
use provider::{Error, ErrorKind, Lent, Result, Site};
use tempfile::TempDir;

/// A site for one volume. It lends a temporary directory.
#[derive(Debug, Default)]
pub(crate) struct Place(Mutex<Option<TempDir>>);

#[async_trait]
impl Site for Place {
    fn attributes(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    async fn lend(&self) -> Result<Lent> {
        let failed = |error: std::io::Error| Error::new(ErrorKind::Unavailable, error.to_string());
        let directory = tempfile::tempdir().map_err(failed)?;
        let path = directory.path().to_owned();
        let root = File::open(&path).map_err(failed)?.into();
        *self.0.lock().unwrap() = Some(directory);
        Ok(Lent { path, root })
    }

    async fn take_back(&self) -> Result<()> {
        *self.0.lock().unwrap() = None;
        Ok(())
    }
}
