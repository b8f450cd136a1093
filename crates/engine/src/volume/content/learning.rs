//! Learning which objects a volume has, for stores that tell it only in their answers.

use super::Content;
use crate::volume::extent::Extent;
use crate::volume::reader::Readout;

impl Content {
    /// Takes the list of objects from the answers in `readout`, if only an answer tells which objects there are.
    pub(super) fn learn(&mut self, readout: &Readout) {
        let Some(whole) = self.reader.source().whole() else { return self.learn_trees(readout) };
        let Some(outcome) = readout.get(whole.request()) else { return };
        let told = outcome.as_ref().map_err(Clone::clone).and_then(|held| {
            let told = whole.unpack(&held.reading)?;
            let faults = manifest::compose::verify(&self.class.settings, told.objects(), &[]);
            if faults.is_empty() { Ok(told) } else { Err(faults.into()) }
        });
        let request = whole.request().clone();
        match told {
            Ok(told) => {
                self.untold.clear();
                self.extend_to(Extent::Known(told));
            }
            Err(error) => drop(self.untold.insert(request, error)),
        }
    }

    fn learn_trees(&mut self, readout: &Readout) {
        self.untold.clear();
        let Some(grown) = self.extent.grown() else { return };
        let stays = |index| self.stays_unlisted(index);
        let (grown, untold) = grown.learn(&self.class.settings, readout, stays);
        self.untold = untold;
        self.extend_to(Extent::Grown(grown));
    }

    /// Whether an object stays when its tree no longer lists it. It stays while its file is shown, or while a composed
    /// file names it: the composed file needs to know that it is missing.
    fn stays_unlisted(&self, index: usize) -> bool {
        let (Some(object), Some(state)) = (self.extent.objects().get(index), self.objects.get(index)) else {
            return false;
        };
        let is_composed = || {
            self.class.settings.files.iter().flat_map(|file| &file.from).any(|(_, name)| *name == object.name)
        };
        state.good().is_some() || is_composed()
    }
}
