//! The `objects` of a class.

use std::collections::BTreeMap;

use manifest::Encoding;
use manifest::paths::{self, Place};
use manifest::yaml::{self, NumericMode, ObjectExtras, Spanned};
use provider::{Invalid, ObjectPath, ObjectRef, Ownership, Parameters, Request};
use serde::Deserialize;

const OBJECTS: &str = "objects";
/// Longest name of a Secret, and of a key in one.
const MAX_NAME: usize = 253;
const EXAMPLE: &str = "write - {objectName: tls.crt, secret: web, key: tls.crt}";

/// One object of a class. Its request's text is the Secret's name.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    pub(crate) object: ObjectRef,
    pub(crate) key: String,
    pub(crate) encoding: Encoding,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    object_name: String,
    secret: String,
    key: Option<String>,
    #[serde(default)]
    encoding: Encoding,
    file_permission: Option<NumericMode>,
    #[serde(flatten)]
    extras: ObjectExtras,
    #[serde(flatten)]
    unknown: BTreeMap<String, serde_json::Value>,
}

impl Written {
    fn key(&self) -> &str {
        self.key.as_deref().unwrap_or(&self.object_name)
    }
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
    if !is_secret_name(&written.secret) {
        let reason = "it is not the name of a Secret";
        let remedy = "use lower-case letters, digits, - and .; the namespace is always the pod's own";
        faults.push(invalid(place("secret"), line, reason, remedy));
    }
    if !is_key(written.key()) {
        let reason = "a Secret has no such key";
        faults.push(invalid(place("key"), line, reason, "use letters, digits, -, _ and ."));
    }
    match paths::object_path(&place("objectName"), line, &written.object_name) {
        Ok(path) if faults.is_empty() => Ok(Wish {
            object: object(written, path),
            key: written.key().to_owned(),
            encoding: written.encoding,
        }),
        path => {
            faults.extend(path.err());
            Err(faults)
        }
    }
}

fn object(written: &Written, path: ObjectPath) -> ObjectRef {
    ObjectRef {
        name: written.object_name.clone(),
        path,
        mode: written.file_permission.map(|mode| mode.0),
        request: Request { text: written.secret.as_str().into(), ownership: Ownership::Shared },
        optional: written.extras.optional,
        default: written.extras.default.clone(),
        jmes_path: written.extras.jmes_path.clone(),
        file: written.extras.file,
    }
}

/// A DNS subdomain, as the API server has it.
fn is_secret_name(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let label = |label: &str| {
        !label.is_empty() && label.chars().all(inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    name.len() <= MAX_NAME && name.split('.').all(label)
}

fn is_key(key: &str) -> bool {
    let fit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !key.is_empty() && key.len() <= MAX_NAME && key.chars().all(fit)
}

fn unknown_parameter(key: &str) -> Invalid {
    invalid(
        key.to_owned(),
        None,
        "provider kubernetes has no such parameter",
        "remove it; there is `objects`",
    )
}

fn unknown_key(key: String, line: Option<usize>) -> Invalid {
    let keys = "objectName, secret, key, encoding, filePermission, optional, default, jmesPath and file";
    let remedy = format!("the keys of an object are {keys}; the namespace is always the pod's own");
    invalid(key, line, "there is no such key", &remedy)
}

fn invalid(key: String, line: Option<usize>, reason: &str, remedy: &str) -> Invalid {
    Invalid { key, line, reason: reason.to_owned(), remedy: remedy.to_owned() }
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
    fn an_object_names_secret_and_key() {
        let wishes = parse(
            "- {objectName: tls/crt, secret: web.shop, key: tls.crt, filePermission: 0400}\n\
             - {objectName: tls.key, secret: web.shop, encoding: base64, optional: true, file: false}\n",
        )
        .unwrap();

        let (first, second) = (&wishes[0], &wishes[1]);
        assert_eq!((&*first.object.request.text, first.key.as_str()), ("web.shop", "tls.crt"));
        assert_eq!(first.object.mode.map(|mode| mode.bits()), Some(0o400));
        assert_eq!((&first.object.request, second.key.as_str()), (&second.object.request, "tls.key"));
        assert!(second.object.optional && !second.object.file && first.object.file);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place_and_all_at_once() {
        let wrong = refusals(
            "- {objectName: ../x, secret: ../y, key: k}\n- {objectName: a/b, secret: b}\n\
             - {objectName: c, secret: c, namespace: kube-system}\n",
        );

        assert_eq!(wrong.len(), 4, "{wrong:#?}");
        assert!(wrong[0].starts_with("parameter objects[0].secret (line 1)"), "{}", wrong[0]);
        assert!(wrong[1].starts_with("parameter objects[0].objectName (line 1)"), "{}", wrong[1]);
        assert!(wrong[2].starts_with("parameter objects[1].key (line 2)"), "{}", wrong[2]);
        assert!(wrong[3].starts_with("parameter objects[2].namespace (line 3)"), "{}", wrong[3]);
    }

    #[test]
    fn names_that_no_secret_has_are_refused() {
        for name in ["", "A", "a/b", "a..b", "-a", "a_b", "..", "a?b", "a%2fb", &"a".repeat(254)] {
            assert!(!is_secret_name(name), "{name:?}");
        }
        for key in ["", "a/b", "a b", "ключ", "a\n"] {
            assert!(!is_key(key), "{key:?}");
        }
    }

    #[test]
    fn the_same_file_twice_and_a_foreign_parameter_are_refused() {
        let twice = refusals("- {objectName: a, secret: a}\n- {objectName: a, secret: b}\n");
        let foreign = read(&Parameters::from([("namespace".to_owned(), "x".to_owned())])).unwrap_err();

        assert_eq!(twice.len(), 1, "{twice:?}");
        assert_eq!(foreign.len(), 2, "{foreign:?}");
    }
}
