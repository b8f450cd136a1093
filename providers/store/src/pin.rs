//! The public half of a store's root key, known from outside of the database.
//!
//! Anyone who may write to the database can replace the root key in it by a key of their own, and read what others
//! encrypt to that key. So nobody trusts the key in the database. The public half comes from the root key itself, from
//! a file beside it, or from a file that the key's owner gave out.

use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use provider::{Error, ErrorKind, Result};
use rusqlite::Connection;

use crate::bundle::Bundle;
use crate::database::{Inside, identity};
use crate::durable;
use crate::keys::{KEY_BYTES, PublicKey, RootKey, RootPublic, StoreId};
use crate::root_file::{RootKeySource, parent};

const PREFIX: &str = "SFSPUB1 ";
const ABOUT: &str =
    "# secretfs public key: of the root key beside it, to compare with what the store says.\n";

/// The identity of a store: its id, and the public half of its root key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pin {
    pub(crate) store: StoreId,
    pub(crate) root: RootPublic,
}

/// How a host recognises the right store.
#[derive(Debug, Clone)]
pub struct Anchor {
    root: RootKeySource,
    public: Option<PathBuf>,
}

/// What the database's statements are compared with.
#[derive(Debug)]
pub(crate) struct Trust {
    anchor: Anchor,
    /// The pins for hosts without the root key: one, or two during a rotation of the root key.
    pins: Vec<Pin>,
    /// Root keys that could be unlocked here: one, or two after a rotation was killed.
    roots: Vec<RootPublic>,
}

impl Anchor {
    /// Recognises the store by the root key in `root` or, if that cannot be opened, by the public half beside it.
    pub fn new(root: RootKeySource) -> Self {
        Self { root, public: None }
    }

    /// Also uses the public half in `file`: a public bundle, or a copy of the file beside the root key.
    #[must_use]
    pub fn with_public(self, file: Option<PathBuf>) -> Self {
        Self { public: file, ..self }
    }

    pub(crate) fn root(&self) -> &RootKeySource {
        &self.root
    }
}

impl Trust {
    /// Reads everything that `anchor` names.
    ///
    /// # Errors
    ///
    /// Neither the root key nor its public half can be read here.
    pub(crate) fn establish(anchor: &Anchor) -> Result<Self> {
        let roots = anchor.root.public_halves();
        let pins = match &anchor.public {
            Some(given) => read(given)?,
            None => read_beside(&anchor.root, !roots.is_empty())?,
        };
        Ok(Self { anchor: anchor.clone(), pins, roots })
    }

    /// Whether the root key itself can be opened here.
    pub(crate) fn holds_root(&self) -> bool {
        !self.roots.is_empty()
    }

    pub(crate) fn root(&self) -> &RootKeySource {
        &self.anchor.root
    }

    /// The root key, if it can be opened here and its public half is `public`.
    pub(crate) fn unlock(&self, public: &RootPublic) -> Option<RootKey> {
        if self.holds_root() { self.root().unlock_as(public).ok() } else { None }
    }

    /// The identity that the database states, after a check.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check).
    pub(crate) fn identity(&self, connection: &Connection) -> Inside<Pin> {
        let said = identity(connection)?;
        self.check(&said)?;
        Ok(said)
    }

    /// Writes the file with the public half beside the root key, if the root key confirms `said` and the file is
    /// missing.
    pub(crate) fn pin(&self, said: &Pin) {
        if !self.holds_root() || self.anchor.public.is_some() || self.pins.contains(said) {
            return;
        }
        if let Err(error) = write_beside(self.root(), &[*said]) {
            tracing::debug!(%error, "hosts without the root key need its public half from elsewhere");
        }
    }

    /// Compares the identity that a database states with what is known.
    ///
    /// # Errors
    ///
    /// `Denied`: it is another store, or the database was tampered with.
    pub(crate) fn check(&self, said: &Pin) -> Result<()> {
        // The root key may have been rotated since the last look.
        if self.accepts(said) || Self::establish(&self.anchor)?.accepts(said) {
            return Ok(());
        }
        Err(self.mismatch(said))
    }

    fn accepts(&self, said: &Pin) -> bool {
        let of_that_key: Vec<_> = self.pins.iter().filter(|pin| pin.root == said.root).collect();
        let known_root = match self.anchor.public {
            // If both a public file and the root key are there, both must agree.
            Some(_) => !of_that_key.is_empty() && (self.roots.is_empty() || self.roots.contains(&said.root)),
            None if self.holds_root() => self.roots.contains(&said.root),
            None => !of_that_key.is_empty(),
        };
        known_root && of_that_key.iter().all(|pin| pin.store == said.store)
    }

    fn mismatch(&self, said: &Pin) -> Error {
        let known: Vec<_> = self
            .roots
            .iter()
            .chain(self.pins.iter().map(|pin| &pin.root))
            .map(|key| key.id().to_string())
            .collect();
        let text = format!(
            "the database says that its root key is {} of store {}, and that is not the key that is known here ({}): \
             somebody may have replaced it to read what is put. Nothing was encrypted to it",
            said.root.id(),
            said.store,
            known.join(", ")
        );
        Error::new(ErrorKind::Denied, text).remedy(format!(
            "find out who writes to the database and restore it from a backup; if it is the right one, give its root key \
             (--root-key FILE), or its public half (--root-public FILE) instead of {}",
            self.anchor.root.public_file().display()
        ))
    }
}

/// Replaces the file beside `root` by one with `pins`, completely or not at all.
///
/// # Errors
///
/// The directory cannot be written.
pub(crate) fn write_beside(root: &RootKeySource, pins: &[Pin]) -> Result<()> {
    let path = root.public_file();
    durable::replace(&path, text(pins).as_bytes(), 0o644)
        .map_err(|error| unusable(&path, &format!("cannot be written: {error}")))
}

fn text(pins: &[Pin]) -> String {
    let mut text = ABOUT.to_owned();
    for Pin { store, root } in pins {
        let bytes = [store.0.as_slice(), &root.seal.0, &root.verify].concat();
        text += &format!("{PREFIX}{}\n", STANDARD.encode(bytes));
    }
    text
}

fn read_beside(root: &RootKeySource, is_held: bool) -> Result<Vec<Pin>> {
    let path = root.public_file();
    match read(&path) {
        Ok(pins) => Ok(pins),
        Err(_) if is_held && !path.exists() => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn read(path: &Path) -> Result<Vec<Pin>> {
    let file = File::open(path).map_err(|error| missing(path, &error))?;
    refuse_writable(path, &file)?;
    let mut bytes = Vec::new();
    file.take(Bundle::MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| unusable(path, &format!("cannot be read: {error}")))?;
    let pins = decode(&bytes);
    if pins.is_empty() {
        Err(unusable(path, "is no public half of a root key and no public bundle"))
    } else {
        Ok(pins)
    }
}

/// Refuses a file that others may write: such a file proves nothing against them.
///
/// # Errors
///
/// `Denied`: users other than the owner may write the file, or replace it.
pub(crate) fn refuse_writable(path: &Path, file: &File) -> Result<()> {
    let metadata = file.metadata().map_err(|error| unseen(path, &error))?;
    let mode = metadata.mode() & 0o7777;
    if metadata.is_file() && mode & 0o022 != 0 {
        let remedy = format!("chmod go-w {}, once you know that it is right", path.display());
        return Err(fault(path, &format!("may be written by others (mode {mode:04o})")).remedy(remedy));
    }
    refuse_place(path, &metadata)
}

fn refuse_place(path: &Path, file: &Metadata) -> Result<()> {
    let look = |metadata: io::Result<Metadata>| metadata.map_err(|error| unseen(path, &error));
    let place = look(std::fs::metadata(parent(path)))?;
    let mode = place.mode() & 0o7777;
    if mode & 0o022 == 0 {
        return Ok(());
    }
    // In a sticky directory everybody may add files and replace their own, so the owners are checked. A symbolic link
    // counts too.
    let entry = look(std::fs::symlink_metadata(path))?;
    if mode & 0o1000 != 0 && [place.uid(), entry.uid(), file.uid()].into_iter().all(is_trusted) {
        return Ok(());
    }
    Err(fault(path, &format!("lies where others may write (mode {mode:04o})")).remedy(
        "keep it in a directory that nobody but its owner may write to, once you know that it is right",
    ))
}

fn fault(path: &Path, what: &str) -> Error {
    Error::new(ErrorKind::Denied, format!("{} {what}", path.display()))
}

fn unseen(path: &Path, error: &io::Error) -> Error {
    fault(path, &format!("cannot be looked at: {error}"))
}

fn is_trusted(owner: u32) -> bool {
    owner == 0 || owner == rustix::process::geteuid().as_raw()
}

fn decode(bytes: &[u8]) -> Vec<Pin> {
    if bytes.len() as u64 > Bundle::MAX_BYTES {
        return Vec::new();
    }
    if let Ok(bundle) = Bundle::from_json(bytes) {
        return vec![bundle.pin()];
    }
    bytes
        .split(|byte| *byte == b'\n')
        .filter_map(|line| pin(line.strip_prefix(PREFIX.as_bytes())?))
        .take(2)
        .collect()
}

fn pin(line: &[u8]) -> Option<Pin> {
    let bytes = STANDARD.decode(line.trim_ascii()).ok()?;
    let (store, rest) = bytes.split_first_chunk::<16>()?;
    let (seal, rest) = rest.split_first_chunk::<KEY_BYTES>()?;
    let verify = rest.try_into().ok()?;
    Some(Pin { store: StoreId(*store), root: RootPublic { seal: PublicKey(*seal), verify } })
}

fn missing(path: &Path, error: &io::Error) -> Error {
    let text = format!(
        "neither the root key nor its public half {} can be read here ({error}), and the database's own word for it \
         is not enough: who writes to it could read what is put",
        path.display()
    );
    Error::new(ErrorKind::Denied, text).remedy(
        "give the public half (--root-public FILE): a bundle of `secretfs store export-public`, or a copy of the file that any \
         `secretfs store` command writes beside the root key",
    )
}

fn unusable(path: &Path, what: &str) -> Error {
    Error::new(ErrorKind::Denied, format!("public half of the root key {} {what}", path.display()))
}
