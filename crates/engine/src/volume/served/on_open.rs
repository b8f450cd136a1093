//! A served volume whose files are read when they are opened. Its task follows the class and the tokens, and reads
//! nothing.

use std::sync::Arc;

use manifest::Class;
use provider::ErrorKind;

use super::{Served, Wake, tell_if_unsaved};
use crate::mode::Mounted;
use crate::snapshot::Snapshot;
use crate::volume::boundary::confinement;
use crate::volume::on_open::{OnOpen, Wanted};
use crate::volume::record::VolumeRecord;
use crate::volume::showing::Showing;
use crate::volume::status::VolumeState;
use crate::volume::{self, Error};

impl Served {
    /// A volume that was just mounted.
    pub(in crate::volume) fn asking(on_open: &Arc<OnOpen>, mounted: Arc<dyn Mounted>) -> Self {
        let served = Self::bare_asking(on_open, mounted);
        served.describe();
        served
    }

    /// A volume that an earlier process mounted.
    pub(in crate::volume) fn asking_again(
        on_open: &Arc<OnOpen>,
        record: &VolumeRecord,
        mounted: Arc<dyn Mounted>,
    ) -> Self {
        let mut served = Self::bare_asking(on_open, mounted);
        served.lost_credentials = record.had_credentials;
        served.last_class = record.last_class();
        served.describe();
        served
    }

    fn bare_asking(on_open: &Arc<OnOpen>, mounted: Arc<dyn Mounted>) -> Self {
        let (parts, publish, site) = on_open.place();
        if !mounted.knows_opens() {
            on_open.tell_opens();
        }
        let (parts, publish, site) = (Arc::clone(parts), publish.clone(), Arc::clone(site));
        let showing = Showing::new(Snapshot::default());
        let served = Self::bare(parts, publish, on_open.newest().clone(), mounted, showing, site);
        Self { on_open: Some(Arc::clone(on_open)), ..served }
    }

    /// Reads nothing, but may take back what was read before.
    pub(super) async fn on_asking(&mut self, on_open: &Arc<OnOpen>, wake: Wake) {
        match wake {
            Wake::Timer | Wake::Class => self.on_class_asking(on_open).await,
            Wake::Credentials => {
                self.publish.subject.identity = self.newest.identity();
                self.lost_credentials &= !self.newest.has_credentials();
                on_open.follow_identity();
            }
            Wake::Order(Some(order)) => {
                // The caller may have stopped waiting.
                let _ = order.reply.send(Ok(on_open.take_back()));
            }
            Wake::Pushed(_) | Wake::Order(None) | Wake::Revocations | Wake::Stop => {}
        }
    }

    /// Follows an edit of the class. The volume keeps reading when files are opened, even if the class says `fetch:
    /// eager` now, because a mounted volume keeps its mode.
    async fn on_class_asking(&mut self, on_open: &Arc<OnOpen>) {
        self.retry_at = None;
        let found = self.parts.effective_class(&self.publish.class, &self.publish.attributes).await;
        let wanted = match found.and_then(|class| self.wanted(class)) {
            Ok(wanted) => {
                (self.class_error, self.last_class) = (None, None);
                Some(wanted)
            }
            Err(error) => {
                self.note_class(&error);
                let last = self.last_class.take().filter(|_| on_open.wanted().is_none());
                last.and_then(|class| self.wanted(Arc::new(class)).ok())
            }
        };
        let Some(wanted) = wanted.filter(|wanted| on_open.is_new(wanted)) else { return };
        if on_open.wanted().is_none() {
            // Before the files are listed: whoever waits for them since a restart asks at once.
            on_open.want(wanted.clone());
        }
        match self.list(on_open, &wanted).await {
            Ok(()) => on_open.want(wanted),
            Err(error) => self.note_class(&error),
        }
    }

    fn wanted(&self, class: Arc<Class>) -> Result<Wanted, Error> {
        let source = self.parts.source(&class)?;
        Wanted::new(class, source)
    }

    /// Makes the mode list the files of `wanted`, by its access rules, and writes the record.
    async fn list(&self, on_open: &Arc<OnOpen>, wanted: &Wanted) -> Result<(), Error> {
        let (mounted, records) = (Arc::clone(&self.mounted), self.parts.records.clone());
        let (listing, door) = (wanted.listing(), on_open.door());
        let record = self.record(Some(wanted.class()), &Snapshot::default());
        let confinement = confinement(&self.publish, wanted.class())?;
        let writing = Arc::clone(&self.writing).lock_owned().await;
        let saved = volume::blocking(move || {
            let _writing = writing;
            mounted.confine(confinement.as_ref())?;
            mounted.list(&listing, &door)?;
            Ok(records.save(&record))
        });
        tell_if_unsaved(saved.await?);
        Ok(())
    }

    /// Describes the volume for people, without the contents that it holds: they would tell which files were opened.
    pub(super) fn describe_asking(&self, on_open: &OnOpen) {
        let wanted = on_open.wanted();
        let listed = wanted.as_ref().map(|wanted| wanted.listing().len());
        let failure = self.class_error.clone().map(|error| (ErrorKind::Invalid, error));
        self.state.send_replace(VolumeState {
            provider: wanted.as_ref().map(|wanted| wanted.class().provider.clone()),
            store: wanted.as_ref().map(|wanted| wanted.source().store().to_owned()),
            files: listed.unwrap_or_default(),
            failure,
            next_try: self.retry_at,
            is_kept_fresh: false,
            ..VolumeState::new(&self.publish)
        });
    }
}
