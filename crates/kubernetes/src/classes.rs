//! The classes of the whole cluster, which one watch keeps in memory.
//!
//! Needs `list` and `watch` on `secretproviderclasses`. While the API server is away, the known classes stay known.

pub(super) mod object;
mod watching;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use class::{ClassName, Classes, Error};
use manifest::Class;
use tokio::sync::watch;

pub use watching::Watch;

/// A class, or what is wrong with it.
type Known = Result<Arc<Class>, String>;
type ByName = HashMap<ClassName, Known>;

/// The current classes of the cluster.
#[derive(Debug)]
pub struct ApiClasses {
    state: RwLock<State>,
    changes: watch::Sender<u64>,
}

#[derive(Debug)]
struct State {
    by_name: ByName,
    /// Why an unknown class may exist nevertheless, if that is possible.
    doubt: Option<String>,
}

/// No classes yet. A [`Watch`] fills them in.
impl Default for ApiClasses {
    fn default() -> Self {
        let doubt = Some("the API server has not listed them yet".to_owned());
        let state = RwLock::new(State { by_name: HashMap::new(), doubt });
        Self { state, changes: watch::Sender::new(0) }
    }
}

impl ApiClasses {
    /// Replaces all classes.
    fn fill(&self, by_name: ByName) {
        self.change(|state| {
            let changed = state.doubt.is_some() || state.by_name != by_name;
            *state = State { by_name, doubt: None };
            changed
        });
    }

    fn put(&self, name: ClassName, known: Known) {
        self.change(|state| {
            let same = state.by_name.get(&name) == Some(&known);
            state.by_name.insert(name, known);
            !same
        });
    }

    fn remove(&self, name: &ClassName) {
        self.change(|state| state.by_name.remove(name).is_some());
    }

    /// Records that the API server cannot be asked, for `reason`. Known classes stay.
    fn doubt(&self, reason: String) {
        self.change(|state| {
            state.doubt = Some(reason);
            false
        });
    }

    /// Records that the API server can be asked again. The watch went on where it ended, so no change was missed.
    fn trust(&self) {
        self.change(|state| state.doubt.take().is_some());
    }

    fn change(&self, change: impl FnOnce(&mut State) -> bool) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let changed = change(&mut state);
        drop(state);
        if changed {
            self.changes.send_modify(|count| *count += 1);
        }
    }

    /// The number of classes that can be used, and of those that are broken.
    fn count(&self) -> (usize, usize) {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let broken = state.by_name.values().filter(|known| known.is_err()).count();
        (state.by_name.len() - broken, broken)
    }
}

#[async_trait]
impl Classes for ApiClasses {
    async fn get(&self, name: &ClassName) -> Result<Arc<Class>, Error> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        match (state.by_name.get(name), &state.doubt) {
            (Some(Ok(class)), _) => Ok(Arc::clone(class)),
            (Some(Err(fault)), _) => Err(Error::Invalid(fault.clone())),
            (None, None) => Err(Error::NotFound(name.clone())),
            (None, Some(doubt)) => Err(Error::NotYet(format!(
                "failed to get secretproviderclass {name}: this node does not know of it, and {doubt}"
            ))),
        }
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

#[cfg(test)]
mod tests;
