//! What both sides call the same things.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// Where the mounter listens unless told otherwise.
pub const SOCKET: &str = "/run/secretfs/mounter.sock";
/// Kubelet's `pods` unless told otherwise.
pub const PODS: &str = "/var/lib/kubelet/pods";
/// The name of the driver unless told otherwise.
pub const DRIVER: &str = "csi.secretfs.dev";
/// Where the kernel tells which boot this is.
pub const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// Characters of the boot's id in the name of a registration socket.
pub const BOOT_SHOWN: usize = 8;
/// What the name of a lent directory begins with. A directory of such a name is ours.
const LENT: &str = ".secretfs-";

/// What the registration socket of `driver` is called in the boot that the kernel calls `boot_id`.
pub fn registration_socket(driver: &str, boot_id: &str) -> String {
    let boot: String = boot_id.chars().filter(char::is_ascii_hexdigit).take(BOOT_SHOWN).collect();
    format!("{driver}-{boot}-reg.sock")
}

/// The path of a CSI socket: `unix:///csi/csi.sock`, as CSI_ENDPOINT has it, or the path itself.
///
/// # Errors
///
/// It is no absolute path; what to write instead.
pub fn endpoint(text: &str) -> Result<PathBuf, &'static str> {
    let path = Path::new(text.strip_prefix("unix://").unwrap_or(text));
    if path.is_absolute() { Ok(path.to_owned()) } else { Err("write an absolute path, as in /csi/csi.sock") }
}

/// Where a directory is lent for the volume at `target`: next to it, where whoever sees the volume sees it too.
pub fn beside(target: &Path) -> PathBuf {
    target.with_file_name(lent_name(target.file_name().unwrap_or_default()))
}

/// What the directory is called that is lent beside one called `target`.
pub fn lent_name(target: &OsStr) -> OsString {
    let mut name = OsString::from(LENT);
    name.push(target);
    name
}
