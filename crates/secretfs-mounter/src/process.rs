//! A process that does nothing but mount for others.

use std::fs;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use mounter_protocol::{BOOT_ID, DRIVER, PODS, SOCKET, registration_socket};
use program::{hygiene, privileges, systemd};

use crate::callers::Users;
use crate::server::Server;
use crate::{Driver, Verbs, confinement, predecessor};

/// What such a process is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where it listens.
    pub socket: PathBuf,
    /// Below which directory it mounts: kubelet's `pods`.
    pub pods: PathBuf,
    /// The one CSI driver that it serves.
    pub driver_name: String,
    /// The driver's CSI socket; beside the directory of pods if there is none.
    pub csi_endpoint: Option<PathBuf>,
    /// Kubelet's directory of registration sockets; beside the directory of pods if there is none.
    pub registry: Option<PathBuf>,
    /// Below which directories it makes the same sockets as well, as earlier versions had it.
    pub sockets: Vec<PathBuf>,
    /// In which directories providers listen that it connects to for callers that may not.
    pub providers: Vec<PathBuf>,
    /// Users that it serves beside root.
    pub uids: Vec<u32>,
    /// Whether it mounts where the kernel cannot keep secrets out of swap.
    pub allow_swap: bool,
}

impl Default for Settings {
    fn default() -> Self {
        let (socket, pods, driver_name) = (SOCKET.into(), PODS.into(), DRIVER.to_owned());
        let (csi_endpoint, registry, sockets, providers, uids, allow_swap) = Default::default();
        Self { socket, pods, driver_name, csi_endpoint, registry, sockets, providers, uids, allow_swap }
    }
}

/// The calling process, once it is one that mounts for others and does nothing else.
#[derive(Debug)]
pub struct Process {
    /// Readable once a signal has told it to end.
    told_to_end: OwnedFd,
    users: Users,
}

impl Process {
    /// Gives up what mounting does not take, prepares to serve `uids` beside root, and waits for SIGTERM and SIGINT in place
    /// of being ended by them. To be called while there is one thread: another one would keep its capabilities, and be ended.
    ///
    /// # Errors
    ///
    /// The kernel refuses, which it has no reason to.
    pub fn begin(uids: &[u32]) -> io::Result<Self> {
        hygiene::reserve_descriptors();
        let users = Users::of(uids);
        privileges::keep(confinement::NEEDED)?;
        Ok(Self { told_to_end: sys::take_ending_signals()?, users })
    }

    /// Mounts for others until SIGTERM or SIGINT.
    ///
    /// # Errors
    ///
    /// It cannot listen, or loses its socket.
    pub fn serve(self, settings: &Settings) -> io::Result<()> {
        let Settings { socket, pods, driver_name, .. } = settings;
        let itself = Path::new("this process");
        hygiene::raise_open_files();
        hygiene::seal().map_err(cannot("keep to itself the memory of", itself))?;
        let directory = socket.parent().unwrap_or(socket);
        fs::create_dir_all(directory).map_err(cannot("make", directory))?;
        let driver = settings.driver()?;
        predecessor::let_end(socket, &driver).map_err(cannot("take over", socket))?;
        let verbs = Verbs::new(driver).allow_swap(settings.allow_swap);
        self.users.tell();
        let server = Server::bind(socket, verbs, self.users).map_err(cannot("listen at", socket))?;
        confinement::filter_calls().map_err(cannot("limit the system calls of", itself))?;
        tracing::info!(
            socket = %socket.display(), pods = %pods.display(), driver = driver_name, "the mounter serves"
        );
        systemd::ready();
        hygiene::settle();
        server.run(self.told_to_end.as_fd()).map_err(cannot("go on listening at", socket))?;
        tracing::info!("the mounter has stopped");
        Ok(())
    }
}

impl Settings {
    /// What it acts on: below the pods, the CSI socket, and the driver's registration socket of this boot.
    fn driver(&self) -> io::Result<Driver> {
        let (name, pods) = (self.driver_name.clone(), self.pods.clone());
        let boot_id = fs::read_to_string(BOOT_ID).map_err(cannot("read", Path::new(BOOT_ID)))?;
        let registration = registration_socket(&name, &boot_id);
        let kubelet = pods.parent().unwrap_or(&pods);
        let plugin = |directory: &Path| directory.join(&name).join("csi.sock");
        let endpoint = self.csi_endpoint.clone().unwrap_or_else(|| plugin(&kubelet.join("plugins")));
        let registry = self.registry.clone().unwrap_or_else(|| kubelet.join("plugins_registry"));
        let earlier = self.sockets.iter().flat_map(|directory| {
            [directory.join("csi.sock"), plugin(directory), directory.join(&registration)]
        });
        let sockets = [endpoint, registry.join(&registration)].into_iter().chain(earlier).collect();
        Ok(Driver { name, pods, sockets, providers: self.providers.clone() })
    }
}

/// Says what could not be done, and where.
fn cannot(action: &str, path: &Path) -> impl FnOnce(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("cannot {action} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_drivers_sockets_are_beside_the_pods_unless_it_is_told_where() {
        let boot_id = fs::read_to_string(BOOT_ID).unwrap();
        let registration = registration_socket("a.driver", &boot_id);
        let settings = Settings {
            pods: "/kubelet/pods".into(),
            driver_name: "a.driver".to_owned(),
            sockets: vec!["/more".into()],
            ..Settings::default()
        };
        let told = Settings {
            csi_endpoint: Some("/csi/csi.sock".into()),
            registry: Some("/registry".into()),
            sockets: Vec::new(),
            ..settings.clone()
        };
        let paths = |settings: Settings| {
            let driver = settings.driver().unwrap();
            driver.sockets.iter().map(|path| path.display().to_string()).collect::<Vec<_>>()
        };

        assert_eq!(
            paths(settings),
            [
                "/kubelet/plugins/a.driver/csi.sock".to_owned(),
                format!("/kubelet/plugins_registry/{registration}"),
                "/more/csi.sock".to_owned(),
                "/more/a.driver/csi.sock".to_owned(),
                format!("/more/{registration}"),
            ]
        );
        assert_eq!(paths(told), ["/csi/csi.sock".to_owned(), format!("/registry/{registration}")]);
    }
}
