//! How a served volume follows its class.

use std::sync::Arc;

use manifest::Class;
use provider::{Error, ErrorKind, Moment as _};
use tokio::time::Instant;

use super::{LONGEST_PAUSE, Served};
use crate::volume;
use crate::volume::boundary::confinement;
use crate::volume::freshness::Notice;
use crate::volume::report::Outlook;

impl Served {
    /// Follows an edit of the class. If the class was deleted, is broken or is not known yet, the volume stays as it
    /// is.
    pub(super) async fn on_class(&mut self) {
        let found = self.parts.effective_class(&self.publish.class, &self.publish.attributes).await;
        let taken = match found {
            Ok(class) => self.take_confined(class).await,
            Err(error) => Err(error),
        };
        let changed = match taken {
            Ok(changed) => {
                (self.class_error, self.last_class) = (None, None);
                changed
            }
            Err(error) => {
                self.note_class(&error);
                self.take_last_class().await
            }
        };
        if changed {
            if !self.is_static() {
                drop(self.refresh(None, Notice::Polled).await);
            }
            self.save().await;
        }
    }

    pub(super) fn note_class(&mut self, error: &volume::Error) {
        let text = error.to_string();
        let told = self.class_error.as_ref() == Some(&text);
        if !told && !matches!(error, volume::Error::ClassNotYet(_)) {
            let error = Error::new(ErrorKind::Invalid, text.clone());
            let provider = self.content.as_ref().map_or("", |content| &content.class().provider);
            self.parts.reporter.failed(&self.publish, provider, &error, Outlook::Stay, false);
        }
        self.class_error = Some(text);
        if self.content.is_none() {
            self.retry_at = Some(Instant::now().later(LONGEST_PAUSE));
        }
    }

    /// Follows the class that an earlier process followed, if no newer one can be found. Returns whether it does.
    async fn take_last_class(&mut self) -> bool {
        match self.last_class.take().filter(|_| self.content.is_none()) {
            Some(class) => self.take_confined(Arc::new(class)).await.unwrap_or(false),
            None => false,
        }
    }

    /// Follows `class` from now on, its access rules first. Returns whether it differs from the class before.
    async fn take_confined(&mut self, class: Arc<Class>) -> Result<bool, volume::Error> {
        if self.content.as_ref().is_some_and(|content| **content.class() == *class) {
            return Ok(false);
        }
        let (confinement, mounted) = (confinement(&self.publish, &class)?, Arc::clone(&self.mounted));
        volume::blocking(move || Ok(mounted.confine(confinement.as_ref())?)).await?;
        self.take_class(class)
    }

    fn take_class(&mut self, class: Arc<Class>) -> Result<bool, volume::Error> {
        let source = self.parts.source(&class)?;
        let (pace, policy) = (self.parts.pace(&class), self.parts.policy(&class));
        match &mut self.content {
            Some(content) if content.class().provider == class.provider => {
                content.edit(class, source, pace, policy)
            }
            old => {
                let kept = self.parts.revocations.kept_of(&self.publish.id)?;
                let mut content = self.parts.content(&self.publish, class, source, &self.site);
                content.reader.tenancy.inherit(kept);
                content.carry(&self.showing.get(), self.confirmed.unwrap_or_else(Instant::now));
                *old = Some(content);
            }
        }
        Ok(true)
    }
}
