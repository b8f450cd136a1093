use std::sync::Arc;
use std::time::Duration;

use provider::{Invalid, Parameters, Provider, Source};

use crate::socket::Sockets;
use crate::source::ExternalSource;

/// The greatest age of an answer, for a class that does not set it. The upstream driver asks as often.
const REFRESH: Duration = Duration::from_secs(120);

/// One external provider. It may start later.
#[derive(Debug)]
pub struct External {
    name: Arc<str>,
    sockets: Arc<Sockets>,
}

impl External {
    /// The provider with this name, if it is a valid name.
    pub fn named(name: &str, sockets: &Arc<Sockets>) -> Option<Self> {
        crate::is_name(name).then(|| Self { name: name.into(), sockets: Arc::clone(sockets) })
    }
}

impl Provider for External {
    /// Empty: the name of the socket's file is the provider's name.
    fn names(&self) -> &'static [&'static str] {
        &[]
    }

    fn default_refresh(&self) -> Duration {
        REFRESH
    }

    /// The provider itself parses the parameters when it is called.
    fn source(
        &self,
        _namespace: &str,
        parameters: &Parameters,
    ) -> std::result::Result<Arc<dyn Source>, Vec<Invalid>> {
        Ok(Arc::new(ExternalSource::new(&self.name, &self.sockets, parameters)))
    }
}
