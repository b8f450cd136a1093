//! What a class lists, in either form.

use std::collections::BTreeMap;

use manifest::objects::{ObjectExtras, Position, read_listed};
use manifest::paths::{Place, conflicts, object_path};
use manifest::yaml::{self, NumericMode};
use manifest::{Listing, fields};
use provider::{Invalid, ObjectRef};
use serde::Deserialize;

use crate::call::{Call, Which};
use crate::declaration::DECLARATION;

/// Upstream's list.
pub(crate) const SECRETS: &str = "secrets";
/// Longest id of a variable.
const LONGEST_ID: usize = 1024;

/// One entry of `objects`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    object_name: String,
    variable: String,
    version: Option<u64>,
    file_permission: Option<NumericMode>,
    #[serde(flatten)]
    extras: ObjectExtras,
}

/// Keys of `objects` that nobody reads.
pub(crate) fn unknown(text: &str) -> Vec<Invalid> {
    fields::unknown(text, DECLARATION.object)
}

/// What `objects` lists. `newest` is how a value without a version is read.
pub(crate) fn of_objects(text: &str, newest: Which) -> Result<Vec<ObjectRef>, Vec<Invalid>> {
    let understand = |at: Position<'_>, written: Written| understand(at, written, newest);
    read_listed(&Listing::OBJECTS, text, DECLARATION.object, understand).map(|(objects, _)| objects)
}

fn understand(
    at: Position<'_>,
    written: Written,
    newest: Which,
) -> Result<(Vec<ObjectRef>, ()), Vec<Invalid>> {
    let Written { object_name, variable, version, file_permission, extras } = written;
    let path = at.path("objectName", &object_name);
    let known = verify(&variable).map_err(|reason| at.refuse("variable", reason, REMEDY));
    let which = match version {
        Some(0) => Err(at.refuse("version", "versions begin at 1", "leave it out for the newest one")),
        Some(version) => Ok(Which::Version(version)),
        None => Ok(newest),
    };
    match (path, known, which) {
        (Ok(path), Ok(()), Ok(which)) => {
            let request = Call { which, variable }.request();
            Ok((extras.objects(at, object_name, path, file_permission, request)?, ()))
        }
        (path, known, which) => Err([path.err(), known.err(), which.err()].into_iter().flatten().collect()),
    }
}

/// What upstream's list has: each entry is a path and a variable.
pub(crate) fn of_secrets(text: &str, newest: Which) -> Result<Vec<ObjectRef>, Vec<Invalid>> {
    let entries =
        yaml::read_objects::<BTreeMap<String, String>>(SECRETS, text).map_err(|fault| vec![fault])?;
    let (mut objects, mut lines, mut faults) = (Vec::new(), Vec::new(), Vec::new());
    for (index, entry) in entries.iter().enumerate() {
        let line = yaml::line(entry);
        match pair(index, line, &entry.value, newest) {
            Ok(object) => {
                objects.push(object);
                lines.push((index, line));
            }
            Err(fault) => faults.push(fault),
        }
    }
    let places =
        objects.iter().zip(lines).map(|(object, (index, line))| Place { index, path: &object.path, line });
    faults.extend(conflicts(SECRETS, places));
    if faults.is_empty() { Ok(objects) } else { Err(faults) }
}

fn pair(
    index: usize,
    line: Option<usize>,
    entry: &BTreeMap<String, String>,
    newest: Which,
) -> Result<ObjectRef, Invalid> {
    let key = format!("{SECRETS}[{index}]");
    let refuse = |reason: &str, remedy: &str| {
        let (reason, remedy) = (reason.to_owned(), remedy.to_owned());
        Invalid { key: key.clone(), line, reason, remedy }
    };
    let mut pairs = entry.iter();
    let (Some((path, variable)), None) = (pairs.next(), pairs.next()) else {
        return Err(refuse("it is not one path and one variable", "write it as \"db/url\": \"shop/db/url\""));
    };
    let path = object_path(&key, line, path)?;
    verify(variable).map_err(|reason| refuse(reason, REMEDY))?;
    Ok(ObjectRef::new(path, Call { which: newest, variable: variable.clone() }.request()))
}

const REMEDY: &str = "write the variable's id as in the policy, such as shop/db/url";

fn verify(variable: &str) -> Result<(), &'static str> {
    match variable {
        "" => Err("it is empty"),
        long if long.len() > LONGEST_ID => Err("it is too long"),
        odd if odd.contains(char::is_control) => Err("it has a control character"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(objects: &[ObjectRef]) -> Vec<(&str, &str)> {
        objects.iter().map(|object| (object.path.as_str(), &*object.request.text)).collect()
    }

    fn refusals(read: Result<Vec<ObjectRef>, Vec<Invalid>>) -> Vec<String> {
        read.unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn trap_parameter_upstreams_list_is_one_path_and_one_variable_for_each_file() {
        let text = "- \"db/url\": \"shop/db/url\"\n- db/password: shop/db/password\n";
        let objects = of_secrets(text, Which::Newest).unwrap();
        assert_eq!(
            shown(&objects),
            [("db/url", "newest shop/db/url"), ("db/password", "newest shop/db/password")]
        );
        assert!(objects.iter().all(|object| object.mode.is_none()), "upstream has no mode");
    }

    #[test]
    fn trap_parameter_one_variable_may_be_in_several_files_and_a_file_is_there_once() {
        let objects = of_secrets("- a: v\n- b: v\n", Which::Newest).unwrap();
        assert_eq!(shown(&objects), [("a", "newest v"), ("b", "newest v")]);
        assert_eq!(objects[0].request, objects[1].request, "it is read once");

        let told = refusals(of_secrets("- a: v\n- a: w\n", Which::Newest));
        assert!(told[0].contains("secrets[1]"), "{told:?}");
    }

    #[test]
    fn trap_dialect_names_that_look_like_booleans_or_numbers_stay_text() {
        let objects = of_secrets("- y: on\n- 0123: no\n", Which::Newest).unwrap();
        assert_eq!(shown(&objects), [("y", "newest on"), ("0123", "newest no")]);
    }

    #[test]
    fn an_entry_of_upstreams_list_that_is_no_pair_is_told_with_its_line() {
        let told = refusals(of_secrets("- a: v\n- {b: v, c: v}\n- ../d: v\n- e: ''\n", Which::Newest));
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[0].contains("secrets[1] (line 2): it is not one path and one variable"), "{told:?}");
        assert!(told[1].contains("secrets[2]") && told[2].contains("it is empty"), "{told:?}");
    }

    #[test]
    fn an_object_may_name_a_version_a_mode_and_what_every_store_has() {
        let text = "- {objectName: a, variable: v, version: 3, filePermission: 0400}\n\
                    - {objectName: b, variable: v, encoding: base64, optional: true}\n";
        let objects = of_objects(text, Which::Numbered).unwrap();
        assert_eq!(shown(&objects), [("a", "3 v"), ("b", "numbered v")]);
        assert_eq!(objects[0].mode.map(|mode| mode.bits()), Some(0o400));
        assert!(objects[1].optional);

        let told = refusals(of_objects("- {objectName: a, variable: '', version: 0}", Which::Newest));
        assert!(
            told[0].contains("objects[0].variable") && told[1].contains("objects[0].version"),
            "{told:?}"
        );
    }
}
