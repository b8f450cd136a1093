use std::path::PathBuf;
use std::sync::Arc;

use provider::{Network, Provider, Result, Settings};

use crate::root_file::RootKeySource;
use crate::source::EmbeddedStore;

/// The administrator's settings for the embedded store.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct EmbeddedSettings {
    /// Directory of the embedded store
    #[arg(
        long,
        env = "SECRETFS_STORE",
        default_value = "/var/lib/secretfs/store",
        value_name = "DIR",
        help_heading = "Providers"
    )]
    store: PathBuf,

    /// Root key of the embedded store; by default `root.key` in its directory
    #[arg(long, env = "SECRETFS_ROOT_KEY", value_name = "FILE", help_heading = "Providers")]
    root_key: Option<PathBuf>,
}

impl Settings for EmbeddedSettings {
    fn provider(&self, _network: &Network) -> Result<Arc<dyn Provider>> {
        let root =
            self.root_key.clone().map_or_else(|| RootKeySource::beside(&self.store), RootKeySource::File);
        Ok(Arc::new(EmbeddedStore::new(self.store.clone(), root)))
    }

    fn offline() -> Self {
        Self::default()
    }
}
