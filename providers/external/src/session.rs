//! Calls a provider for one volume.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use csi_proto::provider::MountRequest;
use provider::{
    Error, ErrorKind, Moment as _, Reading, Request, Result, Session, Site, Workload, for_current_tenant,
};
use tokio::time::Instant;

use crate::answer::{self, Answer};
use crate::attributes;
use crate::body::{self, File};
use crate::source::Asked;
use crate::tree;

/// The deadline of a call.
const PATIENCE: Duration = Duration::from_secs(30);
/// The mode of files that a provider writes itself, in the upstream driver's form: 0644 in decimal.
const PERMISSION: &str = "420";

/// The last answer of a provider to one volume.
#[derive(Debug, Clone)]
pub(crate) struct Last {
    volume: String,
    versions: BTreeMap<String, String>,
    files: Vec<File>,
}

/// One volume at one provider.
#[derive(Debug)]
pub(crate) struct ExternalSession {
    asked: Arc<Asked>,
    volume: String,
    identity: String,
    /// The workload with its newest tokens, whoever holds the session.
    workload: Mutex<Workload>,
    site: Arc<dyn Site>,
}

/// A checked answer.
struct Good {
    versions: BTreeMap<String, String>,
    files: Vec<File>,
    /// Whether the provider wrote the files itself.
    written: bool,
}

impl ExternalSession {
    pub(crate) fn new(asked: &Arc<Asked>, workload: Workload, site: Arc<dyn Site>) -> Self {
        // The volume is part of the identity. Nobody knows what the provider checks, so nothing is shared.
        let identity = format!("{}, volume {}", workload.identity, workload.volume);
        let volume = workload.volume.clone();
        Self { asked: Arc::clone(asked), volume, identity, workload: Mutex::new(workload), site }
    }

    fn last(&self) -> Option<Last> {
        let last = self.asked.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.clone().filter(|last| last.volume == self.volume)
    }

    fn remember(&self, last: Option<Last>) {
        *self.asked.last.lock().unwrap_or_else(PoisonError::into_inner) = last;
    }

    async fn ask(&self) -> Result<Good> {
        let deadline = Instant::now().later(PATIENCE);
        if let Some(last) = self.last() {
            let (mut answer, _) = self.mount(Some(&last), deadline).await?;
            if !answer.is_written_elsewhere() {
                return self.good(&mut answer);
            }
            // Files that the provider left unchanged cannot be distinguished from files that it wrote, so ask for all
            // of them.
        }
        let (mut answer, root) = self.mount(None, deadline).await?;
        if !answer.is_written_elsewhere() {
            return self.good(&mut answer);
        }
        let provider = &self.asked.provider;
        let files = off_the_runtime(move || tree::read(&root, deadline.into_std())).await?;
        let files = files.map_err(|error| unreadable(provider, &error))?;
        if files.is_empty() {
            return Err(wrote_elsewhere(provider));
        }
        let files = answer::complete(provider, files, &answer.versions)?;
        Ok(Good { versions: answer.versions, files, written: true })
    }

    fn good(&self, answer: &mut Answer) -> Result<Good> {
        let files = answer.files(&self.asked.provider)?;
        Ok(Good { versions: std::mem::take(&mut answer.versions), files, written: false })
    }

    /// Makes one call, with a directory for the provider to write into. The directory holds the files of `last`: a
    /// provider that gets versions can read these files instead of fetching them again.
    async fn mount(&self, last: Option<&Last>, deadline: Instant) -> Result<(Answer, OwnedFd)> {
        let lent = self.site.lend().await?;
        let mut root = lent.root;
        if let Some(Last { files, .. }) = last.cloned() {
            let written = off_the_runtime(move || tree::write(&root, &files).map(|()| root)).await?;
            root = written.map_err(|error| unreadable(&self.asked.provider, &error))?;
        }
        let request = self.request(&lent.path, last)?;
        let patience = deadline.saturating_duration_since(Instant::now());
        let response = self.asked.sockets.mount(&self.asked.provider, request, patience).await?;
        Ok((Answer::of(&self.asked.provider, response)?, root))
    }

    fn request(&self, target: &Path, last: Option<&Last>) -> Result<MountRequest> {
        let workload = self.workload.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(MountRequest {
            attributes: attributes::attributes(&self.asked.parameters, &self.site.attributes(), &workload)?,
            secrets: attributes::secrets(&workload)?,
            target_path: target.display().to_string(),
            permission: PERMISSION.to_owned(),
            current_object_version: last.map(|last| answer::current(&last.versions)).unwrap_or_default(),
        })
    }

    fn accept(&self, good: Good) -> Result<Reading> {
        let strange = || Error::new(ErrorKind::Invalid, "the answer cannot be kept");
        let body = body::pack(&good.files).ok_or_else(strange)?;
        let last = if good.written {
            None
        } else {
            // These files share the body's buffer. The buffers of the answer are dropped.
            let files = body::unpack(&body).ok_or_else(strange)?;
            Some(Last { volume: self.volume.clone(), versions: good.versions, files })
        };
        self.remember(last);
        Ok(Reading { body, version: None, validity: None })
    }
}

#[async_trait]
impl Session for ExternalSession {
    fn identity(&self) -> &str {
        &self.identity
    }

    fn hand_over(&self, workload: &Workload) {
        *self.workload.lock().unwrap_or_else(PoisonError::into_inner) = workload.clone();
    }

    async fn read(&self, _request: &Request) -> Result<Reading> {
        let answered = self.ask().await;
        self.site.take_back().await?;
        self.accept(answered?)
    }
}

async fn off_the_runtime<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let failed = |_| Error::new(ErrorKind::Unavailable, "files could not be looked at");
    tokio::task::spawn_blocking(for_current_tenant(work)).await.map_err(failed)
}

fn unreadable(provider: &str, error: &std::io::Error) -> Error {
    let said = format!("what external provider {provider} wrote is not shown: {error}");
    Error::new(ErrorKind::Invalid, said)
}

fn wrote_elsewhere(provider: &str) -> Error {
    let said = format!(
        "external provider {provider} answered without files, and wrote none into the directory that it was given"
    );
    Error::new(ErrorKind::Unavailable, said)
        .remedy("mount kubelet's pods directory into its pod with mountPropagation: HostToContainer")
}

#[cfg(test)]
mod tests {
    use provider::{Identity, Lent, SecretBytes};

    use super::*;
    use crate::socket::Sockets;

    fn workload(token: &SecretBytes) -> Workload {
        Workload {
            identity: Identity::named("shop", "web"),
            pod: None,
            volume: "csi-1".to_owned(),
            tokens: BTreeMap::from([("vault".to_owned(), token.clone())]),
            credentials: BTreeMap::new(),
        }
    }

    /// A site that lends nothing.
    #[derive(Debug)]
    struct Nowhere;

    #[async_trait]
    impl Site for Nowhere {
        fn attributes(&self) -> BTreeMap<String, String> {
            BTreeMap::new()
        }

        async fn lend(&self) -> Result<Lent> {
            Err(Error::new(ErrorKind::Unavailable, "nothing is lent"))
        }

        async fn take_back(&self) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_session_asks_with_the_newest_token_and_keeps_no_older_one() {
        let asked = Asked {
            provider: "acme".into(),
            sockets: Arc::new(Sockets {
                directories: Vec::new(),
                max_answer: 0,
                built_in: Vec::new(),
                connect: None,
            }),
            parameters: BTreeMap::new(),
            last: Mutex::default(),
        };
        let [old, new] = ["old", "new"].map(|text| SecretBytes::from(text.to_owned()));
        let session = ExternalSession::new(&Arc::new(asked), workload(&old), Arc::new(Nowhere));

        session.hand_over(&workload(&new));

        assert!(new.is_held_elsewhere() && !old.is_held_elsewhere());
    }
}
