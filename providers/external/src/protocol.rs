use std::sync::Arc;
use std::time::Duration;

use provider::{Invalid, Parameters, Provider, Source};

use crate::socket::Sockets;
use crate::source::ExternalSource;

/// How old an answer may grow where the class does not say: what the upstream driver waits between two.
const REFRESH: Duration = Duration::from_secs(120);

/// One external provider. It need not be there yet.
#[derive(Debug)]
pub struct External {
    name: Arc<str>,
    sockets: Arc<Sockets>,
}

impl External {
    /// The provider of that name, if a provider can have it.
    pub fn named(name: &str, sockets: &Arc<Sockets>) -> Option<Self> {
        crate::is_name(name).then(|| Self { name: name.into(), sockets: Arc::clone(sockets) })
    }
}

impl Provider for External {
    /// None of its own: the file of its socket names it.
    fn names(&self) -> &'static [&'static str] {
        &[]
    }

    fn default_refresh(&self) -> Duration {
        REFRESH
    }

    /// What the parameters mean is the provider's business; it says so when it is asked.
    fn source(
        &self,
        _namespace: &str,
        parameters: &Parameters,
    ) -> std::result::Result<Arc<dyn Source>, Vec<Invalid>> {
        Ok(Arc::new(ExternalSource::new(&self.name, &self.sockets, parameters)))
    }
}
