//! Parses the `objects` of a class.

use manifest::objects::{self, ObjectExtras, Position};
use manifest::yaml::NumericMode;
use provider::{Invalid, ObjectRef, Request};
use serde::Deserialize;

use crate::declaration::DECLARATION;

/// Longest name of a credential, and of a key.
const LONGEST: usize = 1024;

/// What a file shows of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    /// Name or id. `None`: whichever has the key.
    pub(crate) credential: Option<String>,
    pub(crate) key: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    object_name: String,
    credential: Option<String>,
    key: Option<String>,
    file_permission: Option<NumericMode>,
    #[serde(flatten)]
    extras: ObjectExtras,
}

/// The objects that `text` lists, each with what it shows. The text of every request is the name of the service.
///
/// # Errors
///
/// Every fault.
pub(crate) fn read(text: &str, service: &str) -> Result<(Vec<ObjectRef>, Vec<Part>), Vec<Invalid>> {
    objects::read(text, DECLARATION.object, |at, written| understand(at, written, service))
}

fn understand(
    at: Position<'_>,
    written: Written,
    service: &str,
) -> Result<(Vec<ObjectRef>, Part), Vec<Invalid>> {
    let Written { object_name, credential, key, file_permission, extras } = written;
    let mut faults: Vec<_> = at.undeclared().collect();
    let credential = credential.filter(|name| !name.is_empty());
    let key = key.filter(|key| !key.is_empty()).unwrap_or_else(|| object_name.clone());
    for (name, text) in [("credential", credential.as_deref().unwrap_or("x")), ("key", &key)] {
        if text.len() > LONGEST || text.contains(char::is_control) {
            faults.push(at.refuse(name, "it is too long, or has a control character", "write its name"));
        }
    }
    match at.path("objectName", &object_name) {
        Ok(path) if faults.is_empty() => {
            let objects = extras.objects(at, object_name, path, file_permission, Request::shared(service))?;
            Ok((objects, Part { credential, key }))
        }
        path => {
            faults.extend(path.err());
            Err(faults)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_a_key_of_a_credential_and_all_files_of_a_service_are_one_request() {
        let text = "- {objectName: db/password, credential: shop db, key: password, filePermission: 0400}\n\
                    - {objectName: token}\n";
        let (objects, parts) = read(text, "shop").unwrap();
        assert_eq!(objects[0].request, objects[1].request);
        assert_eq!(objects[0].mode.map(|mode| mode.bits()), Some(0o400));
        assert_eq!(parts[0], Part { credential: Some("shop db".to_owned()), key: "password".to_owned() });
        assert_eq!(parts[1], Part { credential: None, key: "token".to_owned() });
    }

    #[test]
    fn what_is_misspelt_or_no_path_is_told() {
        let told = read("- {objectName: ../a, credntial: x}", "shop").unwrap_err();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].to_string().contains("credential"), "{}", told[0]);
        assert_eq!(read("- {objectName: a, key: \"a\\nb\"}", "shop").unwrap_err().len(), 1);
    }
}
