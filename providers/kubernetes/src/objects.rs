//! Parses the `objects` of a class.

use manifest::objects::{self, ObjectExtras, Position};
use manifest::yaml::NumericMode;
use provider::{Invalid, ObjectRef, Ownership, Parameters, Request};
use serde::Deserialize;

use crate::declaration::DECLARATION;

/// The longest name of a Secret, and of a key in it.
const MAX_NAME: usize = 253;

/// Which part of a Secret a file shows.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) key: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    object_name: String,
    secret: String,
    key: Option<String>,
    file_permission: Option<NumericMode>,
    #[serde(flatten)]
    extras: ObjectExtras,
}

/// The objects that `parameters` ask for, each with its part of the Secret. The text of a request is the name of the
/// Secret.
///
/// # Errors
///
/// Every fault of the parameters.
pub(crate) fn read(parameters: &Parameters) -> Result<(Vec<ObjectRef>, Vec<Part>), Vec<Invalid>> {
    objects::read_sole(parameters, &DECLARATION, understand)
}

fn understand(at: Position<'_>, written: Written) -> Result<(Vec<ObjectRef>, Part), Vec<Invalid>> {
    let mut faults: Vec<_> = at.undeclared().map(in_own_namespace).collect();
    if !is_secret_name(&written.secret) {
        let remedy = "use lower-case letters, digits, - and .; the namespace is always the pod's own";
        faults.push(at.refuse("secret", "it is not the name of a Secret", remedy));
    }
    let key = written.key.unwrap_or_else(|| written.object_name.clone());
    if !is_key(&key) {
        let remedy = "use letters, digits, -, _ and .";
        faults.push(at.refuse("key", "a Secret has no such key", remedy));
    }
    match at.path("objectName", &written.object_name) {
        Ok(path) if faults.is_empty() => {
            let request = Request { text: written.secret.into(), ownership: Ownership::Shared };
            let Written { object_name, file_permission, extras, .. } = written;
            let objects = extras.objects(at, object_name, path, file_permission, request)?;
            Ok((objects, Part { key }))
        }
        path => {
            faults.extend(path.err());
            Err(faults)
        }
    }
}

/// Whether `name` is a DNS subdomain, as the API server requires.
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

/// Adds to the fault of an unknown key that the namespace is always the pod's own. The author may look for such a key.
fn in_own_namespace(unknown: Invalid) -> Invalid {
    let remedy = format!("{}; the namespace is always the pod's own", unknown.remedy);
    Invalid { remedy, ..unknown }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<(Vec<ObjectRef>, Vec<Part>), Vec<Invalid>> {
        read(&Parameters::from([(objects::PARAMETER.to_owned(), text.to_owned())]))
    }

    fn refusals(text: &str) -> Vec<String> {
        parse(text).unwrap_err().iter().map(Invalid::to_string).collect()
    }

    #[test]
    fn an_object_names_secret_and_key() {
        let (objects, parts) = parse(
            "- {objectName: tls/crt, secret: web.shop, key: tls.crt, filePermission: 0400}\n\
             - {objectName: tls.key, secret: web.shop, encoding: base64, optional: true, file: false}\n",
        )
        .unwrap();

        let (first, second) = (&objects[0], &objects[1]);
        assert_eq!((&*first.request.text, parts[0].key.as_str()), ("web.shop", "tls.crt"));
        assert_eq!(first.mode.map(|mode| mode.bits()), Some(0o400));
        assert_eq!((&first.request, parts[1].key.as_str()), (&second.request, "tls.key"));
        assert!(second.optional && !second.file && first.file);
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
}
