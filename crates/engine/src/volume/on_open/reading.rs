//! One reading of one file.

use std::sync::Arc;
use std::time::Duration;

use provider::{Error, ErrorKind, Identity, Moment as _, ObjectPath, Span, Workload};
use tokio::time::Instant;

use super::failure::Failure;
use super::wanted::Wanted;
use crate::mode::Loan;
use crate::snapshot::Snapshot;
use crate::subject::Subject;
use crate::volume::Publish;
use crate::volume::content::Content;
use crate::volume::first::{Waits, read_first, require_token};
use crate::volume::parts::Parts;
use crate::volume::reader::Reader;
use crate::volume::site::VolumeSite;

/// The result of a reading.
#[derive(Debug)]
pub(super) struct Brought {
    pub(super) loan: Loan,
    /// The identity that it was read for.
    pub(super) identity: Identity,
    pub(super) bytes: usize,
    /// When the store gave the oldest part of it.
    pub(super) at: Instant,
    /// How long after that it may be held.
    pub(super) held: Duration,
    /// Keeps the readings alive, which volumes of the same identity may share, and the login, and listens for
    /// announcements.
    pub(super) reader: Reader,
}

/// The volume whose files are read.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) parts: Arc<Parts>,
    pub(super) publish: Publish,
    pub(super) site: Arc<VolumeSite>,
}

impl Place {
    /// Reads the objects of the file at `path`, as `workload`. Readings that were made for the same identity after
    /// `not_before` are good enough while they are young.
    pub(super) async fn read(
        &self,
        path: &ObjectPath,
        part: Wanted,
        workload: Workload,
        not_before: Option<Instant>,
    ) -> Result<Brought, Failure> {
        require_credentials(&workload, &part)?;
        let deadline = Instant::now().later(part.class.settings.timeout);
        let held = self.parts.limits.held_opened(part.class.settings.hold);
        let publish = Publish { subject: Subject::from(&workload), ..self.publish.clone() };
        let mut content = self.parts.content(&publish, part.class, part.source, &self.site);
        let age = self.shared_age(held, not_before);
        let read = read_first(&mut content, &workload, age, deadline, Waits::ForAnAnswer).await;
        match read.map_err(Failure::from).and_then(|_| take(&mut content, path)) {
            Ok((loan, bytes)) => {
                let at = content.confirmed_at().unwrap_or_else(Instant::now);
                let (identity, reader) = (workload.identity, content.into_reader());
                Ok(Brought { loan, identity, bytes, at, held, reader })
            }
            Err(failure) => {
                content.reader.tenancy.end_all();
                Err(failure)
            }
        }
    }

    /// How old a shared reading may be: at most half of the time that contents are held. The process that opens the
    /// file has the other half.
    fn shared_age(&self, held: Duration, not_before: Option<Instant>) -> Duration {
        let half = Span::from(held).times(0.5).get();
        let age = self.parts.limits.max_shared_age.min(half);
        not_before.map_or(age, |at| age.min(at.elapsed()))
    }
}

/// Checks that the workload has tokens or credentials if its store needs them. They come with kubelet's calls, and a
/// restart loses them.
fn require_credentials(workload: &Workload, part: &Wanted) -> Result<(), Failure> {
    if part.source.needs_credentials() && !workload.has_credentials() {
        let error = Error::new(ErrorKind::NoCredential, "no token of the volume is here: a restart lost it");
        let source = error.remedy("kubelet brings a new one with its next call");
        return Err(Failure::Store { provider: part.class.provider.clone(), source });
    }
    Ok(require_token(workload, part.source.audience())?)
}

/// The contents of the file at `path`, and their size in bytes.
fn take(content: &mut Content, path: &ObjectPath) -> Result<(Loan, usize), Failure> {
    if content.reader.tenancy.has_leases() {
        return Err(Failure::Leased);
    }
    let provider = content.class().provider.clone();
    let assembled = content.assemble(&Snapshot::default());
    let snapshot = assembled.map_err(|source| Failure::Store { provider, source })?.snapshot;
    let file = snapshot.get(path).ok_or(Failure::NothingThere)?;
    let loan = Loan::new(file.contents.clone(), file.fingerprint.clone(), snapshot.objects().into());
    Ok((loan, file.contents.len()))
}
