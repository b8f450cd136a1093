use crate::node::NodeId;

/// What is at a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A regular file.
    File,
}

/// A time of the clock on the wall, since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moment {
    /// Whole seconds.
    pub seconds: u64,
    /// The rest, below 1,000,000,000.
    pub nanoseconds: u32,
}

/// What `stat` tells of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    /// Its number.
    pub node: NodeId,
    /// What it is.
    pub kind: Kind,
    /// Its length in bytes. 0 for a file whose contents are not known before it is opened.
    pub size: u64,
    /// Permission bits.
    pub mode: u32,
    /// How many names it has.
    pub links: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// When it last changed.
    pub changed: Moment,
    /// Whether all this stays so until a [`Notice`] says otherwise. If not, who wants to know asks each time.
    pub lasts: bool,
}

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it leads to.
    pub node: NodeId,
    /// What that is.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Tells where a listing goes on after this entry. It stays the same while other entries come and go.
    pub cookie: u64,
}

/// What a kernel is to be told, since it may have kept a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The name is gone for good. Who watches what it led to sees it deleted.
    Deleted {
        /// The directory it was in.
        parent: NodeId,
        /// What it led to.
        child: NodeId,
        /// The name.
        name: String,
    },
    /// The name leads nowhere, or somewhere else.
    Entry {
        /// The directory it is in.
        parent: NodeId,
        /// The name.
        name: String,
    },
    /// Attributes and cached pages of the node are no longer true.
    Node(NodeId),
}
