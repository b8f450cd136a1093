//! Classes that tests edit.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use class::{ClassName, Classes};
use manifest::Class;
use tokio::sync::watch;

/// Classes that a test sets.
#[derive(Debug)]
pub(in crate::volume) struct FakeClasses {
    classes: Mutex<BTreeMap<ClassName, Arc<Class>>>,
    /// Whether the classes are unknown, as if the API server did not answer.
    away: AtomicBool,
    changes: watch::Sender<u64>,
}

impl Default for FakeClasses {
    fn default() -> Self {
        Self { classes: Mutex::default(), away: AtomicBool::new(false), changes: watch::Sender::new(0) }
    }
}

impl FakeClasses {
    pub(in crate::volume) fn set(&self, class: Class) {
        let name = ClassName::from(&class);
        self.classes.lock().unwrap().insert(name, Arc::new(class));
        self.changes.send_modify(|count| *count += 1);
    }

    pub(in crate::volume) fn remove(&self, name: &ClassName) {
        self.classes.lock().unwrap().remove(name);
        self.changes.send_modify(|count| *count += 1);
    }

    pub(in crate::volume) fn go_away(&self) {
        self.away.store(true, Ordering::SeqCst);
    }

    pub(in crate::volume) fn return_again(&self) {
        self.away.store(false, Ordering::SeqCst);
        self.changes.send_modify(|count| *count += 1);
    }

    /// Deletes all classes.
    pub(in crate::volume) fn lose_all(&self) {
        self.classes.lock().unwrap().clear();
        self.return_again();
    }
}

#[async_trait]
impl Classes for FakeClasses {
    async fn get(&self, name: &ClassName) -> Result<Arc<Class>, class::Error> {
        if self.away.load(Ordering::SeqCst) {
            return Err(class::Error::NotYet("away".to_owned()));
        }
        let found = self.classes.lock().unwrap().get(name).cloned();
        found.ok_or_else(|| class::Error::NotFound(name.clone()))
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}
