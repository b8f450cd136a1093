//! The `secrets` of a class.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use manifest::fields::{self, filled};
use manifest::objects::{Asked, ObjectExtras, Position, Read, read_with_trees};
use manifest::yaml::NumericMode;
use manifest::{JmesPath, Listing, Shape};
use provider::{Invalid, ObjectRef, Request};
use serde::Deserialize;

use crate::declaration::DECLARATION;
use crate::opened::{self, Blob, Opened};
use crate::resource::Resource;

/// Where upstream's provider looks for its objects.
pub(crate) const SECRETS: Listing = Listing { parameter: "secrets", shape: Shape::Objects };

/// One entry of `secrets`, as written. An empty value is the same as none.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Item {
    pub(crate) resource_name: Option<String>,
    pub(crate) path: Option<String>,
    pub(crate) file_name: Option<String>,
    pub(crate) mode: Option<NumericMode>,
    #[serde(rename = "extractJSONKey")]
    pub(crate) json_key: Option<String>,
    #[serde(rename = "extractYAMLKey")]
    pub(crate) yaml_key: Option<String>,
    encoding: Option<String>,
    optional: Option<bool>,
    default: Option<String>,
    jmes_path: Option<JmesPath>,
    file: Option<bool>,
    pub(crate) parent: Option<String>,
    pub(crate) by_filter: Option<String>,
    pub(crate) directory: Option<String>,
    pub(crate) max_files: Option<usize>,
    pub(crate) ciphertext: Option<String>,
    pub(crate) ciphertext_from: Option<String>,
    pub(crate) additional_authenticated_data: Option<String>,
}

/// What to take out of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) extract: Extract,
}

/// Which part of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Extract {
    Whole,
    /// The text under a key of a JSON object.
    Json(String),
    /// The text under a key of a YAML map.
    Yaml(String),
}

impl Extract {
    pub(crate) fn key(&self) -> Option<&str> {
        match self {
            Self::Whole => None,
            Self::Json(key) | Self::Yaml(key) => Some(key),
        }
    }
}

/// Keys of objects that nobody reads. Upstream's provider passes over them, and so do we.
pub(crate) fn unknown(text: &str) -> Vec<Invalid> {
    fields::unknown_in(&SECRETS, text, DECLARATION.object)
}

/// Understands `secrets`. A request's text is the name of its resource.
pub(crate) fn read(text: &str) -> Result<Read<Part>, Vec<Invalid>> {
    let understand = |at: Position<'_>, item: Item| {
        if item.is_listing() {
            return item.tree(at).map(Asked::Tree);
        }
        understand(at, &item).map(|(objects, part)| Asked::Objects(objects, part))
    };
    read_with_trees(&SECRETS, text, DECLARATION.object, understand)
}

impl Item {
    pub(crate) fn extras(&self) -> ObjectExtras {
        let Self { optional, default, encoding, jmes_path, file, .. } = self;
        ObjectExtras {
            optional: optional.unwrap_or(false),
            default: default.clone(),
            encoding: encoding.clone(),
            jmes_path: jmes_path.clone(),
            file: file.unwrap_or(true),
        }
    }
}

fn understand(at: Position<'_>, item: &Item) -> Result<(Vec<ObjectRef>, Part), Vec<Invalid>> {
    let (request, extract, name) = (request(at, item), extract(at, item), name(at, item));
    let path = name.and_then(|(key, name)| Ok((name.to_owned(), at.path(key, name)?)));
    match (request, extract, path) {
        (Ok(request), Ok(extract), Ok((name, path))) => {
            let objects = item.extras().objects(at, name, path, item.mode, request)?;
            Ok((objects, Part { extract }))
        }
        (request, extract, path) => {
            Err([request.err(), extract.err(), path.err()].into_iter().flatten().collect())
        }
    }
}

/// What is asked for: a version, or what a key of Cloud KMS decrypts.
fn request(at: Position<'_>, item: &Item) -> Result<Request, Invalid> {
    let Item { ciphertext, ciphertext_from, additional_authenticated_data, .. } = item;
    let keys = [
        ("ciphertext", filled(ciphertext)),
        ("ciphertextFrom", filled(ciphertext_from)),
        ("additionalAuthenticatedData", filled(additional_authenticated_data)),
    ];
    let named = filled(&item.resource_name).unwrap_or_default();
    match (opened::key(named), keys.into_iter().find(|(_, text)| text.is_some())) {
        (Ok(key), _) => Ok(Opened { key, ciphertext: blob(at, item)?, data: data(item) }.request()),
        (Err(_), Some((key, _))) => {
            let reason = "resourceName is no key of Cloud KMS, which decrypts it";
            Err(at.refuse(key, reason, opened::REMEDY))
        }
        (Err(_), None) => resource(at, item).map(|resource| Request::shared(resource.to_string())),
    }
}

fn blob(at: Position<'_>, item: &Item) -> Result<Blob, Invalid> {
    let written = item.ciphertext.as_deref().map(|text| text.split_ascii_whitespace().collect::<String>());
    match (written, filled(&item.ciphertext_from)) {
        (Some(text), None) if opened::is_ciphertext(&text) => Ok(Blob::Written(text)),
        (None, Some(name)) => {
            let holder = Resource::parse(name)
                .map_err(|reason| at.refuse("ciphertextFrom", reason, "write the version of a secret"))?;
            Ok(Blob::In(holder.to_string()))
        }
        (Some(_), Some(_)) => Err(at.refuse("ciphertextFrom", "ciphertext is set too", "keep one of both")),
        _ => {
            let remedy = "write what `gcloud kms encrypt` makes, in base64, or ciphertextFrom";
            Err(at.refuse("ciphertext", "it is no ciphertext of Cloud KMS in base64", remedy))
        }
    }
}

fn data(item: &Item) -> String {
    filled(&item.additional_authenticated_data).map(|text| BASE64_STANDARD.encode(text)).unwrap_or_default()
}

fn resource(at: Position<'_>, item: &Item) -> Result<Resource, Invalid> {
    const REMEDY: &str = "write projects/P/secrets/S/versions/V, projects/P/locations/L/secrets/S/versions/V or \
                          projects/P/locations/L/parameters/N/versions/V";
    let raw =
        filled(&item.resource_name).ok_or_else(|| at.refuse("resourceName", "it is missing", REMEDY))?;
    Resource::parse(raw).map_err(|reason| at.refuse("resourceName", reason, REMEDY))
}

/// The file's name, and the key that has it.
fn name<'a>(at: Position<'_>, item: &'a Item) -> Result<(&'static str, &'a str), Invalid> {
    let names = [("path", filled(&item.path)), ("fileName", filled(&item.file_name))];
    let named = names.into_iter().find_map(|(key, name)| Some((key, name?)));
    named.ok_or_else(|| at.refuse("path", "it is missing", "name the file, such as api/key"))
}

fn extract(at: Position<'_>, item: &Item) -> Result<Extract, Invalid> {
    let (key, extract) = match (filled(&item.json_key), filled(&item.yaml_key)) {
        (None, None) => return Ok(Extract::Whole),
        (Some(key), None) => (key, Extract::Json(key.to_owned())),
        (None, Some(key)) => (key, Extract::Yaml(key.to_owned())),
        (Some(_), Some(_)) => {
            return Err(at.refuse("extractYAMLKey", "extractJSONKey is set too", "keep one of both"));
        }
    };
    if key.contains(char::is_control) {
        let written = if matches!(extract, Extract::Json(_)) { "extractJSONKey" } else { "extractYAMLKey" };
        return Err(at.refuse(written, "it has a control character", "write a key of the value"));
    }
    Ok(extract)
}

#[cfg(test)]
mod tests {
    use super::*;

    const API: &str = "resourceName: projects/p1/secrets/api/versions/latest";

    fn refusals(text: &str) -> Vec<String> {
        read(text).unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn trap_parameter_the_list_is_yaml_or_json_under_secrets() {
        let yaml = read(&format!("- {API}\n  path: a\n")).unwrap();
        let json = read(r#"[{"resourceName": "projects/p1/secrets/api/versions/latest", "path": "a"}]"#);
        assert_eq!(json.unwrap().objects[0].request, yaml.objects[0].request);
        assert!(refusals("[]")[0].starts_with("parameter secrets: it lists no objects"));
        assert!(refusals(&format!("- {{{API}}}"))[0].starts_with("parameter secrets[0].path (line 1)"));
    }

    #[test]
    fn trap_yaml_dialect_keys_are_case_sensitive() {
        let told = refusals("- {ResourceName: projects/p1/secrets/api/versions/1, path: a}");
        assert!(told[0].contains("secrets[0].resourceName"), "{told:?}");
    }

    #[test]
    fn trap_unknown_keys_are_ignored_and_told() {
        let text = format!("- {{{API}, path: a, extractJsonKey: k}}");
        assert_eq!(read(&text).unwrap().kept[0].extract, Extract::Whole);
        let told = unknown(&text)[0].to_string();
        assert!(told.contains("did you mean extractJSONKey?"), "{told}");
    }

    #[test]
    fn trap_file_mode_a_mode_is_a_number_however_it_is_written_and_no_text() {
        for written in ["0400", "0o400", "256"] {
            let Read { objects, .. } = read(&format!("- {{{API}, path: a, mode: {written}}}")).unwrap();
            assert_eq!(objects[0].mode.unwrap().bits(), 0o400, "{written}");
        }
        for written in ["\"0400\"", "4.5", "-1", "04755"] {
            assert!(read(&format!("- {{{API}, path: a, mode: {written}}}")).is_err(), "{written}");
        }
    }

    #[test]
    fn trap_default_mode_without_a_mode_it_is_the_volumes_own() {
        assert_eq!(read(&format!("- {{{API}, path: a}}")).unwrap().objects[0].mode, None);
    }

    #[test]
    fn trap_scalars_stay_text_in_names_and_keys() {
        let text = format!("- {{{API}, path: 0123, extractJSONKey: on}}\n- {{{API}, path: y}}\n");
        let Read { objects, kept: parts, .. } = read(&text).unwrap();
        let names: Vec<_> = objects.iter().map(|object| object.path.as_str()).collect();
        assert_eq!(names, ["0123", "y"]);
        assert_eq!(parts[0].extract, Extract::Json("on".to_owned()));
    }

    #[test]
    fn trap_slash_in_a_file_name_makes_a_directory() {
        let Read { objects, .. } = read(&format!("- {{{API}, fileName: api/key}}")).unwrap();
        assert_eq!((objects[0].path.as_str(), objects[0].name.as_str()), ("api/key", "api/key"));
        assert!(refusals(&format!("- {{{API}, path: ../key}}"))[0].contains("secrets[0].path"));
    }

    #[test]
    fn path_wins_over_its_older_name() {
        let Read { objects, .. } = read(&format!("- {{{API}, fileName: old, path: new}}")).unwrap();
        assert_eq!(objects[0].path.as_str(), "new");
    }

    #[test]
    fn one_resource_makes_several_files_by_one_request() {
        let text = format!("- {{{API}, path: a}}\n- {{{API}, path: b, extractYAMLKey: b}}\n");
        let objects = read(&text).unwrap().objects;
        assert_eq!(objects[0].request, objects[1].request);
    }

    #[test]
    fn two_ways_to_extract_a_key_are_one_too_many() {
        let told = refusals(&format!("- {{{API}, path: a, extractJSONKey: x, extractYAMLKey: x}}"));
        assert!(told[0].contains("extractJSONKey is set too"), "{told:?}");
        assert!(!refusals(&format!("- {{{API}, path: a, extractJSONKey: \"x\\n\"}}")).is_empty());
    }

    #[test]
    fn every_wrong_object_is_told_with_its_line() {
        let told = refusals("- {resourceName: x, path: a}\n- {path: ../b}\n");
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[0].contains("secrets[0].resourceName (line 1): it is no version"), "{told:?}");
        assert!(told[1].contains("secrets[1].resourceName (line 2): it is missing"), "{told:?}");
        assert!(told[2].contains("secrets[1].path (line 2)"), "{told:?}");
    }

    #[test]
    fn keys_of_ours_stand_beside_upstreams() {
        let text =
            format!("- {{{API}, path: a, encoding: base64, optional: true, default: x, jmesPath: b.c}}");
        let objects = read(&text).unwrap().objects;
        assert_eq!(objects[0].encoding, provider::Encoding::Base64);
        assert!(objects[0].optional && objects[0].default.as_deref() == Some("x"));
        assert_eq!(objects[0].jmes_path.as_deref(), Some("b.c"));
    }
}
