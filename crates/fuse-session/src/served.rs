use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use fuse_tree::{NodeId, Notice, Volume};

use crate::agreed::Agreed;
use crate::device::Device;

/// How many nodes are remembered of which the kernel may have pages.
const FILLED_MAX: usize = 65_536;

/// One volume that is served.
#[derive(Debug)]
pub struct Served {
    pub(crate) key: u64,
    pub(crate) device: Device,
    agreed: Agreed,
    volume: Arc<Volume>,
    /// Nodes of which the kernel keeps pages, for mappings.
    filled: Mutex<HashSet<NodeId>>,
    /// Requests that wait.
    pub(crate) waiting: AtomicUsize,
    has_ended: AtomicBool,
}

impl Served {
    pub(crate) fn new(key: u64, device: Device, agreed: Agreed, volume: Arc<Volume>) -> Self {
        let (filled, waiting, has_ended) = Default::default();
        Self { key, device, agreed, volume, filled, waiting, has_ended }
    }

    /// What it shows.
    pub fn volume(&self) -> &Arc<Volume> {
        &self.volume
    }

    /// What its kernel agreed to.
    pub fn agreed(&self) -> Agreed {
        self.agreed
    }

    /// Whether it is mounted nowhere any more.
    pub fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Acquire)
    }

    pub(crate) fn end(&self) {
        self.has_ended.store(true, Ordering::Release);
    }

    /// The kernel keeps a page of this node.
    pub(crate) fn fill(&self, node: NodeId) {
        let mut filled = self.filled.lock().unwrap_or_else(PoisonError::into_inner);
        if filled.len() < FILLED_MAX {
            filled.insert(node);
        }
    }

    /// What the kernel is told when a handle of this node goes: pages outlive the mappings that they were for.
    pub(crate) fn released(&self, node: NodeId) -> Option<Notice> {
        let was_filled = self.filled.lock().unwrap_or_else(PoisonError::into_inner).remove(&node);
        was_filled.then_some(Notice::Node(node))
    }

    /// What the kernel is told so that it drops the pages that it keeps of these nodes.
    pub(crate) fn emptied(&self, nodes: &[NodeId]) -> Vec<Notice> {
        let mut filled = self.filled.lock().unwrap_or_else(PoisonError::into_inner);
        nodes.iter().filter(|node| filled.remove(node)).map(|node| Notice::Node(*node)).collect()
    }

    /// Nodes of which the kernel keeps pages, and which no edition has any more.
    pub(crate) fn filled(&self) -> Vec<Notice> {
        let filled = self.filled.lock().unwrap_or_else(PoisonError::into_inner);
        filled.iter().map(|node| Notice::Node(*node)).collect()
    }
}
