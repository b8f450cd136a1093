//! All editions of a volume and which of them is shown.

use std::collections::BTreeMap;

use crate::answer::Notice;
use crate::edition::{Edition, Invalid};
use crate::handles::Handles;
use crate::layout::Layout;
use crate::node::{EditionTag, NodeId, Numbering, PathId};
use crate::swap::Swap;
use crate::volume::Look;
use crate::{DATA, NEXT_DATA};

/// How many editions without a name are kept for handles. Handles of earlier ones get `ESTALE`.
const KEPT: usize = 8;

#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) numbering: Numbering,
    pub(crate) look: Look,
    /// In the order they came.
    pub(crate) layouts: Vec<Layout>,
    /// The edition that [`DATA`] names.
    pub(crate) shown: Option<u64>,
    /// The edition that [`NEXT_DATA`] names.
    pub(crate) next: Option<u64>,
    /// Links in the root that show files.
    pub(crate) tops: BTreeMap<PathId, String>,
    pub(crate) handles: Handles,
    pub(crate) swap: Option<Swap>,
}

impl Tree {
    pub(crate) fn new(volume: &str, look: Look) -> Self {
        let numbering = Numbering::of(volume);
        let (layouts, tops, handles) = Default::default();
        Self { numbering, look, layouts, shown: None, next: None, tops, handles, swap: None }
    }

    pub(crate) fn add(&mut self, edition: Edition) -> Result<&mut Layout, Invalid> {
        let layout = Layout::of(edition, self.numbering)?;
        if self.layouts.iter().any(|other| other.tag == layout.tag) {
            return Err(Invalid::Number);
        }
        if self.named().any(|other| other.edition.name == layout.edition.name) {
            return Err(Invalid::Name(layout.edition.name));
        }
        self.check_root(&layout)?;
        self.layouts.push(layout);
        self.layouts.last_mut().ok_or(Invalid::Number)
    }

    /// Whether all that may stand in the root at once has numbers of its own.
    fn check_root(&self, layout: &Layout) -> Result<(), Invalid> {
        let mut names: BTreeMap<PathId, &str> = BTreeMap::new();
        let all = self.layouts.iter().chain([layout]);
        let ours = all.flat_map(|layout| layout.edition.tops().chain([layout.edition.name.as_str()]));
        for name in ours.chain([DATA, NEXT_DATA]) {
            let other = names.insert(self.numbering.top(name), name);
            if other.is_some_and(|other| other != name) {
                return Err(Invalid::Collision(name.to_owned()));
            }
        }
        Ok(())
    }

    /// Editions whose directories have names.
    pub(crate) fn named(&self) -> impl Iterator<Item = &Layout> {
        self.layouts.iter().filter(|layout| layout.is_named)
    }

    pub(crate) fn by_tag(&self, tag: EditionTag) -> Option<&Layout> {
        self.layouts.iter().find(|layout| layout.tag == tag)
    }

    pub(crate) fn by_number(&self, number: u64) -> Option<&Layout> {
        self.layouts.iter().find(|layout| layout.edition.number == number)
    }

    pub(crate) fn by_number_mut(&mut self, number: u64) -> Option<&mut Layout> {
        self.layouts.iter_mut().find(|layout| layout.edition.number == number)
    }

    pub(crate) fn by_name(&self, name: &str) -> Option<&Layout> {
        self.named().find(|layout| layout.edition.name == name)
    }

    pub(crate) fn by_name_mut(&mut self, name: &str) -> Option<&mut Layout> {
        self.layouts.iter_mut().find(|layout| layout.is_named && layout.edition.name == name)
    }

    pub(crate) fn shown(&self) -> Option<&Layout> {
        self.shown.and_then(|number| self.by_number(number))
    }

    /// Shows an edition at once, for a kernel that is told of it afterwards.
    pub(crate) fn show(&mut self, number: u64) -> Result<Vec<Notice>, Invalid> {
        let layout = self.by_number(number).filter(|layout| layout.is_named).ok_or(Invalid::Number)?;
        let tops = layout.edition.tops();
        let tops: BTreeMap<_, _> = tops.map(|top| (self.numbering.top(top), top.to_owned())).collect();
        let before = std::mem::replace(&mut self.tops, tops);
        (self.shown, self.next) = (Some(number), None);
        let gone = before
            .into_iter()
            .filter(|(id, _)| !self.tops.contains_key(id))
            .map(|(id, name)| deleted_top(id, name));
        Ok(gone.chain([data_changed(), Notice::Node(NodeId::ROOT)]).collect())
    }

    /// Takes the name of an edition away. It is kept while handles show it.
    pub(crate) fn unname(&mut self, number: u64) -> bool {
        let is_shown = self.shown == Some(number);
        let Some(layout) = self.by_number_mut(number) else { return false };
        if is_shown || !layout.is_named {
            return false;
        }
        layout.is_named = false;
        self.tidy();
        true
    }

    /// Lets go of editions that nobody can read any more, and of the oldest ones where they are too many.
    pub(crate) fn tidy(&mut self) {
        self.layouts.retain(|layout| layout.is_named || layout.handles > 0 || layout.is_inherited);
        while self.layouts.iter().filter(|layout| !layout.is_named).count() > KEPT {
            let oldest = self.layouts.iter().position(|layout| !layout.is_named);
            oldest.map(|oldest| self.layouts.remove(oldest));
        }
    }

    pub(crate) fn nodes_of(&self, path: &str) -> Vec<NodeId> {
        let id = self.numbering.inner(path);
        self.layouts.iter().map(|layout| NodeId::new(layout.tag, id)).collect()
    }

    pub(crate) fn withdraw(&mut self, path: &str) -> Vec<Notice> {
        let id = self.numbering.inner(path);
        let before: Vec<_> = self.layouts.iter().map(|layout| Self::names_to(layout, id)).collect();
        let (mut is_there, mut notices) = (false, Vec::new());
        for layout in &mut self.layouts {
            is_there |= layout.withdraw(path);
        }
        self.handles.withdraw(id);
        if is_there {
            notices.extend(self.hide_top(path));
            let gone =
                self.layouts.iter().zip(before).flat_map(|(layout, names)| Self::hidden(layout, names));
            notices.extend(gone);
        }
        notices
    }

    /// The directories and the file that lead to a path in an edition, from the file up.
    fn names_to(layout: &Layout, file: PathId) -> Vec<(PathId, PathId, String)> {
        let mut names = Vec::new();
        let mut id = file;
        while let Some(place) = layout.named_place(id).filter(|place| !place.path.is_empty()) {
            let name = place.path.rsplit('/').next().unwrap_or_default().to_owned();
            names.push((place.parent, id, name));
            id = place.parent;
        }
        names
    }

    /// What a kernel has to hear of names that were there and are not any more.
    fn hidden(layout: &Layout, names: Vec<(PathId, PathId, String)>) -> impl Iterator<Item = Notice> {
        let gone = names.into_iter().filter(|(_, id, _)| layout.named_place(*id).is_none());
        gone.flat_map(|(parent, child, name)| {
            let (parent, child) = (NodeId::new(layout.tag, parent), NodeId::new(layout.tag, child));
            [Notice::Node(child), Notice::Deleted { parent, child, name }]
        })
    }

    /// Takes away the link in the root that led to a path, if it leads to nothing now.
    fn hide_top(&mut self, path: &str) -> Option<Notice> {
        let top = crate::edition::first_part(path);
        let is_used = self.shown().is_some_and(|layout| layout.edition.tops().any(|used| used == top));
        if is_used {
            return None;
        }
        let id = self.numbering.top(top);
        self.tops.remove(&id).map(|name| deleted_top(id, name))
    }
}

fn deleted_top(id: PathId, name: String) -> Notice {
    Notice::Deleted { parent: NodeId::ROOT, child: NodeId::at_top(id), name }
}

fn data_changed() -> Notice {
    Notice::Entry { parent: NodeId::ROOT, name: DATA.to_owned() }
}
