use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use provider::{Error, ErrorKind, Result};
use zeroize::Zeroizing;

use super::file::Identity;

/// The longest file of an identity, in bytes.
const LONGEST: usize = 16 << 10;

/// Whether this process opens what was sealed to a key of age, and with which.
#[derive(Debug, Clone, Default)]
pub struct NodeKey {
    /// The file with the identity, which is read at each login.
    pub file: Option<PathBuf>,
    /// A node, where nobody allowed it: the key would open for every pod there, and no store would be asked.
    pub is_forbidden: bool,
}

impl NodeKey {
    /// The identity.
    ///
    /// # Errors
    ///
    /// `Invalid`: it is forbidden, not configured, or the file cannot be used.
    pub(crate) fn identity(&self) -> Result<Identity> {
        if self.is_forbidden {
            let text = "this node opens nothing that was sealed to a key of age, for which no store is asked";
            return Err(refused(
                text,
                "seal it with the key of a store; or start the node with --allow-node-key",
            ));
        }
        let Some(file) = &self.file else {
            return Err(refused("this secretfs has no --node-key", "name the file of the age identity"));
        };
        read(file)
    }
}

fn refused(text: &str, remedy: &str) -> Error {
    Error::new(ErrorKind::Invalid, text).remedy(remedy).unasked()
}

fn read(path: &Path) -> Result<Identity> {
    let name = path.display();
    let unfit = |why: &str, remedy: &str| refused(&format!("--node-key {name}: {why}"), remedy);
    // What is opened is what is looked at. A pipe is not waited for.
    let file = OpenOptions::new().read(true).custom_flags(at_once()).open(path);
    let file = file.map_err(|error| unfit(&error.to_string(), "correct the path or its mode"))?;
    let kept = file.metadata().map_err(|error| unfit(&error.to_string(), "correct the path"))?;
    let me = rustix::process::geteuid().as_raw();
    match () {
        () if !kept.is_file() => Err(unfit("it is no file", "name a file")),
        () if kept.uid() != 0 && kept.uid() != me => {
            Err(unfit("it belongs to somebody else, who could put another key there", "give it to root"))
        }
        () if kept.mode() & 0o077 != 0 => Err(unfit("others can read or write it", "chmod 600 it")),
        () if kept.len() > LONGEST as u64 => {
            Err(unfit("it is longer than 16 KiB", "name the file of an age identity"))
        }
        () => parse(file).ok_or_else(|| {
            unfit("it has no AGE-SECRET-KEY-1…", "make one with `age-keygen`, or name another file")
        }),
    }
}

fn parse(file: File) -> Option<Identity> {
    // Allocated at its full size: a buffer that grows leaves copies behind.
    let mut text = Zeroizing::new(Vec::with_capacity(LONGEST + 64));
    file.take(LONGEST as u64).read_to_end(&mut text).ok()?;
    Identity::parse(std::str::from_utf8(&text).ok()?)
}

/// Flags to open without waiting for anybody.
fn at_once() -> i32 {
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    i32::try_from(flags.bits()).unwrap_or_default()
}
