//! The names that both halves of a node know the driver's sockets by.

use std::path::{Path, PathBuf};

/// Where the kernel tells which boot this is.
pub const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// Characters of the boot's id in the name of a registration socket.
pub const BOOT_SHOWN: usize = 8;

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
