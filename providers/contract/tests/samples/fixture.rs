use std::sync::Arc;
use std::time::Duration;

use provider::{ErrorKind, Parameters, Provider, Workload};
use provider_contract::{Behaviour, Clause, Fixture, Said, Traffic, Who, pod, token};

use crate::flawed::Flaw;
use crate::server::Server;

/// The server of a shelf, and a provider for it.
pub(crate) struct Shelves {
    test: &'static str,
    flaw: Option<Flaw>,
    server: Server,
    make: Box<dyn Fn(String) -> Arc<dyn Provider> + Send + Sync>,
}

impl Shelves {
    pub(crate) fn new(
        test: &'static str,
        flaw: Option<Flaw>,
        make: impl Fn(String) -> Arc<dyn Provider> + Send + Sync + 'static,
    ) -> Self {
        Self { test, flaw, server: Server::start(), make: Box::new(make) }
    }
}

fn objects(text: String) -> Parameters {
    Parameters::from([("objects".to_owned(), text)])
}

impl Fixture for Shelves {
    fn test(&self) -> &'static str {
        self.test
    }

    fn provider(&self) -> Arc<dyn Provider> {
        (self.make)(self.server.address.to_string())
    }

    fn parameters(&self, names: &[&str]) -> Parameters {
        objects(names.join(","))
    }

    fn nonsense(&self) -> Option<Parameters> {
        Some(objects("../outside".to_owned()))
    }

    fn workload(&self, who: Who, volume: &str) -> Workload {
        let mut workload = pod(who, volume);
        workload.tokens.insert("shelf".to_owned(), token(who));
        workload
    }

    fn put(&self, name: &str, value: &str) {
        self.server.state.script.put(name, value);
    }

    fn behave(&self, behaviour: Behaviour) {
        self.server.state.script.behave(behaviour);
    }

    /// The meaning of `server::SIGNS`.
    fn answers(&self) -> Vec<Said> {
        vec![
            Said { what: "there is none", kind: ErrorKind::NotFound },
            Said { what: "a refusal", kind: ErrorKind::Denied },
            Said { what: "nonsense", kind: ErrorKind::Unavailable },
            Said { what: "nothing", kind: ErrorKind::Unavailable },
        ]
    }

    fn never(&self) -> Vec<(ErrorKind, &'static str)> {
        vec![
            (ErrorKind::Invalid, "a name that is a path is one of a shelf"),
            (ErrorKind::Revoked, "a shelf does not tell what it had"),
            (ErrorKind::Unauthenticated, "a shelf refuses whom it does not know as whom it does"),
        ]
    }

    fn exempt(&self) -> Vec<(Clause, &'static str)> {
        match self.flaw {
            Some(Flaw::LogsInAlways) => Vec::new(),
            _ => vec![(Clause::Logins, "there are none")],
        }
    }

    fn traffic(&self) -> Traffic {
        self.server.state.traffic()
    }

    fn saw(&self, text: &str) -> bool {
        self.server.state.seen.lock().unwrap().contains(text)
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(1)
    }
}
