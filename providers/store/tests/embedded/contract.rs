//! Runs the contract suite against the embedded store.

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use provider::{ErrorKind, Parameters, Provider, Workload};
use provider_contract::{Behaviour, Clause, Fixture, Said, Traffic, Who, pod};
use provider_store::ServiceAccounts;

use crate::fixture::{self, KEPT, item, one};

#[tokio::test]
async fn the_embedded_store_keeps_the_contract_of_all_providers() {
    let store = Kept { store: fixture::Fixture::new(), value: Mutex::default() };
    provider_contract::verify(&store).await;
}

struct Kept {
    store: fixture::Fixture,
    /// The value of `mine`.
    value: Mutex<String>,
}

const DENIED: usize = 0;
const DELETED: usize = 1;
const NO_ROOT_KEY: usize = 2;

impl Kept {
    fn accounts() -> ServiceAccounts {
        fixture::only(&["till=uid-of-till"])
    }

    fn hidden_root_key(&self) -> std::path::PathBuf {
        self.store.root_file().with_extension("away")
    }

    fn says(&self, index: usize) {
        let mine = item("shop", "mine");
        match index {
            DENIED => drop(self.store.put_for(&mine, "x", fixture::only(&["other"]))),
            DELETED => drop(self.store.store().delete(&mine, None, KEPT).unwrap()),
            NO_ROOT_KEY => fs::rename(self.store.root_file(), self.hidden_root_key()).unwrap(),
            _ => unreachable!("there are three answers"),
        }
    }

    fn serve(&self) {
        if self.hidden_root_key().exists() {
            fs::rename(self.hidden_root_key(), self.store.root_file()).unwrap();
        }
        let value = self.value.lock().unwrap().clone();
        if !value.is_empty() {
            self.put("mine", &value);
        }
    }
}

impl Fixture for Kept {
    fn test(&self) -> &'static str {
        "contract::the_embedded_store_keeps_the_contract_of_all_providers"
    }

    fn provider(&self) -> Arc<dyn Provider> {
        Arc::new(self.store.provider())
    }

    fn parameters(&self, names: &[&str]) -> Parameters {
        let object = |name: &&str| format!("- {{objectName: {name}, item: {name}}}\n");
        Parameters::from([("objects".to_owned(), names.iter().map(object).collect())])
    }

    fn nonsense(&self) -> Option<Parameters> {
        Some(Parameters::from([("objects".to_owned(), "- {objectName: a, item: ../outside}".to_owned())]))
    }

    /// The store needs no token, because kubelet vouches for the pod.
    fn workload(&self, who: Who, volume: &str) -> Workload {
        let mut workload = pod(who, volume);
        workload.tokens.insert("anything".to_owned(), provider_contract::token(who));
        workload
    }

    fn put(&self, name: &str, value: &str) {
        if name == "mine" {
            *self.value.lock().unwrap() = value.to_owned();
        }
        self.store.store().put(&item("shop", name), Some(Self::accounts()), &one(value)).unwrap();
    }

    fn behave(&self, behaviour: Behaviour) {
        match behaviour {
            Behaviour::Says(index) => self.says(index),
            _ => self.serve(),
        }
    }

    fn answers(&self) -> Vec<Said> {
        vec![
            Said { what: "an item for another account", kind: ErrorKind::Denied },
            Said { what: "an item that was deleted", kind: ErrorKind::Revoked },
            Said { what: "a root key that is not there", kind: ErrorKind::Unavailable },
        ]
    }

    fn never(&self) -> Vec<(ErrorKind, &'static str)> {
        vec![
            (ErrorKind::NotFound, "an item that was put is never not found: Calls asks for one that was not"),
            (ErrorKind::Invalid, "a class that could never work is refused before anything is read"),
            (ErrorKind::Unauthenticated, "kubelet vouches for who reads"),
            (ErrorKind::NoCredential, "it takes none to read"),
        ]
    }

    fn exempt(&self) -> Vec<(Clause, &'static str)> {
        vec![
            (Clause::Logins, "there are none"),
            (
                Clause::Bounds,
                "its answers are rows of a file, bounded by SQLite's limits: see the tests of hostile databases",
            ),
            (
                Clause::Deadlines,
                "nobody is waited for: who locks the file for long is in the tests of reading",
            ),
            (Clause::Cancellation, "a reading is a file that is read, and makes no connection"),
            (Clause::Durations, "it tells none"),
        ]
    }

    fn traffic(&self) -> Traffic {
        Traffic { logins: 0, reads: 0, open: 0 }
    }

    /// The embedded store receives no tokens.
    fn saw(&self, _text: &str) -> bool {
        false
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(5)
    }
}
