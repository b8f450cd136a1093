//! The providers of a process, by the names that classes give them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::Provider;

/// Finds a provider that is not built in, by its name.
type Lookup = dyn Fn(&str) -> Option<Arc<dyn Provider>> + Send + Sync;

/// The providers, by the names that a class may use.
#[derive(Clone, Default)]
pub struct Providers {
    built_in: BTreeMap<&'static str, Arc<dyn Provider>>,
    /// Finds providers that are not built in, if they are allowed.
    others: Option<Arc<Lookup>>,
}

impl Providers {
    /// Adds `provider` under each of its names.
    #[must_use]
    pub fn with(mut self, provider: &Arc<dyn Provider>) -> Self {
        for name in provider.names() {
            self.built_in.insert(name, Arc::clone(provider));
        }
        self
    }

    /// Uses `others` for names that are not built in, at each lookup.
    #[must_use]
    pub fn with_others(
        self,
        others: impl Fn(&str) -> Option<Arc<dyn Provider>> + Send + Sync + 'static,
    ) -> Self {
        Self { others: Some(Arc::new(others)), ..self }
    }

    /// The provider with this name: a built-in one, or one of the others. That one need not exist.
    pub fn get(&self, name: &str) -> Option<Arc<dyn Provider>> {
        self.built_in.get(name).cloned().or_else(|| self.others.as_ref()?(name))
    }

    /// How often watches of built-in providers ended unexpectedly and were restarted, each with the provider's first
    /// name.
    pub fn watch_restarts(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let firsts = self.built_in.iter().filter(|(name, provider)| provider.names().first() == Some(*name));
        firsts.map(|(name, provider)| (*name, provider.watch_restarts()))
    }

    /// The names of the built-in providers, in order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.built_in.keys().copied()
    }
}

impl fmt::Debug for Providers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Invalid, Parameters, Source};

    #[derive(Debug)]
    struct Named(&'static [&'static str]);

    impl Provider for Named {
        fn names(&self) -> &'static [&'static str] {
            self.0
        }

        fn default_refresh(&self) -> Duration {
            Duration::ZERO
        }

        fn source(&self, _: &str, _: &Parameters) -> Result<Arc<dyn Source>, Vec<Invalid>> {
            Err(Vec::new())
        }
    }

    fn provider(names: &'static [&'static str]) -> Arc<dyn Provider> {
        Arc::new(Named(names))
    }

    #[test]
    fn what_is_built_in_goes_before_what_is_found_elsewhere() {
        let providers = Providers::default().with(&provider(&["vault", "openbao"]));
        assert!(providers.get("acme").is_none());

        let providers = providers.with_others(|name| (name != "none").then(|| provider(&["other"])));

        assert_eq!(providers.get("openbao").unwrap().names(), ["vault", "openbao"]);
        assert_eq!(providers.get("acme").unwrap().names(), ["other"]);
        assert!(providers.get("none").is_none());
        assert_eq!(providers.names().collect::<Vec<_>>(), ["openbao", "vault"]);
    }

    #[test]
    fn a_provider_with_two_names_tells_of_its_watches_once() {
        let providers = Providers::default().with(&provider(&["vault", "openbao"]));
        assert_eq!(providers.watch_restarts().collect::<Vec<_>>(), [("vault", 0)]);
    }
}
