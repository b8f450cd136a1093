use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use fuse_tree::{NodeId, Notice};

/// How many nodes are remembered.
const MOST: usize = 65_536;

/// Nodes of which the kernel keeps pages, for mappings. It keeps them after the mappings are gone, until it is told.
#[derive(Debug, Default)]
pub(crate) struct Filled(Mutex<HashSet<NodeId>>);

impl Filled {
    fn nodes(&self) -> MutexGuard<'_, HashSet<NodeId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The kernel keeps a page of this node.
    pub(crate) fn note(&self, node: NodeId) {
        let mut nodes = self.nodes();
        if nodes.len() < MOST {
            nodes.insert(node);
        }
    }

    /// What the kernel is told when a handle of this node goes.
    pub(crate) fn released(&self, node: NodeId) -> Option<Notice> {
        self.nodes().remove(&node).then_some(Notice::Node(node))
    }

    /// What the kernel is told so that it drops the pages that it keeps of these nodes.
    pub(crate) fn emptied(&self, of: &[NodeId]) -> Vec<Notice> {
        let mut nodes = self.nodes();
        of.iter().filter(|node| nodes.remove(node)).map(|node| Notice::Node(*node)).collect()
    }

    /// What the kernel is told of all of them.
    pub(crate) fn all(&self) -> Vec<Notice> {
        self.nodes().iter().map(|node| Notice::Node(*node)).collect()
    }
}
