//! The processes that mount volumes on this host, found by their admin sockets.

use std::path::PathBuf;

use futures::future::join_all;

use crate::admin::{VolumeStatus, client, socket};
use crate::exit::Failure;

/// Where running processes are found.
#[derive(Debug, Clone, clap::Args)]
pub struct SocketArgs {
    /// Admin socket of a running secretfs, or a directory of such sockets
    #[arg(long, value_name = "PATH", default_value = socket::DIRECTORY, env = "SECRETFS_ADMIN_SOCKET")]
    pub socket: PathBuf,
}

/// A volume and the socket of the process that serves it.
#[derive(Debug, Clone)]
pub(super) struct Served {
    pub(super) socket: PathBuf,
    pub(super) volume: VolumeStatus,
}

impl SocketArgs {
    /// The sockets behind which somebody may be.
    pub(super) fn sockets(&self) -> Result<Vec<PathBuf>, Failure> {
        Ok(client::sockets(&self.socket)?)
    }

    /// Every volume of every process.
    pub(super) async fn volumes(&self) -> Result<Vec<Served>, Failure> {
        let sockets = self.sockets()?;
        let answers = join_all(sockets.iter().map(|socket| client::status(socket))).await;
        let mut volumes = Vec::new();
        let mut anybody = false;
        for (socket, answer) in sockets.into_iter().zip(answers) {
            match answer {
                Ok(found) => {
                    anybody = true;
                    volumes.extend(found.into_iter().map(|volume| Served { socket: socket.clone(), volume }));
                }
                Err(error) if error.is_nobody() => {}
                Err(error) => return Err(error.into()),
            }
        }
        if anybody { Ok(volumes) } else { Err(self.nobody()) }
    }

    /// Nobody answers.
    pub(super) fn nobody(&self) -> Failure {
        Failure::Failed(anyhow::anyhow!(
            "no secretfs is running: nobody answers at {}; start one with `secretfs mount` or `secretfs node`, \
             or say where its admin socket is with --socket",
            self.socket.display()
        ))
    }
}

/// The volumes that `text` means: by id, target path, `namespace/pod`, or the beginning of one id.
pub(super) fn select(volumes: Vec<Served>, text: &str) -> Result<Vec<Served>, Failure> {
    let (exact, others): (Vec<_>, Vec<_>) = volumes.into_iter().partition(|served| served.volume.is(text));
    if !exact.is_empty() {
        return Ok(exact);
    }
    let begun: Vec<_> = others.into_iter().filter(|served| served.volume.begins_with(text)).collect();
    match begun.len() {
        0 => Err(none(text)),
        1 => Ok(begun),
        _ => Err(several(text, &begun)),
    }
}

fn none(text: &str) -> Failure {
    Failure::Failed(anyhow::anyhow!(
        "no volume is called {text:?}; give an id, the beginning of one, a target path or namespace/pod \
         (`secretfs status` lists them)"
    ))
}

fn several(text: &str, volumes: &[Served]) -> Failure {
    let ids: Vec<&str> = volumes.iter().map(|served| served.volume.volume.as_str()).collect();
    Failure::Failed(anyhow::anyhow!(
        "{text:?} is the beginning of several volumes: {}; give more of one",
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
    fn what_means_no_volume_or_several_is_refused() {
        for text in ["", "csi-8d2ac6f1", "web-1", "csi-9"] {
            assert!(ids(text).is_err(), "{text:?}");
        }
    }
}
