//! Finds the processes that mount volumes on this host, by their admin sockets.

use std::fmt;
use std::path::{Path, PathBuf};

use futures::future::join_all;
use program::outlet;
use serde::Serialize;

use crate::admin::{VolumeStatus, WaitingStatus, client, socket};
use crate::directories;
use crate::exit::{Failure, Outcome};
use crate::host::name_of;

/// Where running processes are found.
#[derive(Debug, Clone, clap::Args)]
pub struct SocketArgs {
    /// Admin socket of a running secretfs, or a directory of such sockets
    #[arg(long, value_name = "PATH", default_value_os_t = directories::admin(), env = "SECRETFS_ADMIN_SOCKET")]
    pub socket: PathBuf,
}

/// A volume and the socket of the process that serves it.
#[derive(Debug, Clone)]
pub(super) struct Served {
    pub(super) socket: PathBuf,
    pub(super) volume: VolumeStatus,
}

/// A process that listens but does not answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Silent {
    /// Its process id; `None` if it is in another pid namespace.
    pub(super) process: Option<i32>,
    pub(super) socket: PathBuf,
    /// The target that it mounts, if it is known.
    pub(super) target: Option<PathBuf>,
}

/// The answers of the processes on this host.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) volumes: Vec<Served>,
    /// Volumes that were asked for and are not mounted.
    pub(super) waiting: Vec<WaitingStatus>,
    /// The sockets of the processes that answered.
    pub(super) answered: Vec<PathBuf>,
    /// The processes that did not answer.
    pub(super) silent: Vec<Silent>,
}

impl Heard {
    /// Prints a warning about each process that did not answer.
    pub(super) fn warn(&self) {
        self.silent.iter().for_each(Silent::warn);
    }

    /// The volumes that `text` names. If there is none, the error names processes that may have it and do not answer.
    pub(super) fn select(self, text: &str) -> Result<Vec<Served>, Failure> {
        self.warn();
        select(self.volumes, text)
    }

    /// The volumes that `text` names, mounted or not. A volume that is not mounted must be named in full.
    pub(super) fn select_any(self, text: &str) -> Result<(Vec<Served>, Vec<WaitingStatus>), Failure> {
        let waiting: Vec<_> = self.waiting.iter().filter(|waiting| waiting.is(text)).cloned().collect();
        match self.select(text) {
            Err(_) if !waiting.is_empty() => Ok((Vec::new(), waiting)),
            served => Ok((served?, waiting)),
        }
    }

    /// Fails if a process did not answer: then the answer is not complete.
    pub(super) fn verdict(&self) -> Outcome {
        if self.silent.is_empty() { Ok(()) } else { Err(Failure::Told) }
    }
}

impl Silent {
    pub(super) fn new(process: Option<i32>, socket: PathBuf) -> Self {
        Self { process, target: target_of(&socket), socket }
    }

    pub(super) fn warn(&self) {
        outlet::complain(&format!("secretfs: {self}\n"));
    }
}

impl fmt::Display for Silent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.process {
            Some(process) => write!(f, "process {process}")?,
            None => write!(f, "the process behind {}", self.socket.display())?,
        }
        if let Some(target) = &self.target {
            write!(f, ", which serves {},", target.display())?;
        }
        write!(f, " does not answer within {} s; ", client::TELLING.as_secs())?;
        match self.process {
            Some(process) => write!(f, "if it was stopped, `kill -CONT {process}` lets it go on"),
            None => f.write_str("see whether it was stopped"),
        }
    }
}

/// Asks one process for its mounted volumes and for those that it could not mount. A process of an earlier version
/// reports only the first.
async fn told(socket: &Path) -> Result<(Vec<VolumeStatus>, Vec<WaitingStatus>), client::Error> {
    let (volumes, waiting) = tokio::join!(client::status(socket), client::waiting(socket));
    Ok((volumes?, waiting.unwrap_or_default()))
}

/// The target of the `secretfs mount` behind `socket`. Its socket is named after the target, which is looked up in the
/// mount table.
fn target_of(socket: &Path) -> Option<PathBuf> {
    let name = socket.file_stem()?.to_str()?.strip_prefix(socket::MOUNT)?;
    mounter::mounted().ok()?.into_iter().find(|target| name_of(target) == name)
}

impl SocketArgs {
    /// The sockets at which processes may listen.
    pub(super) fn sockets(&self) -> Result<Vec<PathBuf>, Failure> {
        directories::trust(&self.socket).map_err(anyhow::Error::from)?;
        Ok(client::sockets(&self.socket)?)
    }

    /// Asks every process at the same time for all of its volumes.
    pub(super) async fn volumes(&self) -> Result<Heard, Failure> {
        let sockets = self.sockets()?;
        let answers = join_all(sockets.iter().map(|socket| told(socket))).await;
        let mut heard = Heard::default();
        let mut anybody = false;
        for (socket, answer) in sockets.into_iter().zip(answers) {
            match answer {
                Ok((volumes, waiting)) => {
                    heard.waiting.extend(waiting);
                    let served = |volume| Served { socket: socket.clone(), volume };
                    heard.volumes.extend(volumes.into_iter().map(served));
                    heard.answered.push(socket);
                }
                Err(client::Error::Silent { process, .. }) => {
                    heard.silent.push(Silent::new(process, socket));
                }
                Err(error) if error.is_nobody() => continue,
                Err(error) => return Err(error.into()),
            }
            anybody = true;
        }
        if anybody { Ok(heard) } else { Err(self.nobody()) }
    }

    /// The error if no process answers.
    pub(super) fn nobody(&self) -> Failure {
        Failure::Failed(anyhow::anyhow!(
            "no secretfs is running: nobody answers at {}; start one with `secretfs mount` or `secretfs node`, \
             or say where its admin socket is with --socket",
            self.socket.display()
        ))
    }
}

/// The volumes that `text` names: by id, target path, `namespace/pod`, or the beginning of one id.
pub(super) fn select(volumes: Vec<Served>, text: &str) -> Result<Vec<Served>, Failure> {
    let (exact, others): (Vec<_>, Vec<_>) = volumes.into_iter().partition(|served| served.volume.is(text));
    if !exact.is_empty() {
        return Ok(exact);
    }
    let begun: Vec<_> = others.into_iter().filter(|served| served.volume.begins_with(text)).collect();
    match begun.len() {
        0 => Err(none()),
        1 => Ok(begun),
        _ => Err(several(&begun)),
    }
}

/// The message does not repeat what was typed, because it may be anything.
fn none() -> Failure {
    Failure::Failed(anyhow::anyhow!(
        "no volume is called so; give an id, the beginning of one, a target path or namespace/pod \
         (`secretfs status` lists them)"
    ))
}

fn several(volumes: &[Served]) -> Failure {
    let ids: Vec<&str> = volumes.iter().map(|served| served.volume.volume.as_str()).collect();
    Failure::Failed(anyhow::anyhow!(
        "that is the beginning of several volumes: {}; give more of one",
        ids.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::samples;

    fn ids(text: &str) -> Result<Vec<String>, Failure> {
        let other = VolumeStatus { volume: "csi-8d2ac6f1ffff".to_owned(), ..samples::ailing() };
        let served = |volume| Served { socket: PathBuf::from("/node.sock"), volume };
        let volumes = [samples::ailing(), other, samples::well()].map(served).to_vec();
        Ok(select(volumes, text)?.into_iter().map(|served| served.volume.volume).collect())
    }

    #[test]
    fn a_volume_goes_by_its_id_its_target_and_the_beginning_of_its_id() {
        for text in ["mount-4711", "/mnt/app", "/mnt/app/", "mount"] {
            assert_eq!(ids(text).unwrap(), ["mount-4711"], "{text}");
        }
    }

    #[test]
    fn a_pod_goes_for_all_its_volumes() {
        assert_eq!(ids("shop/web-1").unwrap(), ["csi-8d2ac6f1b0a94c53", "csi-8d2ac6f1ffff"]);
    }

    #[test]
    fn a_process_that_does_not_answer_is_named_with_what_it_serves_and_the_remedy() {
        let silent =
            Silent { process: Some(4711), socket: "/a.sock".into(), target: Some("/mnt/app".into()) };
        let stranger = Silent { process: None, target: None, ..silent.clone() };

        assert_eq!(
            silent.to_string(),
            "process 4711, which serves /mnt/app, does not answer within 2 s; \
             if it was stopped, `kill -CONT 4711` lets it go on"
        );
        assert!(stranger.to_string().starts_with("the process behind /a.sock does not answer"), "{stranger}");
    }

    #[test]
    fn what_means_no_volume_or_several_is_refused() {
        for text in ["", "csi-8d2ac6f1", "web-1", "csi-9"] {
            assert!(ids(text).is_err(), "{text:?}");
        }
    }
}
