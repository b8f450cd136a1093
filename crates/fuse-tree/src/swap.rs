//! Changes that come through the kernel, so that those who watch a directory see them.

use std::collections::VecDeque;

use rustix::io::Errno;

use crate::edition::{Invalid, first_part};
use crate::layout::Layout;
use crate::node::NodeId;
use crate::resolve::{Spot, behind_data};
use crate::tree::Tree;
use crate::{DATA, NEXT_DATA};

/// One system call of who changes what is shown. Paths begin at the volume's root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// `unlink`.
    Unlink {
        /// What.
        path: String,
    },
    /// `symlink`, in the root.
    Link {
        /// The link.
        name: String,
        /// Where it leads.
        target: String,
    },
    /// `rename` of [`NEXT_DATA`] to [`DATA`].
    Rename,
    /// `rmdir`, in the root.
    RemoveDirectory {
        /// What.
        name: String,
    },
}

/// Who may change the tree, and how: these steps in this order, and nothing else.
#[derive(Debug)]
pub(crate) struct Swap {
    /// Anybody who has the volume writable, where no thread is named.
    pub(crate) tid: Option<u32>,
    pub(crate) steps: VecDeque<Step>,
}

impl Tree {
    /// What shows an edition: kubelet's order, but that names which lead nowhere afterwards go first.
    pub(crate) fn steps_to_show(&self, number: u64) -> Result<Vec<Step>, Invalid> {
        let layout = self.by_number(number).filter(|layout| layout.is_named).ok_or(Invalid::Number)?;
        let is_wanted = |name: &str| layout.edition.tops().any(|top| top == name);
        let gone = self.tops.values().filter(|name| !is_wanted(name));
        let mut steps: Vec<_> = gone.map(|name| Step::Unlink { path: name.clone() }).collect();
        steps.push(Step::Link { name: NEXT_DATA.to_owned(), target: layout.edition.name.clone() });
        steps.push(Step::Rename);
        let mut added: Vec<&str> = layout.edition.tops().filter(|top| !self.is_top(top)).collect();
        added.dedup();
        steps
            .extend(added.iter().map(|top| Step::Link { name: (*top).to_owned(), target: behind_data(top) }));
        Ok(steps)
    }

    /// What takes the names of an edition away that is not shown any more.
    pub(crate) fn steps_to_remove(&self, number: u64) -> Result<Vec<Step>, Invalid> {
        let is_old = |layout: &&Layout| layout.is_named && self.shown != Some(number);
        let layout = self.by_number(number).filter(is_old).ok_or(Invalid::Number)?;
        let name = &layout.edition.name;
        let there = layout
            .edition
            .files
            .keys()
            .filter(|path| layout.named_place(self.numbering.inner(path)).is_some());
        let unlinks = there.map(|path| Step::Unlink { path: format!("{name}/{path}") });
        Ok(unlinks.chain([Step::RemoveDirectory { name: name.clone() }]).collect())
    }

    fn is_top(&self, name: &str) -> bool {
        self.tops.contains_key(&self.numbering.top(name))
    }

    /// Takes the next step, if it is this one and its thread is the one that was named.
    pub(crate) fn step(&mut self, tid: u32, step: &Step) -> Result<(), Errno> {
        let swap = self
            .swap
            .as_mut()
            .filter(|swap| swap.tid.is_none_or(|named| named == tid) && swap.steps.front() == Some(step));
        swap.ok_or(Errno::ROFS)?.steps.pop_front();
        if self.apply(step) { Ok(()) } else { Err(Errno::NOENT) }
    }

    fn apply(&mut self, step: &Step) -> bool {
        match step {
            Step::Unlink { path } => self.unlink(path),
            Step::Link { name, target } if name == NEXT_DATA => {
                self.next = self.by_name(target).map(|layout| layout.edition.number);
                self.next.is_some()
            }
            Step::Link { name, .. } => {
                self.tops.insert(self.numbering.top(name), name.clone());
                true
            }
            Step::Rename => {
                let next = self.next.take();
                self.shown = next.or(self.shown);
                next.is_some()
            }
            Step::RemoveDirectory { name } => {
                let number = self.by_name(name).map(|layout| layout.edition.number);
                number.is_some_and(|number| self.unname(number))
            }
        }
    }

    fn unlink(&mut self, path: &str) -> bool {
        let edition = first_part(path);
        match path.strip_prefix(edition).and_then(|rest| rest.strip_prefix('/')) {
            Some(inner) => self.by_name_mut(edition).is_some_and(|layout| layout.unlink(inner)),
            None => self.tops.remove(&self.numbering.top(path)).is_some(),
        }
    }

    /// The path of a name in a directory, from the root.
    pub(crate) fn path_of(&self, parent: NodeId, name: &str) -> Result<String, Errno> {
        match self.resolve(parent)? {
            Spot::Root => Ok(name.to_owned()),
            Spot::Inner(inner) if inner.place.path.is_empty() => {
                Ok(format!("{}/{name}", inner.layout.edition.name))
            }
            Spot::Inner(inner) => Ok(format!("{}/{}/{name}", inner.layout.edition.name, inner.place.path)),
            Spot::Data(_) | Spot::Top(_) => Err(Errno::NOTDIR),
        }
    }

    /// Whether this is the one rename that ever happens.
    pub(crate) fn is_data_rename(parents: [NodeId; 2], names: [&str; 2]) -> bool {
        parents == [NodeId::ROOT; 2] && names == [NEXT_DATA, DATA]
    }
}
