//! What a number leads to, and what is told of it.

use std::sync::Arc;

use rustix::io::Errno;

use crate::answer::{Attributes, Entry, Kind};
use crate::contents::{Ask, Contents, Source};
use crate::edition::is_name;
use crate::handles::asked_version;
use crate::layout::{Layout, Place};
use crate::node::{EditionTag, NodeId};
use crate::tree::Tree;
use crate::{DATA, NEXT_DATA};

/// Where a listing puts `.` and `..`.
const SELF_COOKIE: u64 = 1;
const PARENT_COOKIE: u64 = 2;
const LINK_MODE: u32 = 0o777;

/// What a number leads to.
#[derive(Debug)]
pub(crate) enum Spot<'a> {
    Root,
    /// The link [`DATA`] to an edition.
    Data(&'a Layout),
    /// A link in the root that shows a file or directory.
    Top(&'a str),
    /// A directory or file of an edition.
    Inner(Inner<'a>),
}

#[derive(Debug)]
pub(crate) struct Inner<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) place: &'a Place,
    standing: Standing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// A name leads there.
    Own,
    /// Its own edition has no name any more; the one that is shown is meant instead.
    Follows,
    /// No name leads there. Handles may be left.
    Gone,
}

/// Where contents are to come from.
#[derive(Debug, Clone)]
pub(crate) enum Supply {
    Here(Arc<dyn Contents>),
    Ask(Arc<dyn Ask>),
}

impl Supply {
    pub(crate) fn is_here(&self) -> bool {
        matches!(self, Self::Here(_))
    }
}

impl Tree {
    pub(crate) fn resolve(&self, node: NodeId) -> Result<Spot<'_>, Errno> {
        let (tag, path) = (node.edition(), node.path());
        let spot = if node == NodeId::ROOT {
            Some(Spot::Root)
        } else if tag == EditionTag::NONE {
            self.tops.get(&path).map(|name| Spot::Top(name))
        } else if path == self.numbering.data() {
            self.by_tag(tag).or_else(|| self.shown()).map(Spot::Data)
        } else {
            self.inner(node).map(Spot::Inner)
        };
        spot.ok_or(Errno::STALE)
    }

    fn inner(&self, node: NodeId) -> Option<Inner<'_>> {
        let own = self.by_tag(node.edition());
        let named = own.filter(|layout| layout.is_named);
        named
            .and_then(|layout| Inner::named(layout, node, Standing::Own))
            .or_else(|| self.shown().and_then(|layout| Inner::named(layout, node, Standing::Follows)))
            .or_else(|| Inner::gone(own.or_else(|| self.shown())?, node))
    }

    pub(crate) fn lookup(&self, parent: NodeId, name: &str) -> Result<NodeId, Errno> {
        if !is_name(name) {
            return Err(Errno::NOENT);
        }
        match self.resolve(parent)? {
            Spot::Root => self.root_entry(name).map(|(node, _)| node).ok_or(Errno::NOENT),
            Spot::Data(_) | Spot::Top(_) => Err(Errno::NOTDIR),
            Spot::Inner(inner) => inner.child(self, parent, name),
        }
    }

    fn root_entry(&self, name: &str) -> Option<(NodeId, Kind)> {
        let data = |layout: &Layout| (NodeId::new(layout.tag, self.numbering.data()), Kind::Link);
        match name {
            DATA => self.shown().map(data),
            NEXT_DATA => self.next.and_then(|number| self.by_number(number)).map(data),
            name => {
                let top = self.numbering.top(name);
                let link = self.tops.get(&top).filter(|there| *there == name);
                link.map(|_| (NodeId::at_top(top), Kind::Link)).or_else(|| self.edition_entry(name))
            }
        }
    }

    fn edition_entry(&self, name: &str) -> Option<(NodeId, Kind)> {
        let layout = self.by_name(name)?;
        Some((NodeId::new(layout.tag, self.numbering.inner("")), Kind::Directory))
    }

    pub(crate) fn read_link(&self, node: NodeId) -> Result<String, Errno> {
        match self.resolve(node)? {
            Spot::Data(layout) => Ok(layout.edition.name.clone()),
            Spot::Top(name) => Ok(behind_data(name)),
            Spot::Root | Spot::Inner(_) => Err(Errno::INVAL),
        }
    }

    /// What comes after `cookie` in a directory, in the order of cookies.
    pub(crate) fn list(&self, directory: NodeId, cookie: u64) -> Result<Vec<Entry>, Errno> {
        let (parent, mut entries) = match self.resolve(directory)? {
            Spot::Root => (NodeId::ROOT, self.root_entries()),
            Spot::Data(_) | Spot::Top(_) => return Err(Errno::NOTDIR),
            Spot::Inner(inner) => (inner.parent(directory), inner.entries(directory)?),
        };
        let dot =
            |node, name: &str, cookie| Entry { node, kind: Kind::Directory, name: name.to_owned(), cookie };
        entries.push(dot(directory, ".", SELF_COOKIE));
        entries.push(dot(parent, "..", PARENT_COOKIE));
        entries.retain(|entry| entry.cookie > cookie);
        entries.sort_by_key(|entry| entry.cookie);
        Ok(entries)
    }

    fn root_entries(&self) -> Vec<Entry> {
        let editions = self.named().map(|layout| layout.edition.name.as_str());
        let names = editions.chain(self.tops.values().map(String::as_str)).chain([DATA, NEXT_DATA]);
        let entry = |name: &str| {
            let (node, kind) = self.root_entry(name)?;
            let cookie =
                if name == NEXT_DATA { self.numbering.next_data() } else { self.numbering.top(name) };
            Some(Entry { node, kind, name: name.to_owned(), cookie: cookie.cookie() })
        };
        names.filter_map(entry).collect()
    }

    pub(crate) fn attributes(&self, node: NodeId, handle: Option<u64>) -> Result<Attributes, Errno> {
        let spot = self.resolve(node)?;
        let plain = self.plain_attributes(node, &spot);
        let Spot::Inner(inner) = spot else { return Ok(plain) };
        let plain = inner.attributes(&plain);
        if let Some(size) = self.handles.longest(node) {
            return Ok(Attributes { size, lasts: false, ..plain });
        }
        let held = handle.and_then(|handle| self.held(node, handle));
        Ok(match held {
            Some(contents) if contents.len() != plain.size => {
                Attributes { size: contents.len(), lasts: false, ..plain }
            }
            _ => plain,
        })
    }

    /// Attributes of a directory or link.
    fn plain_attributes(&self, node: NodeId, spot: &Spot<'_>) -> Attributes {
        let (kind, size) = match spot {
            Spot::Root | Spot::Inner(_) => (Kind::Directory, 0),
            Spot::Data(layout) => (Kind::Link, layout.edition.name.len()),
            Spot::Top(name) => (Kind::Link, behind_data(name).len()),
        };
        let layout = match spot {
            Spot::Data(layout) => Some(*layout),
            Spot::Inner(inner) => Some(inner.layout),
            Spot::Root | Spot::Top(_) => self.shown(),
        };
        let is_directory = kind == Kind::Directory;
        Attributes {
            node,
            kind,
            size: size as u64,
            mode: if is_directory { self.look.directory_mode } else { LINK_MODE },
            links: if is_directory { 2 } else { 1 },
            uid: self.look.uid,
            gid: self.look.gid,
            changed: layout.map(|layout| layout.edition.changed).unwrap_or_default(),
            lasts: true,
        }
    }

    /// The edition in which a file is opened now, and what it holds there.
    pub(crate) fn to_open(&self, node: NodeId) -> Result<(&Layout, &str, Supply), Errno> {
        let Spot::Inner(inner) = self.resolve(node)? else { return Err(Errno::LOOP) };
        if inner.place.kind() == Kind::Directory {
            return Err(Errno::ISDIR);
        }
        if inner.standing == Standing::Gone {
            return Err(Errno::NOENT);
        }
        let supply = inner.supply().ok_or(Errno::NOENT)?;
        Ok((inner.layout, &inner.place.path, supply))
    }

    /// What a handle shows.
    pub(crate) fn to_read(&self, node: NodeId, handle: u64) -> Result<(&str, Supply), Errno> {
        let number = if asked_version(handle).is_some() { None } else { Some(handle) };
        let layout = match number {
            Some(number) => self.by_number(number).ok_or(Errno::STALE)?,
            None => self.by_tag(node.edition()).or_else(|| self.shown()).ok_or(Errno::STALE)?,
        };
        let place = layout.place(node.path()).ok_or(Errno::STALE)?;
        if let Some(held) = self.handles.contents(node, handle).filter(|held| held.is_here()) {
            return Ok((&place.path, Supply::Here(held.clone())));
        }
        match (layout.file(place).map(|file| &file.source), number) {
            (None, _) => Err(Errno::ISDIR),
            (Some(Source::Withdrawn), _) => Err(Errno::ACCESS),
            (Some(Source::Known(contents)), Some(_)) => Ok((&place.path, Supply::Here(contents.clone()))),
            (Some(Source::Asked(ask)), None) => Ok((&place.path, Supply::Ask(ask.clone()))),
            (Some(Source::Known(_)), None) | (Some(Source::Asked(_)), Some(_)) => Err(Errno::STALE),
        }
    }

    fn held(&self, node: NodeId, handle: u64) -> Option<Arc<dyn Contents>> {
        match self.to_read(node, handle) {
            Ok((_, Supply::Here(contents))) => Some(contents),
            Ok((_, Supply::Ask(_))) | Err(_) => None,
        }
    }
}

impl<'a> Inner<'a> {
    fn named(layout: &'a Layout, node: NodeId, standing: Standing) -> Option<Self> {
        Some(Self { layout, place: layout.named_place(node.path())?, standing })
    }

    fn gone(layout: &'a Layout, node: NodeId) -> Option<Self> {
        Some(Self { layout, place: layout.place(node.path())?, standing: Standing::Gone })
    }

    fn child(&self, tree: &Tree, parent: NodeId, name: &str) -> Result<NodeId, Errno> {
        if self.place.kind() == Kind::File {
            return Err(Errno::NOTDIR);
        }
        let path =
            if self.place.path.is_empty() { name.to_owned() } else { format!("{}/{name}", self.place.path) };
        let id = tree.numbering.inner(&path);
        let child = self.layout.named_place(id).filter(|place| place.path == path);
        child.map(|_| NodeId::new(parent.edition(), id)).ok_or(Errno::NOENT)
    }

    fn parent(&self, directory: NodeId) -> NodeId {
        if self.place.path.is_empty() {
            NodeId::ROOT
        } else {
            NodeId::new(directory.edition(), self.place.parent)
        }
    }

    fn entries(&self, directory: NodeId) -> Result<Vec<Entry>, Errno> {
        let children = self.place.children.as_ref().ok_or(Errno::NOTDIR)?;
        let entry = |(id, name): (_, &String)| {
            let kind = self.layout.named_place(id)?.kind();
            let node = NodeId::new(directory.edition(), id);
            Some(Entry { node, kind, name: name.clone(), cookie: id.cookie() })
        };
        Ok(children.iter().map(|(id, name)| (*id, name)).filter_map(entry).collect())
    }

    fn supply(&self) -> Option<Supply> {
        match &self.layout.file(self.place)?.source {
            Source::Known(contents) => Some(Supply::Here(contents.clone())),
            Source::Asked(ask) => Some(Supply::Ask(ask.clone())),
            Source::Withdrawn => None,
        }
    }

    fn attributes(&self, plain: &Attributes) -> Attributes {
        let is_own = self.standing == Standing::Own;
        let Some(file) = self.layout.file(self.place) else {
            return Attributes { lasts: is_own, ..plain.clone() };
        };
        let (size, is_known) = match &file.source {
            Source::Known(contents) => (contents.len(), true),
            Source::Asked(_) | Source::Withdrawn => (0, false),
        };
        let links = u32::from(self.standing != Standing::Gone);
        Attributes {
            kind: Kind::File,
            size,
            mode: file.mode,
            links,
            lasts: is_own && is_known,
            ..plain.clone()
        }
    }
}

pub(crate) fn behind_data(name: &str) -> String {
    format!("{DATA}/{name}")
}
