//! A process that does nothing but mount for others.

use std::fs;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use program::{hygiene, systemd};

use crate::registration::{BOOT_ID, registration_socket};
use crate::{Driver, Error, LocalMounter, Roots, Server, confinement};

/// Where the mounter listens unless told otherwise.
pub const SOCKET: &str = "/run/secretfs/mounter.sock";
/// Kubelet's `pods` unless told otherwise.
pub const PODS: &str = "/var/lib/kubelet/pods";
/// The name of the driver unless told otherwise.
pub const DRIVER: &str = "csi.secretfs.dev";

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
    pub registration_dir: Option<PathBuf>,
    /// Below which directories it makes the same sockets as well, as earlier versions had it.
    pub sockets: Vec<PathBuf>,
    /// Users that it serves beside root.
    pub uids: Vec<u32>,
    /// Whether it mounts where the kernel cannot keep secrets out of swap.
    pub allow_swap: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            socket: SOCKET.into(),
            pods: PODS.into(),
            driver_name: DRIVER.to_owned(),
            csi_endpoint: None,
            registration_dir: None,
            sockets: Vec::new(),
            uids: Vec::new(),
            allow_swap: false,
        }
    }
}

/// The calling process, once it is one that mounts for others and does nothing else.
#[derive(Debug)]
pub struct Process {
    /// Readable once a signal has told it to end.
    told_to_end: OwnedFd,
}

impl Process {
    /// Gives up what mounting does not take, and waits for SIGTERM and SIGINT in place of being ended by them. To be
    /// called while there is one thread: another one would keep its capabilities, and be ended.
    ///
    /// # Errors
    ///
    /// The kernel refuses, which it has no reason to.
    pub fn begin() -> io::Result<Self> {
        confinement::drop_capabilities()?;
        Ok(Self { told_to_end: sys::take_ending_signals()? })
    }

    /// Mounts for others until SIGTERM or SIGINT.
    ///
    /// # Errors
    ///
    /// It cannot listen, or loses its socket.
    pub fn serve(&self, settings: &Settings) -> Result<(), Error> {
        let itself = Path::new("this process");
        hygiene::seal().map_err(Error::of("keep to itself the memory of", itself))?;
        let server = settings.bind()?;
        confinement::filter_calls().map_err(Error::of("limit the system calls of", itself))?;
        let Settings { socket, pods, driver_name, .. } = settings;
        tracing::info!(
            socket = %socket.display(), pods = %pods.display(), driver = driver_name, "the mounter serves"
        );
        systemd::ready();
        hygiene::settle();
        server.run(self.told_to_end.as_fd()).map_err(Error::of("go on listening at", socket))?;
        tracing::info!("the mounter has stopped");
        Ok(())
    }
}

impl Settings {
    fn bind(&self) -> Result<Server, Error> {
        if let Some(directory) = self.socket.parent() {
            fs::create_dir_all(directory).map_err(Error::of("make", directory))?;
        }
        let driver = Driver { name: self.driver_name.clone(), sockets: self.drivers_sockets()? };
        let roots = Roots { pods: Some(self.pods.clone()), driver: Some(driver), ..Roots::default() };
        let mounter = LocalMounter::new(roots).allow_swap(self.allow_swap);
        Server::bind(&self.socket, mounter, self.uids.iter().copied().collect())
    }

    /// What `secretfs node` listens at: the CSI socket, and the driver's registration socket of this boot.
    fn drivers_sockets(&self) -> Result<Vec<PathBuf>, Error> {
        let boot_id = fs::read_to_string(BOOT_ID).map_err(Error::of("read", Path::new(BOOT_ID)))?;
        let registration = registration_socket(&self.driver_name, &boot_id);
        let kubelet = self.pods.parent().unwrap_or(&self.pods);
        let plugin = |directory: &Path| directory.join(&self.driver_name).join("csi.sock");
        let endpoint = self.csi_endpoint.clone().unwrap_or_else(|| plugin(&kubelet.join("plugins")));
        let registry = self.registration_dir.clone().unwrap_or_else(|| kubelet.join("plugins_registry"));
        let earlier = self.sockets.iter().flat_map(|directory| {
            [directory.join("csi.sock"), plugin(directory), directory.join(&registration)]
        });
        Ok([endpoint, registry.join(&registration)].into_iter().chain(earlier).collect())
    }
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
            registration_dir: Some("/registry".into()),
            sockets: Vec::new(),
            ..settings.clone()
        };
        let paths = |settings: Settings| {
            let sockets = settings.drivers_sockets().unwrap();
            sockets.iter().map(|path| path.display().to_string()).collect::<Vec<_>>()
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
