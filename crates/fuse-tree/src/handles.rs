//! Contents that were asked for when a file was opened, until the last handle goes.

use std::collections::HashMap;
use std::sync::Arc;

use crate::contents::Contents;
use crate::node::{NodeId, PathId};

/// Set in the handles of files whose contents were asked for; the rest is the version. Other handles are the number of
/// an edition.
const ASKED: u64 = 1 << 63;

/// The version that a handle shows, if somebody was asked for it.
pub(crate) fn asked_version(handle: u64) -> Option<u64> {
    (handle & ASKED != 0).then_some(handle & !ASKED)
}

/// The handle of contents of this version.
pub(crate) fn asked_handle(version: u64) -> u64 {
    version | ASKED
}

/// Whether two versions have the same handle.
pub(crate) fn is_same_version(one: u64, other: u64) -> bool {
    asked_handle(one) == asked_handle(other)
}

#[derive(Debug, Default)]
pub(crate) struct Handles(HashMap<(NodeId, u64), Held>);

#[derive(Debug)]
struct Held {
    contents: Arc<dyn Contents>,
    count: u64,
}

impl Handles {
    /// One more handle shows these contents.
    pub(crate) fn opened(&mut self, node: NodeId, handle: u64, contents: Arc<dyn Contents>) {
        let held =
            self.0.entry((node, handle)).or_insert_with(|| Held { contents: contents.clone(), count: 0 });
        held.count += 1;
        held.contents = contents;
    }

    /// Contents for handles whose contents were taken back, or for one of an earlier process, which nobody has counted.
    pub(crate) fn found_again(&mut self, node: NodeId, handle: u64, contents: Arc<dyn Contents>) {
        let held = self.0.entry((node, handle));
        held.and_modify(|held| held.contents = contents.clone()).or_insert(Held { contents, count: 1 });
    }

    pub(crate) fn released(&mut self, node: NodeId, handle: u64) {
        if let Some(held) = self.0.get_mut(&(node, handle)) {
            held.count = held.count.saturating_sub(1);
            if held.count == 0 {
                self.0.remove(&(node, handle));
            }
        }
    }

    /// The length of the longest contents that handles of the node show, or showed before they were taken back: who
    /// maps the file goes by it. `None` without handles.
    pub(crate) fn longest(&self, node: NodeId) -> Option<u64> {
        let of_node = self.0.iter().filter(|((of, _), _)| *of == node);
        of_node.map(|(_, held)| held.contents.len()).max()
    }

    pub(crate) fn contents(&self, node: NodeId, handle: u64) -> Option<&Arc<dyn Contents>> {
        self.0.get(&(node, handle)).map(|held| &held.contents)
    }

    /// Lets go what handles of the path show.
    pub(crate) fn withdraw(&mut self, path: PathId) {
        self.0.retain(|(node, _), _| node.path() != path);
    }
}
