use std::path::PathBuf;
use std::sync::Arc;

use crate::{Provider, Result};

/// How stores over a network are reached: the administrator's word, for stores of every kind.
#[derive(Debug, Clone, Default)]
pub struct Network {
    /// Folder below which the certificate paths of classes are looked up. Without it a class may name none.
    pub tls_dir: Option<PathBuf>,
    /// Whether classes may ask for stores over HTTP, and for TLS that is not verified.
    pub allow_insecure: bool,
    /// Whether TLS before 1.3 is refused.
    pub tls13_only: bool,
    /// URL of the proxy to go through.
    pub proxy: Option<String>,
    /// Hosts to reach without it, as in `NO_PROXY`.
    pub no_proxy: Option<String>,
}

/// What an administrator sets for one kind of store: its own group of flags, as it is typed.
pub trait Settings: Sized {
    /// The kind of store with these settings. It connects when it is asked to.
    ///
    /// # Errors
    ///
    /// A setting could never work.
    fn provider(&self, network: &Network) -> Result<Arc<dyn Provider>>;

    /// Settings to understand classes with, and not to read: what a class may leave to the settings is there.
    fn offline() -> Self;
}
