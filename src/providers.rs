//! Which stores this binary can read: the only module that names a provider crate.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use provider::Provider;

/// The providers by the names a class may give.
#[derive(Clone, Default)]
pub struct Providers(BTreeMap<&'static str, Arc<dyn Provider>>);

impl Providers {
    /// Every provider of this binary, to understand classes with and not to read.
    pub fn offline() -> Self {
        Self::default()
    }

    /// Adds `provider` under each of its names.
    #[must_use]
    pub fn with(mut self, provider: &Arc<dyn Provider>) -> Self {
        for name in provider.names() {
            self.0.insert(name, Arc::clone(provider));
        }
        self
    }

    /// The provider of that name.
    pub fn get(&self, name: &str) -> Option<&Arc<dyn Provider>> {
        self.0.get(name)
    }

    /// Every name, in order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.0.keys().copied()
    }
}

impl fmt::Debug for Providers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}
