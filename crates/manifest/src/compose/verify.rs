//! Checks that the settings of a class fit its objects.

use std::collections::BTreeSet;

use provider::{Invalid, ObjectPath, ObjectRef, Tree};

use crate::paths::{self, Place};
use crate::settings::PREFIX;
use crate::text::{nearest, shorten};
use crate::{ComposedFormat, Settings};

/// Everything in `settings` that does not fit the class's `objects` and `trees`: composed files of objects that
/// cannot be there, files in each other's way (older versions that `keep-previous` shows included).
pub fn verify(settings: &Settings, objects: &[ObjectRef], trees: &[Tree]) -> Vec<Invalid> {
    let mut faults = unknown_objects(settings, objects, trees);
    faults.extend(unguarded_places(settings, objects, trees));
    faults.extend(clashes(settings, objects, objects.len()));
    faults
}

fn unknown_objects(settings: &Settings, objects: &[ObjectRef], trees: &[Tree]) -> Vec<Invalid> {
    let names = || objects.iter().map(|object| object.name.as_str());
    let mut faults = Vec::new();
    for (index, file) in settings.files.iter().enumerate() {
        for (key, object) in &file.from {
            if !names().any(|name| name == object) && !trees.iter().any(|tree| tree.may_have(object)) {
                faults.push(Invalid {
                    key: format!("{PREFIX}files[{index}].from.{key}"),
                    line: None,
                    reason: shorten(&format!("the class has no object {object:?}")),
                    remedy: match nearest(object, names()) {
                        Some(meant) => format!("did you mean {meant:?}?"),
                        None => "name one of its objects by objectName".to_owned(),
                    },
                });
            }
        }
    }
    faults
}

/// Places in templates for optional objects that no condition guards.
fn unguarded_places(settings: &Settings, objects: &[ObjectRef], trees: &[Tree]) -> Vec<Invalid> {
    let may_be_missing = |name: &str| {
        objects.iter().any(|object| object.name == name && object.optional && object.default.is_none())
            || trees.iter().any(|tree| tree.optional && tree.may_have(name))
    };
    let mut faults = Vec::new();
    for (index, file) in settings.files.iter().enumerate() {
        let ComposedFormat::Template(template) = &file.format else { continue };
        let unguarded: BTreeSet<_> = template.unguarded().into_iter().collect();
        let shown =
            file.from.iter().filter(|(key, name)| unguarded.contains(key.as_str()) && may_be_missing(name));
        faults.extend(shown.map(|(key, name)| Invalid {
            key: format!("{PREFIX}files[{index}].template"),
            line: None,
            reason: shorten(&format!("it shows {key}, and the object {name:?} may be missing")),
            remedy: format!("write {{% if {key} %}}…{{% endif %}} around it, or give the object a default"),
        }));
    }
    faults
}

/// Files in each other's way, older versions that `keep-previous` shows included. The first `listed` of `objects` are
/// those that the class lists; the others were found.
pub fn clashes(settings: &Settings, objects: &[ObjectRef], listed: usize) -> Vec<Invalid> {
    let files = shown(settings, objects, listed);
    let places = files.iter().enumerate().map(|(index, (_, path))| Place { index, path, line: None });
    let mut faults = paths::conflicts("", places);
    for fault in &mut faults {
        rename(fault, &files);
    }
    faults
}

/// Replaces `[index]` in a fault by the key that the author wrote.
fn rename(fault: &mut Invalid, files: &[(String, ObjectPath)]) {
    let key = |text: &str| {
        let index: usize = text.strip_prefix('[')?.strip_suffix(']')?.parse().ok()?;
        files.get(index).map(|(key, _)| key.clone())
    };
    if let Some((words, other)) = fault.reason.rsplit_once(' ')
        && let Some(other) = key(other)
    {
        fault.reason = format!("{words} {other}");
    }
    if let Some(own) = key(&fault.key) {
        fault.key = own;
    }
}

/// Every file that the volume shows, with what the author wrote it under.
fn shown(settings: &Settings, objects: &[ObjectRef], listed: usize) -> Vec<(String, ObjectPath)> {
    let objects = objects.iter().enumerate().filter(|(_, object)| object.file);
    let objects = objects.map(|(index, object)| {
        let key =
            if index < listed { format!("objects[{index}]") } else { format!("the file {}", object.path) };
        (key, object.path.clone())
    });
    let composed = settings.files.iter().enumerate();
    let composed = composed.map(|(index, file)| (format!("{PREFIX}files[{index}]"), file.path.clone()));
    let mut shown: Vec<_> = objects.chain(composed).collect();
    let current = shown.clone();
    shown.extend(current.iter().flat_map(|(_, path)| previous(path, settings.keep_previous)));
    shown
}

fn previous(path: &ObjectPath, count: u32) -> impl Iterator<Item = (String, ObjectPath)> {
    let suffix = |age| if age == 1 { ".previous".to_owned() } else { format!(".previous.{age}") };
    (1..=count).filter_map(move |age| {
        let older = path.with_suffix(&suffix(age)).ok()?;
        Some((format!("{PREFIX}keep-previous"), older))
    })
}

#[cfg(test)]
mod tests {
    use provider::{Ownership, Request};

    use super::*;

    fn object(name: &str, file: bool) -> ObjectRef {
        let request = Request { text: name.into(), ownership: Ownership::Shared };
        ObjectRef { file, ..ObjectRef::new(ObjectPath::try_from(name).unwrap(), request) }
    }

    fn settings(files: &str, keep_previous: u32) -> Settings {
        let mut settings = Settings { keep_previous, ..Settings::default() };
        settings.set("secretfs.dev/files", files).unwrap();
        settings
    }

    fn faults(settings: &Settings, objects: &[ObjectRef]) -> Vec<String> {
        verify(settings, objects, &[]).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_composed_file_may_take_the_place_of_an_object_that_is_no_file() {
        let settings = settings("- {path: db, format: json, from: {a: db}}", 1);
        assert_eq!(faults(&settings, &[object("db", false)]), Vec::<String>::new());
    }

    #[test]
    fn an_unknown_object_is_named_with_the_nearest() {
        let settings = settings("- {path: env, format: json, from: {a: db/usr}}", 0);
        assert_eq!(
            faults(&settings, &[object("db/user", true)]),
            [
                "parameter secretfs.dev/files[0].from.a: the class has no object \"db/usr\"; did you mean \"db/user\"?"
            ]
        );
    }

    #[test]
    fn files_in_each_others_way_are_named_both() {
        let clash = settings("- {path: db, format: json, from: {a: db/user}}", 0);
        let clash = faults(&clash, &[object("db/user", true)]);
        assert!(clash[0].contains("secretfs.dev/files[0]") && clash[0].contains("objects[0]"), "{clash:?}");

        let older = settings("- {path: env, format: json, from: {a: key}}", 2);
        let older = faults(&older, &[object("key", true), object("key.previous.2", true)]);
        assert!(older[0].contains("keep-previous") && older[0].contains("objects[1]"), "{older:?}");
    }

    fn tree(optional: bool) -> Tree {
        Tree {
            name: "/shop".to_owned(),
            address: String::new(),
            directory: "conf".try_into().unwrap(),
            mode: None,
            request: Request::shared("/shop"),
            optional,
            encoding: provider::Encoding::None,
            jmes_path: None,
            file: true,
            most: 100,
            least_calls: 1,
        }
    }

    #[test]
    fn a_composed_file_may_name_what_a_listing_may_find() {
        let settings = settings("- {path: env, format: json, from: {a: conf/db/user, b: config}}", 0);

        let faults = verify(&settings, &[], &[tree(false)]);

        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].key.ends_with("from.b"), "{faults:?}");
    }

    #[test]
    fn a_template_asks_for_what_a_listing_may_lack_whether_it_is_there() {
        let plain = settings("- {path: f, format: template, template: \"{{ a }}\", from: {a: conf/user}}", 0);

        assert_eq!(verify(&plain, &[], &[tree(false)]), []);
        assert!(verify(&plain, &[], &[tree(true)])[0].reason.contains("may be missing"));
    }

    #[test]
    fn a_file_that_was_found_is_told_by_its_path() {
        let objects = [object("a", true), object("conf/a", true), object("conf/a/b", true)];
        let told = clashes(&Settings::default(), &objects, 1);
        assert!(told[0].to_string().contains("the file conf/a"), "{told:?}");
    }
}
