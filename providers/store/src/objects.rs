//! Parses the `objects` of a class.

use std::sync::Arc;

use manifest::objects::{self, ObjectExtras, Position};
use manifest::yaml::NumericMode;
use provider::{Error, ErrorKind, Invalid, ObjectRef, Ownership, Parameters, Request};
use serde::Deserialize;

use crate::declaration::DECLARATION;
use crate::name::{ItemName, Name};

/// The version numbers that the database can store.
const VERSIONS: std::ops::RangeInclusive<u64> = 1..=i64::MAX as u64;

/// A parsed request.
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
    file_permission: Option<NumericMode>,
    #[serde(flatten)]
    extras: ObjectExtras,
}

fn value() -> String {
    "value".to_owned()
}

/// The objects that `parameters` ask for.
///
/// # Errors
///
/// Every fault of the parameters.
pub(crate) fn read(parameters: &Parameters) -> Result<Vec<ObjectRef>, Vec<Invalid>> {
    objects::read_sole(parameters, &DECLARATION, understand).map(|(objects, _)| objects)
}

fn understand(at: Position<'_>, written: Written) -> Result<(Vec<ObjectRef>, ()), Vec<Invalid>> {
    let mut faults: Vec<_> = at.undeclared().collect();
    let path = at.path("objectName", &written.object_name);
    let named = |key: &str, error: Error| at.refuse(key, &error.to_string(), "");
    let item = written.item.parse().map_err(|error| named("item", error));
    let key = written.key.parse().map_err(|error| named("key", error));
    if written.version.is_some_and(|version| !VERSIONS.contains(&version)) {
        let reason = "there is no such version: they begin at 1";
        faults.push(at.refuse("version", reason, "leave it out for the newest"));
    }
    match (path, item, key) {
        (Ok(path), Ok(item), Ok(key)) if faults.is_empty() => {
            let text = Asked { item, key, version: written.version }.text();
            let request = Request { text, ownership: Ownership::Shared };
            let Written { object_name, file_permission, extras, .. } = written;
            let objects = extras.objects(at, object_name, path, file_permission, request)?;
            Ok((objects, ()))
        }
        (path, item, key) => {
            faults.extend([path.err(), item.err(), key.err()].into_iter().flatten());
            Err(faults)
        }
    }
}

impl Asked {
    /// The text `item#key` or `item#key@version`. No name contains `#` or `@`.
    fn text(&self) -> Arc<str> {
        match self.version {
            Some(version) => format!("{}#{}@{version}", self.item, self.key).into(),
            None => format!("{}#{}", self.item, self.key).into(),
        }
    }

    /// Parses a [`text`](Self::text).
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<ObjectRef>, Vec<Invalid>> {
        read(&Parameters::from([(objects::PARAMETER.to_owned(), text.to_owned())]))
    }

    fn refusals(text: &str) -> Vec<String> {
        parse(text).unwrap_err().iter().map(Invalid::to_string).collect()
    }

    #[test]
    fn an_object_names_item_key_and_version() {
        let objects = parse(
            "- {objectName: api-key, item: shop/api, key: token, version: 3, filePermission: 0400}\n\
             - {objectName: plain, item: api, encoding: base64, optional: true, file: false}\n",
        )
        .unwrap();

        let (first, second) = (&objects[0], &objects[1]);
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
}
