//! The `objects` of a class.

use std::collections::BTreeMap;
use std::sync::Arc;

use manifest::Encoding;
use manifest::paths::{self, Place};
use manifest::yaml::{self, NumericMode, ObjectExtras, Spanned};
use provider::{Error, ErrorKind, Invalid, ObjectRef, Ownership, Parameters, Request, SecretBytes};
use serde::Deserialize;

use crate::name::{ItemName, Name};

const OBJECTS: &str = "objects";
/// What the database can number.
const VERSIONS: std::ops::RangeInclusive<u64> = 1..=i64::MAX as u64;
const EXAMPLE: &str = "write - {objectName: api-key, item: shop/api, key: token}";

/// One object of a class.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    pub(crate) object: ObjectRef,
    pub(crate) encoding: Encoding,
}

/// What a request's text says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) item: ItemName,
    pub(crate) key: Name,
    pub(crate) version: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    object_name: String,
    item: String,
    #[serde(default = "value")]
    key: String,
    version: Option<u64>,
    #[serde(default)]
    encoding: Encoding,
    file_permission: Option<NumericMode>,
    #[serde(flatten)]
    extras: ObjectExtras,
    #[serde(flatten)]
    unknown: BTreeMap<String, serde_json::Value>,
}

fn value() -> String {
    "value".to_owned()
}

/// The objects that `parameters` ask for.
///
/// # Errors
///
/// Everything that is wrong with them.
pub(crate) fn read(parameters: &Parameters) -> Result<Vec<Wish>, Vec<Invalid>> {
    let mut faults: Vec<Invalid> =
        parameters.keys().filter(|key| *key != OBJECTS).map(|key| unknown_parameter(key)).collect();
    let wishes = wishes(parameters.get(OBJECTS), &mut faults);
    if faults.is_empty() { Ok(wishes) } else { Err(faults) }
}

fn wishes(text: Option<&String>, faults: &mut Vec<Invalid>) -> Vec<Wish> {
    let Some(text) = text else {
        faults.push(invalid(OBJECTS.to_owned(), None, "it is missing", EXAMPLE));
        return Vec::new();
    };
    let written = match yaml::read_objects::<Written>(OBJECTS, text) {
        Ok(written) => written,
        Err(fault) => {
            faults.push(fault);
            return Vec::new();
        }
    };
    let read = written.iter().enumerate().map(|(index, written)| (yaml::line(written), wish(index, written)));
    let (lines, wishes): (Vec<_>, Vec<_>) = read
        .filter_map(|(line, wish)| wish.map_err(|wrong| faults.extend(wrong)).ok().map(|wish| (line, wish)))
        .unzip();
    let files = wishes.iter().zip(&lines).filter(|(wish, _)| wish.object.file);
    let places = files.map(|(wish, line)| Place { path: &wish.object.path, line: *line });
    faults.extend(paths::conflicts(OBJECTS, places));
    wishes
}

fn wish(index: usize, written: &Spanned<Written>) -> Result<Wish, Vec<Invalid>> {
    let line = yaml::line(written);
    let written = &written.value;
    let place = |key: &str| format!("{OBJECTS}[{index}].{key}");
    let mut faults: Vec<Invalid> = written.unknown.keys().map(|key| unknown_key(place(key), line)).collect();
    let path = paths::object_path(&place("objectName"), line, &written.object_name);
    let item = written.item.parse().map_err(|error| named(place("item"), line, &error));
    let key = written.key.parse().map_err(|error| named(place("key"), line, &error));
    if written.version.is_some_and(|version| !VERSIONS.contains(&version)) {
        let reason = "there is no such version: they begin at 1";
        faults.push(invalid(place("version"), line, reason, "leave it out for the newest"));
    }
    match (path, item, key) {
        (Ok(path), Ok(item), Ok(key)) if faults.is_empty() => {
            let asked = Asked { item, key, version: written.version };
            Ok(Wish { object: object(written, path, &asked), encoding: written.encoding })
        }
        (path, item, key) => {
            faults.extend([path.err(), item.err(), key.err()].into_iter().flatten());
            Err(faults)
        }
    }
}

fn object(written: &Written, path: provider::ObjectPath, asked: &Asked) -> ObjectRef {
    ObjectRef {
        name: written.object_name.clone(),
        path,
        mode: written.file_permission.map(|mode| mode.0),
        request: Request { text: asked.text(), ownership: Ownership::Shared },
        optional: written.extras.optional,
        default: written.extras.default.clone(),
        jmes_path: written.extras.jmes_path.clone(),
        file: written.extras.file,
    }
}

fn unknown_parameter(key: &str) -> Invalid {
    invalid(key.to_owned(), None, "provider secretfs has no such parameter", "remove it; there is `objects`")
}

fn unknown_key(key: String, line: Option<usize>) -> Invalid {
    let keys =
        "objectName, item, key, version, encoding, filePermission, optional, default, jmesPath and file";
    invalid(key, line, "there is no such key", &format!("the keys of an object are {keys}"))
}

fn named(key: String, line: Option<usize>, error: &Error) -> Invalid {
    invalid(key, line, &error.to_string(), "")
}

fn invalid(key: String, line: Option<usize>, reason: &str, remedy: &str) -> Invalid {
    Invalid { key, line, reason: reason.to_owned(), remedy: remedy.to_owned() }
}

impl Asked {
    /// `item#key` or `item#key@version`: `#` and `@` are in no name.
    fn text(&self) -> Arc<str> {
        match self.version {
            Some(version) => format!("{}#{}@{version}", self.item, self.key).into(),
            None => format!("{}#{}", self.item, self.key).into(),
        }
    }

    /// What [`text`](Self::text) was made of.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let odd = || Error::new(ErrorKind::Invalid, format!("{text:?} is no request for an item"));
        let (item, rest) = text.split_once('#').ok_or_else(odd)?;
        let (key, version) = match rest.split_once('@') {
            Some((key, version)) => (key, Some(version.parse().map_err(|_| odd())?)),
            None => (rest, None),
        };
        Ok(Self { item: item.parse()?, key: key.parse()?, version })
    }
}

impl Wish {
    /// The bytes of the file, from what the store holds.
    pub(crate) fn decode(&self, stored: &SecretBytes) -> Result<SecretBytes, Error> {
        self.encoding.decode(stored).ok_or_else(|| {
            let text = format!("the value of {} is not {}", self.object.request.text, self.encoding.name());
            Error::new(ErrorKind::Invalid, text).remedy("put it in that encoding, or correct `encoding`")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<Wish>, Vec<Invalid>> {
        read(&Parameters::from([(OBJECTS.to_owned(), text.to_owned())]))
    }

    fn refusals(text: &str) -> Vec<String> {
        parse(text).unwrap_err().iter().map(Invalid::to_string).collect()
    }

    #[test]
    fn an_object_names_item_key_and_version() {
        let wishes = parse(
            "- {objectName: api-key, item: shop/api, key: token, version: 3, filePermission: 0400}\n\
             - {objectName: plain, item: api, encoding: base64, optional: true, file: false}\n",
        )
        .unwrap();

        let (first, second) = (&wishes[0].object, &wishes[1].object);
        assert_eq!(&*first.request.text, "shop/api#token@3");
        assert_eq!(first.mode.map(|mode| mode.bits()), Some(0o400));
        assert_eq!(&*second.request.text, "api#value");
        assert!(second.optional && !second.file && first.file);
        let asked = Asked::parse(&first.request.text).unwrap();
        assert_eq!((asked.item.as_str(), asked.key.as_str(), asked.version), ("shop/api", "token", Some(3)));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place_and_all_at_once() {
        let wrong = refusals(
            "- {objectName: ../x, item: a b}\n- {objectName: b, item: b, verison: 3}\n\
             - {objectName: c, item: c, version: 0}\n",
        );

        assert_eq!(wrong.len(), 4, "{wrong:#?}");
        assert!(wrong[0].starts_with("parameter objects[0].objectName (line 1)"), "{}", wrong[0]);
        assert!(wrong[1].starts_with("parameter objects[0].item (line 1)"), "{}", wrong[1]);
        assert!(wrong[2].starts_with("parameter objects[1].verison (line 2)"), "{}", wrong[2]);
        assert!(wrong[3].starts_with("parameter objects[2].version (line 3)"), "{}", wrong[3]);
    }

    #[test]
    fn the_same_file_twice_and_a_foreign_parameter_are_refused() {
        let twice = refusals("- {objectName: a, item: a}\n- {objectName: a, item: b}\n");
        let nothing = read(&Parameters::from([("vaultAddress".to_owned(), "x".to_owned())])).unwrap_err();

        assert_eq!(twice.len(), 1, "{twice:?}");
        assert_eq!(nothing.len(), 2, "{nothing:?}");
    }
}
