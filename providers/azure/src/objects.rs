use std::sync::Arc;

use manifest::objects::{self, ObjectExtras, Position};
use manifest::yaml::NumericMode;
use manifest::{JmesPath, Listing, Shape, fields};
use provider::{Encoding, FileMode, Invalid, ObjectRef};
use serde::Deserialize;

use crate::call::{Call, Kind, is_name, is_version};
use crate::declaration::DECLARATION;

/// A YAML map whose key `array` lists texts, each the YAML of one object.
pub(crate) const LISTING: Listing = Listing { shape: Shape::Texts, ..Listing::OBJECTS };

/// Most older versions beside the newest: each is a call at every refresh.
const MOST_OLDER: usize = 25;

/// One entry of `array`, as written. An empty value is the same as none.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    object_name: Option<String>,
    object_type: Option<String>,
    object_alias: Option<String>,
    keyvault_name: Option<String>,
    #[serde(rename = "keyvaultURL")]
    keyvault_url: Option<String>,
    object_version: Option<String>,
    object_version_history: Option<usize>,
    object_format: Option<String>,
    object_encoding: Option<String>,
    encoding: Option<String>,
    file_permission: Option<String>,
    optional: Option<bool>,
    default: Option<String>,
    jmes_path: Option<JmesPath>,
    file: Option<bool>,
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
}

/// Why a vault cannot be: the key, the reason, the remedy.
pub(crate) type NoVault = (&'static str, String, &'static str);

/// Keys of objects that nobody reads. Upstream's provider passes over them, and so do we.
pub(crate) fn unknown(text: &str) -> Vec<Invalid> {
    fields::unknown_in(&LISTING, text, DECLARATION.object)
}

/// Understands `objects`.
pub(crate) fn read<F>(text: &str, around: &Around<F>) -> Result<(Vec<ObjectRef>, Vec<Part>), Vec<Invalid>>
where
    F: Fn(Named<'_>) -> Result<String, NoVault>,
{
    let understand = |at: Position<'_>, item: Item| {
        let entry = Entry { at, item: &item };
        let files = entry.files(around).map_err(|fault| vec![fault])?;
        entry.objects(files)
    };
    let (objects, parts) = objects::read_listed(&LISTING, text, DECLARATION.object, understand)?;
    Ok((objects, each(&parts)))
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

struct Entry<'a> {
    at: Position<'a>,
    item: &'a Item,
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
        let Item { optional, default, jmes_path, file, .. } = self.item;
        ObjectExtras {
            optional: optional.unwrap_or(false) || of.is_extra(),
            default: default.clone().filter(|_| !of.is_extra()),
            encoding: self.written_encoding().1.map(str::to_owned),
            jmes_path: jmes_path.clone().filter(|_| !of.is_piece()),
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

    fn vault(&self) -> Named<'_> {
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
    fn mode(&self) -> Result<Option<NumericMode>, Invalid> {
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
mod tests {
    use super::*;

    fn read_with(text: &str, separate_files: bool) -> Result<(Vec<ObjectRef>, Vec<Part>), Vec<Invalid>> {
        let vault = |named: Named<'_>| match named {
            Named::Nothing => Ok("https://own".to_owned()),
            Named::Name(name) => Ok(format!("https://{name}")),
            Named::Url(url) => Ok(url.to_owned()),
        };
        read(text, &Around { vault, separate_files })
    }

    /// `keys` of one object.
    fn one(keys: &str) -> Result<(Vec<ObjectRef>, Vec<Part>), Vec<Invalid>> {
        read_with(&format!("array:\n- |\n  {}\n", keys.replace("; ", "\n  ")), false)
    }

    fn paths(objects: &[ObjectRef]) -> Vec<&str> {
        objects.iter().map(|object| object.path.as_str()).collect()
    }

    fn refusal(keys: &str) -> String {
        one(keys).unwrap_err()[0].to_string()
    }

    #[test]
    fn trap_parameter_holding_the_list_objects_is_a_map_whose_array_lists_texts_of_yaml() {
        let text = "array:\n  - |\n    objectName: a\n    objectType: secret\n  - \"objectName: b\\nobjectType: key\"\n";

        assert_eq!(paths(&read_with(text, false).unwrap().0), ["a", "b"]);
        assert!(
            read_with("- {objectName: a, objectType: secret}", false).is_err(),
            "a bare list is vault's form"
        );
    }

    #[test]
    fn trap_yaml_dialect_keys_are_case_sensitive() {
        assert!(refusal("ObjectName: a; objectType: secret").contains("objects[0].objectName"));
        assert!(refusal("objectName: a; objectType: SECRET").contains("write secret, key or cert"));
    }

    #[test]
    fn trap_unknown_keys_are_ignored() {
        let (objects, _) = one("objectName: a; objectType: secret; objectColour: red").unwrap();

        assert_eq!(paths(&objects), ["a"]);
        let remarks = unknown("array:\n- |\n  objectName: a\n  objectColour: red\n");
        assert!(remarks[0].to_string().contains("objectColour"), "{remarks:?}");
    }

    #[test]
    fn trap_file_mode_key_is_octal_text_with_or_without_quotes_and_a_bad_one_is_an_error() {
        for (written, bits) in
            [("0400", 0o400), ("\"0400\"", 0o400), ("400", 0o400), ("00440", 0o440), ("0", 0)]
        {
            let (objects, _) =
                one(&format!("objectName: a; objectType: secret; filePermission: {written}")).unwrap();
            assert_eq!(objects[0].mode.unwrap().bits(), bits, "{written}");
        }
        for written in ["0o400", "rw", "0999", "01000", "-1", "\"7777777777777777777777777\""] {
            let told = refusal(&format!("objectName: a; objectType: secret; filePermission: {written}"));
            assert!(told.contains("objects[0].filePermission"), "{told}");
        }
    }

    #[test]
    fn trap_scalars_as_names_stay_the_text_that_is_written() {
        for name in ["y", "on", "0123", "1e3", "true"] {
            let (objects, _) = one(&format!("objectName: {name}; objectType: secret")).unwrap();
            assert_eq!(paths(&objects), [name]);
        }
    }

    #[test]
    fn trap_default_mode_is_the_volumes_own() {
        let (objects, _) = one("objectName: a; objectType: secret").unwrap();

        assert_eq!(objects[0].mode, None);
    }

    #[test]
    fn trap_slash_in_file_name_is_allowed_by_an_alias() {
        let (objects, _) = one("objectName: a; objectType: secret; objectAlias: db/password").unwrap();

        assert_eq!(paths(&objects), ["db/password"]);
        assert!(refusal("objectName: a/b; objectType: secret").contains("objects[0].objectName"));
        for alias in ["/etc/passwd", "../a", "a/../../b"] {
            let told = refusal(&format!("objectName: a; objectType: secret; objectAlias: {alias}"));
            assert!(told.contains("objects[0].objectAlias"), "{told}");
        }
    }

    #[test]
    fn a_history_is_a_directory_of_one_more_file_than_it_says() {
        let (objects, _) =
            one("objectName: a; objectType: secret; objectAlias: x; objectVersionHistory: 2").unwrap();

        assert_eq!(paths(&objects), ["x/0", "x/1", "x/2"]);
        let optional: Vec<_> = objects.iter().map(|object| object.optional).collect();
        assert_eq!(optional, [false, true, true], "older versions are shown as far as there are any");
        for few in ["0", "1"] {
            let (objects, _) =
                one(&format!("objectName: a; objectType: secret; objectVersionHistory: {few}")).unwrap();
            assert_eq!(paths(&objects), ["a"]);
        }
        assert!(
            refusal("objectName: a; objectType: secret; objectVersionHistory: 26").contains("more than 25")
        );
    }

    #[test]
    fn what_is_taken_of_a_secret_is_taken_of_each_of_its_versions() {
        let (objects, _) =
            one("objectName: a; objectType: secret; objectVersionHistory: 2; jmesPath: key; default: x")
                .unwrap();

        assert!(objects.iter().all(|object| object.jmes_path.as_deref() == Some("key")));
        let defaults: Vec<_> = objects.iter().map(|object| object.default.is_some()).collect();
        assert_eq!(defaults, [true, false, false]);
    }

    #[test]
    fn only_secrets_have_a_format_and_an_encoding() {
        for key in ["objectEncoding", "encoding"] {
            let (objects, parts) =
                one(&format!("objectName: a; objectType: secret; objectFormat: PFX; {key}: Base64")).unwrap();
            assert_eq!((parts[0].piece, objects[0].encoding), (Piece::AsStored, Encoding::Base64));
        }
        for keys in ["objectFormat: PFX", "objectEncoding: hex", "encoding: hex"] {
            assert!(
                refusal(&format!("objectName: a; objectType: cert; {keys}")).contains("only a secret has"),
                "{keys}"
            );
        }
        assert!(
            refusal("objectName: a; objectType: secret; objectEncoding: rot13")
                .contains("utf-8, base64 or hex")
        );
    }

    #[test]
    fn certificates_have_files_of_their_own_for_certificate_and_key_where_asked() {
        let text =
            "array:\n- |\n  objectName: web\n  objectType: secret\n- |\n  objectName: k\n  objectType: key\n";

        let (objects, parts) = read_with(text, true).unwrap();

        assert_eq!(paths(&objects), ["web", "web.crt", "web.key", "k"]);
        let pieces: Vec<_> = parts.iter().map(|part| part.piece).collect();
        assert_eq!(pieces, [Piece::Pem, Piece::Certificates, Piece::Key, Piece::Pem]);
        let requests: std::collections::BTreeSet<_> = objects.iter().map(|object| &object.request).collect();
        assert_eq!(requests.len(), 2, "all of one certificate are one call");
    }

    #[test]
    fn an_object_may_be_in_another_vault() {
        let (objects, _) = one("objectName: a; objectType: secret; keyvaultName: billing").unwrap();

        assert_eq!(Call::of_request(&objects[0].request).unwrap().vault, "https://billing");
    }

    #[test]
    fn every_wrong_object_is_told_with_its_line() {
        let text =
            "array:\n- |\n  objectName: a\n- |\n  objectType: key\n- |\n  objectName: b\n  objectType: key\n";

        let told: Vec<_> = read_with(text, false).unwrap_err().iter().map(ToString::to_string).collect();

        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].contains("objects[0].objectType (line "), "{told:?}");
        assert!(told[1].contains("objects[1].objectName (line "), "{told:?}");
    }
}
