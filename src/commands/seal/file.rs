use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use manifest::{Class, Manifests};
use provider::Invalid;

use crate::providers::sealing::{SealedText, spans};

/// What classes of sealed values name as their provider.
pub(super) const SEALED: &str = "sealed";
/// The longest manifest, in bytes.
const MOST: u64 = 16 << 20;

/// A manifest that was read, and is written again.
#[derive(Debug)]
pub(super) struct ManifestFile {
    path: PathBuf,
    text: String,
    manifests: Manifests,
}

impl ManifestFile {
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let name = || path.display().to_string();
        if fs::metadata(path).with_context(name)?.len() > MOST {
            bail!("{} is larger than {} MiB", path.display(), MOST >> 20);
        }
        let text = fs::read_to_string(path).with_context(name)?;
        let manifests = Manifests::read(&text);
        match manifests.faults.first() {
            Some(fault) => bail!("{}: {fault}", path.display()),
            None => Ok(Self { path: path.to_owned(), text, manifests }),
        }
    }

    /// The sealed classes of the file, or the one of them that is `named`.
    pub(super) fn classes(&self, named: Option<&str>) -> Vec<&Class> {
        let classes = self.manifests.classes.iter().map(|located| &located.class);
        let sealed = classes.filter(|class| class.provider == SEALED);
        let is_meant = |class: &&Class| {
            named.is_none_or(|named| {
                named == class.name || named == format!("{}/{}", class.namespace, class.name)
            })
        };
        sealed.filter(is_meant).collect()
    }

    /// The only one of these.
    pub(super) fn class(&self, named: Option<&str>) -> anyhow::Result<&Class> {
        match self.classes(named).as_slice() {
            [only] => Ok(only),
            [] => Err(anyhow!("{} has no such class with provider: {SEALED}", self.path.display())),
            _ => Err(anyhow!("{} has several sealed classes; choose one with --class", self.path.display())),
        }
    }

    /// The error for faults of a class in this file.
    pub(super) fn refused(&self, faults: &[Invalid]) -> anyhow::Error {
        anyhow!("{}: {}", self.path.display(), Invalid::all(faults))
    }

    /// Writes the file with the first text of each pair replaced by the second. Everything else stays as it is.
    pub(super) fn replace(&self, pairs: &[(SealedText, SealedText)]) -> anyhow::Result<()> {
        let mut spans = spans(&self.text);
        let mut text = self.text.clone();
        let mut edits = Vec::new();
        for (old, new) in pairs {
            let at = spans.iter().position(|span| span.text == *old).with_context(|| {
                format!("{}: the text of {} is not written as one piece", self.path.display(), old.place)
            })?;
            let span = spans.remove(at);
            edits.push((span.range.clone(), span.written(new)));
        }
        // From the end, so that places before stay where they are.
        edits.sort_by_key(|(range, _)| std::cmp::Reverse(range.start));
        edits.into_iter().for_each(|(range, new)| text.replace_range(range, &new));
        self.write(&text)
    }

    /// Replaces the file as a whole: whoever reads it sees the old text or the new one.
    fn write(&self, text: &str) -> anyhow::Result<()> {
        let path = fs::canonicalize(&self.path)?;
        let mut beside = path.clone().into_os_string();
        beside.push(format!(".{}", std::process::id()));
        let beside = PathBuf::from(beside);
        let written = write_beside(&path, &beside, text);
        if written.is_err() {
            // It was made by this process, under a name that has its number.
            let _ = fs::remove_file(&beside);
        }
        written.with_context(|| format!("write {}", path.display()))
    }
}

fn write_beside(path: &Path, beside: &Path, text: &str) -> anyhow::Result<()> {
    let mode = fs::metadata(path)?.permissions();
    let mut file: File = OpenOptions::new().write(true).create_new(true).mode(0o600).open(beside)?;
    file.write_all(text.as_bytes())?;
    file.set_permissions(mode)?;
    file.sync_all()?;
    Ok(fs::rename(beside, path)?)
}
