use std::sync::Arc;

use manifest::objects::{self, Asked, ObjectExtras, Position};
use manifest::yaml::NumericMode;
use manifest::{JmesPath, Listing, Shape, fields};
use provider::{Encoding, FileMode, Invalid, ObjectRef, Tree};
use serde::Deserialize;

use crate::call::{Call, Kind, is_name, is_version};
use crate::declaration::DECLARATION;
use crate::parameters::OnExpired;

/// A YAML map whose key `array` lists texts, each the YAML of one object.
pub(crate) const LISTING: Listing = Listing { shape: Shape::Texts, ..Listing::OBJECTS };

/// Most older versions beside the newest: each is a call at every refresh.
const MOST_OLDER: usize = 25;

/// One entry of `array`, as written. An empty value is the same as none.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Item {
    pub(crate) object_name: Option<String>,
    pub(crate) object_type: Option<String>,
    pub(crate) object_alias: Option<String>,
    keyvault_name: Option<String>,
    #[serde(rename = "keyvaultURL")]
    keyvault_url: Option<String>,
    pub(crate) object_version: Option<String>,
    pub(crate) object_version_history: Option<usize>,
    pub(crate) object_format: Option<String>,
    object_encoding: Option<String>,
    encoding: Option<String>,
    file_permission: Option<String>,
    optional: Option<bool>,
    default: Option<String>,
    jmes_path: Option<JmesPath>,
    file: Option<bool>,
    pub(crate) by_tags: Option<String>,
    pub(crate) directory: Option<String>,
    pub(crate) max_files: Option<usize>,
}

/// What to make of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) kind: Kind,
    pub(crate) piece: Piece,
}

/// What a file shows of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece {
    /// All of it; a certificate with its key as PEM.
    Pem,
    /// All of it, as the store has it.
    AsStored,
    /// The certificates of a secret that backs one.
    Certificates,
    /// The private key of a secret that backs a certificate.
    Key,
}

/// Which vault an object names, if any: by `keyvaultName` or by `keyvaultURL`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Named<'a> {
    Nothing,
    Name(&'a str),
    Url(&'a str),
}

/// What holds for every object of a class.
pub(crate) struct Around<F> {
    /// The URL of the vault that an object names; the reason, the key and the remedy if there is none.
    pub(crate) vault: F,
    pub(crate) separate_files: bool,
    pub(crate) on_expired: OnExpired,
}

/// Why a vault cannot be: the key, the reason, the remedy.
pub(crate) type NoVault = (&'static str, String, &'static str);

/// Keys of objects that nobody reads. Upstream's provider passes over them, and so do we.
pub(crate) fn unknown(text: &str) -> Vec<Invalid> {
    fields::unknown_in(&LISTING, text, DECLARATION.object)
}

/// Understands `objects`.
pub(crate) fn read<F>(text: &str, around: &Around<F>) -> Result<Read, Vec<Invalid>>
where
    F: Fn(Named<'_>) -> Result<String, NoVault>,
{
    let understand = |at: Position<'_>, item: Item| {
        let entry = Entry { at, item: &item };
        if item.is_listing() {
            return entry.tree(around).map(Asked::Tree);
        }
        let files = entry.files(around).map_err(|fault| vec![fault])?;
        entry.objects(files).map(|(objects, parts)| Asked::Objects(objects, parts))
    };
    let read = objects::read_with_trees(&LISTING, text, DECLARATION.object, understand)?;
    Ok(Read { objects: read.objects, parts: each(&read.kept), trees: read.trees })
}

/// What a class asks for.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) objects: Vec<ObjectRef>,
    /// What is made of each.
    pub(crate) parts: Vec<Part>,
    pub(crate) trees: Vec<Tree>,
}

/// One part for each object: those of one entry stand together, and each brought the parts of all.
fn each(parts: &[Arc<[Part]>]) -> Vec<Part> {
    let mut at: usize = 0;
    let mut made = Vec::with_capacity(parts.len());
    for (index, of_entry) in parts.iter().enumerate() {
        let is_next = index.checked_sub(1).and_then(|before| parts.get(before));
        at = if is_next.is_some_and(|before| Arc::ptr_eq(before, of_entry)) {
            at.saturating_add(1)
        } else {
            0
        };
        made.extend(of_entry.get(at).copied());
    }
    made
}

/// The objects of one entry, and what each of them shows.
type Made = (Vec<ObjectRef>, Arc<[Part]>);

/// One file to be.
struct File {
    path: String,
    call: Call,
    part: Part,
}

impl File {
    /// Whether it is there only if the store has it, whatever the class says: an older version, or a part of what may
    /// be no certificate.
    fn is_extra(&self) -> bool {
        self.is_piece() || self.call.age.is_some_and(|age| age > 0)
    }

    fn is_piece(&self) -> bool {
        matches!(self.part.piece, Piece::Certificates | Piece::Key)
    }
}

pub(crate) struct Entry<'a> {
    pub(crate) at: Position<'a>,
    pub(crate) item: &'a Item,
}

impl Entry<'_> {
    fn files<F>(&self, around: &Around<F>) -> Result<Vec<File>, Invalid>
    where
        F: Fn(Named<'_>) -> Result<String, NoVault>,
    {
        let (name, kind) = (self.name()?, self.kind()?);
        let call = Call {
            vault: (around.vault)(self.vault())
                .map_err(|(key, reason, remedy)| self.at.refuse(key, &reason, remedy))?,
            kind,
            name: name.to_owned(),
            version: self.version()?,
            age: None,
            sought: None,
        };
        let part = Part { kind, piece: self.piece(kind)? };
        let path = filled(&self.item.object_alias).unwrap_or(name);
        let encoding = self.encoding(kind)?;
        let with_pieces = around.separate_files
            && kind == Kind::Secret
            && part.piece == Piece::Pem
            && encoding == Encoding::None;
        let versions = self.versions(path, call)?;
        let files = versions.into_iter().flat_map(|(path, call)| {
            let pieces = if with_pieces { pieces(&path, &call, part) } else { Vec::new() };
            std::iter::once(File { path, call, part }).chain(pieces)
        });
        Ok(files.collect())
    }

    /// The path and the call of each version that is shown.
    fn versions(&self, path: &str, call: Call) -> Result<Vec<(String, Call)>, Invalid> {
        let older = self.item.object_version_history.unwrap_or(0);
        if older > MOST_OLDER {
            let reason = format!("it is more than {MOST_OLDER}");
            return Err(self.at.refuse("objectVersionHistory", &reason, "write a smaller number"));
        }
        if older < 2 {
            return Ok(vec![(path.to_owned(), call)]);
        }
        Ok((0..=older)
            .map(|age| (format!("{path}/{age}"), Call { age: Some(age), ..call.clone() }))
            .collect())
    }

    fn objects(&self, files: Vec<File>) -> Result<Made, Vec<Invalid>> {
        let mode = self.mode().map_err(|fault| vec![fault])?;
        let key = if filled(&self.item.object_alias).is_some() { "objectAlias" } else { "objectName" };
        let (mut objects, mut parts) = (Vec::new(), Vec::new());
        for file in files {
            let path = self.at.path(key, &file.path).map_err(|fault| vec![fault])?;
            let extras = self.extras(&file);
            let made = extras.objects(self.at, file.path, path, mode, file.call.request())?;
            parts.extend(made.iter().map(|_| file.part));
            objects.extend(made);
        }
        Ok((objects, parts.into()))
    }

    fn extras(&self, of: &File) -> ObjectExtras {
        let extras = self.written_extras();
        ObjectExtras {
            optional: extras.optional || of.is_extra(),
            default: extras.default.filter(|_| !of.is_extra()),
            jmes_path: extras.jmes_path.filter(|_| !of.is_piece()),
            ..extras
        }
    }

    pub(crate) fn written_extras(&self) -> ObjectExtras {
        let Item { optional, default, jmes_path, file, .. } = self.item;
        ObjectExtras {
            optional: optional.unwrap_or(false),
            default: default.clone(),
            encoding: self.written_encoding().1.map(str::to_owned),
            jmes_path: jmes_path.clone(),
            file: file.unwrap_or(true),
        }
    }

    fn name(&self) -> Result<&str, Invalid> {
        match filled(&self.item.object_name) {
            None => Err(self.at.refuse("objectName", "it is missing", "name an object of the vault")),
            Some(name) if is_name(name) => Ok(name),
            Some(_) => {
                let reason = "a name in a vault has 1 to 127 letters, digits and hyphens";
                Err(self.at.refuse("objectName", reason, "write the name as the vault has it"))
            }
        }
    }

    fn kind(&self) -> Result<Kind, Invalid> {
        let raw = filled(&self.item.object_type);
        let reason = if raw.is_some() { "it is none that we know" } else { "it is missing" };
        raw.and_then(Kind::of)
            .ok_or_else(|| self.at.refuse("objectType", reason, "write secret, key or cert, in lower case"))
    }

    pub(crate) fn vault(&self) -> Named<'_> {
        match (filled(&self.item.keyvault_url), filled(&self.item.keyvault_name)) {
            (Some(url), _) => Named::Url(url),
            (None, Some(name)) => Named::Name(name),
            (None, None) => Named::Nothing,
        }
    }

    fn version(&self) -> Result<Option<String>, Invalid> {
        match filled(&self.item.object_version) {
            None => Ok(None),
            Some(latest) if latest.eq_ignore_ascii_case("latest") => Ok(None),
            Some(version) if is_version(version) => Ok(Some(version.to_owned())),
            Some(_) => {
                let reason = "a version has letters and digits only";
                Err(self.at.refuse("objectVersion", reason, "write the id of a version, or remove it"))
            }
        }
    }

    fn piece(&self, kind: Kind) -> Result<Piece, Invalid> {
        match filled(&self.item.object_format).map(str::to_ascii_lowercase).as_deref() {
            None | Some("pem") => Ok(Piece::Pem),
            Some("pfx") if kind == Kind::Secret => Ok(Piece::AsStored),
            Some("pfx") => {
                let reason = "only a secret has a PFX: a key and a cert have no private key";
                Err(self.at.refuse("objectFormat", reason, "write objectType: secret, or remove it"))
            }
            Some(_) => Err(self.at.refuse("objectFormat", "it is none we know", "write pem or pfx")),
        }
    }

    /// The key that names the encoding, and the name: upstream's key goes before ours.
    fn written_encoding(&self) -> (&'static str, Option<&str>) {
        match filled(&self.item.object_encoding) {
            None => ("encoding", filled(&self.item.encoding)),
            upstreams => ("objectEncoding", upstreams),
        }
    }

    fn encoding(&self, kind: Kind) -> Result<Encoding, Invalid> {
        let (key, name) = self.written_encoding();
        let encoding = objects::encoding(self.at, key, name)?;
        if kind == Kind::Secret || encoding == Encoding::None {
            return Ok(encoding);
        }
        Err(self.at.refuse(key, "only a secret has an encoding: a key and a cert are PEM", "remove it"))
    }

    /// Octal text of any number of digits, with or without quotes.
    pub(crate) fn mode(&self) -> Result<Option<NumericMode>, Invalid> {
        let Some(raw) = filled(&self.item.file_permission) else { return Ok(None) };
        let bits = raw.bytes().all(|byte| byte.is_ascii_digit()).then(|| u64::from_str_radix(raw, 8).ok());
        let mode = bits.flatten().and_then(|bits| FileMode::try_from(bits).ok());
        mode.map(|mode| Some(NumericMode(mode))).ok_or_else(|| {
            let remedy = "write octal digits such as 0400, at most 0777";
            self.at.refuse("filePermission", "it is no file mode", remedy)
        })
    }
}

/// The files that a certificate makes beside its own.
fn pieces(path: &str, call: &Call, part: Part) -> Vec<File> {
    let piece = |suffix, piece| File {
        path: format!("{path}.{suffix}"),
        call: call.clone(),
        part: Part { piece, ..part },
    };
    vec![piece("crt", Piece::Certificates), piece("key", Piece::Key)]
}

fn filled(text: &Option<String>) -> Option<&str> {
    text.as_deref().map(str::trim).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests;
