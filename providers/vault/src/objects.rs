use std::collections::BTreeMap;

use manifest::JmesPath;
use manifest::fields::{self, filled};
use manifest::objects::{self, ObjectExtras, Position};
use manifest::yaml::NumericMode;
use provider::{Invalid, ObjectPath, ObjectRef};
use serde::Deserialize;
use serde_json::Value;

use crate::call::Call;
use crate::declaration::DECLARATION;

/// One entry of `objects`, as it is written. An empty value counts as absent.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    object_name: Option<String>,
    secret_path: Option<String>,
    secret_key: Option<String>,
    method: Option<String>,
    secret_args: Option<BTreeMap<String, Value>>,
    file_permission: Option<NumericMode>,
    encoding: Option<String>,
    #[serde(rename = "wrapTTL")]
    wrap_ttl: Option<String>,
    optional: Option<bool>,
    default: Option<String>,
    jmes_path: Option<JmesPath>,
    file: Option<bool>,
}

/// Which part of an answer the file shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    /// The key of the value; `None` for the whole answer.
    pub(crate) key: Option<String>,
}

/// Keys of objects that nobody reads. The upstream provider ignores them, so they are no error here.
pub(crate) fn unknown(text: &str) -> Vec<Invalid> {
    fields::unknown(text, DECLARATION.object)
}

/// Parses `objects`.
pub(crate) fn read(text: &str) -> Result<(Vec<ObjectRef>, Vec<Part>), Vec<Invalid>> {
    objects::read(text, DECLARATION.object, understand)
}

fn understand(at: Position<'_>, item: Item) -> Result<(Vec<ObjectRef>, Part), Vec<Invalid>> {
    let Asked { name, path, call, part } = asked(at, &item).map_err(|fault| vec![fault])?;
    let encoding =
        objects::encoding(at, "encoding", item.encoding.as_deref()).map_err(|fault| vec![fault])?;
    let extras = ObjectExtras {
        optional: item.optional.unwrap_or(false),
        default: item.default,
        // A whole answer has none, whatever the class says, as upstream has it.
        encoding: part.key.is_some().then(|| encoding.name().to_owned()),
        jmes_path: item.jmes_path,
        file: item.file.unwrap_or(true),
    };
    let objects = extras.objects(at, name, path, item.file_permission, call.request())?;
    Ok((objects, part))
}

/// What one entry asks for.
struct Asked {
    name: String,
    path: ObjectPath,
    call: Call,
    part: Part,
}

fn asked(at: Position<'_>, item: &Item) -> Result<Asked, Invalid> {
    let name = filled(&item.object_name)
        .ok_or_else(|| at.refuse("objectName", "it is missing", "name the file, such as db/password"))?;
    let path = at.path("objectName", name)?;
    let raw = filled(&item.secret_path).ok_or_else(|| {
        at.refuse("secretPath", "it is missing", "write the API path, such as secret/data/app")
    })?;
    let mut call = Call::new(item.method.as_deref().unwrap_or_default(), raw).map_err(|reason| {
        let remedy = "write the API path as `vault read` takes it, such as secret/data/app";
        at.refuse("secretPath", reason, remedy)
    })?;
    call.args = item.secret_args.clone();
    call.wrap = filled(&item.wrap_ttl).map(str::to_owned);
    let key = filled(&item.secret_key);
    if key.is_some_and(|key| key.contains(char::is_control)) {
        return Err(at.refuse("secretKey", "it has a control character", "write a key of the secret"));
    }
    Ok(Asked { name: name.to_owned(), path, call, part: Part { key: key.map(str::to_owned) } })
}

#[cfg(test)]
mod tests {
    use provider::Encoding;

    use super::*;

    fn refusals(text: &str) -> Vec<String> {
        read(text).unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn unknown_keys_and_empty_values_are_ignored_and_names_stay_text() {
        let (objects, parts) =
            read("- {objectName: 0123, secretPath: secret/y, secretKey: on, secretVersion: 5, encoding: , method: }")
                .unwrap();
        assert_eq!(objects[0].path.as_str(), "0123");
        assert_eq!(parts[0].key.as_deref(), Some("on"));
    }

    #[test]
    fn keys_are_case_sensitive() {
        assert!(refusals("- {ObjectName: a, secretPath: s/x}")[0].contains("objects[0].objectName"));
    }

    #[test]
    fn a_mode_is_a_number_however_it_is_written() {
        for written in ["0600", "0o600", "384"] {
            let (objects, _) =
                read(&format!("- {{objectName: a, secretPath: s/x, filePermission: {written}}}")).unwrap();
            assert_eq!(objects[0].mode.unwrap().bits(), 0o600, "{written}");
        }
        for written in ["\"0600\"", "06.5", "-1", "04755"] {
            assert!(
                read(&format!("- {{objectName: a, secretPath: s/x, filePermission: {written}}}")).is_err(),
                "{written}"
            );
        }
    }

    #[test]
    fn encodings_are_known_in_any_case_and_others_refused() {
        let (objects, _) =
            read("- {objectName: a, secretPath: s/x, secretKey: k, encoding: BASE64}").unwrap();
        assert_eq!(objects[0].encoding, Encoding::Base64);
        assert!(
            refusals("- {objectName: a, secretPath: s/x, encoding: rot13}")[0]
                .contains("utf-8, base64 or hex")
        );
    }

    #[test]
    fn every_wrong_object_is_told_with_its_line() {
        let told = refusals(
            "- {objectName: ../a, secretPath: s/x}\n- {objectName: b}\n- {objectName: c, secretPath: s/x}",
        );
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].contains("objects[0].objectName (line 1)"), "{told:?}");
        assert!(told[1].contains("objects[1].secretPath (line 2)"), "{told:?}");
    }

    #[test]
    fn two_objects_of_one_name_are_refused() {
        assert!(
            refusals("- {objectName: a, secretPath: s/x}\n- {objectName: a, secretPath: s/y}")[0]
                .contains("objects[1]")
        );
    }

    #[test]
    fn arguments_keep_their_types() {
        let (objects, _) =
            read("- {objectName: a, secretPath: s/x, method: PUT, secretArgs: {n: 1, f: 1.5, b: true, s: '1', y: yes, l: [1, {k: null}]}}")
                .unwrap();
        assert_eq!(
            &*objects[0].request.text,
            r#"{"method":"PUT","path":"s/x","args":{"b":true,"f":1.5,"l":[1,{"k":null}],"n":1,"s":"1","y":"yes"}}"#
        );
    }
}
