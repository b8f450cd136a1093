use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::Behaviour;

/// The instructions of the suite to a stub of a store: how to behave, and which values it has. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Script(Arc<Mutex<Told>>);

#[derive(Debug, Default)]
struct Told {
    behaviour: Behaviour,
    values: BTreeMap<String, String>,
}

impl Script {
    /// As [`Fixture::behave`](crate::Fixture::behave).
    pub fn behave(&self, behaviour: Behaviour) {
        self.lock().behaviour = behaviour;
    }

    /// The current behaviour.
    pub fn behaviour(&self) -> Behaviour {
        self.lock().behaviour
    }

    /// As [`Fixture::put`](crate::Fixture::put).
    pub fn put(&self, name: &str, value: &str) {
        self.lock().values.insert(name.to_owned(), value.to_owned());
    }

    /// The value that was put under `name`.
    pub fn value(&self, name: &str) -> Option<String> {
        self.lock().values.get(name).cloned()
    }

    /// All values that were put, by name.
    pub fn values(&self) -> BTreeMap<String, String> {
        self.lock().values.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
