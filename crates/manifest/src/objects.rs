//! The `objects` of a class: what all providers read in the same way. Which keys an object has, and what
//! they mean, is each provider's own.

use provider::{Invalid, ObjectPath, ObjectRef, Parameters, Request};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::fields::{self, Field};
use crate::paths::{self, Place};
use crate::text::nearest;
use crate::yaml::{self, NumericMode};

/// The parameter that lists them.
pub const PARAMETER: &str = "objects";

/// Where one object is written.
#[derive(Debug, Clone, Copy)]
pub struct Position {
    index: usize,
    line: Option<usize>,
}

impl Position {
    /// Why one of the object's keys, or its absence, is refused.
    pub fn refuse(&self, key: &str, reason: &str, remedy: &str) -> Invalid {
        invalid(self.key(key), self.line, reason, remedy)
    }

    /// The path that one of the object's keys names.
    ///
    /// # Errors
    ///
    /// As [`paths::object_path`].
    pub fn path(&self, key: &str, raw: &str) -> Result<ObjectPath, Invalid> {
        paths::object_path(&self.key(key), self.line, raw)
    }

    fn key(&self, key: &str) -> String {
        format!("{PARAMETER}[{}].{key}", self.index)
    }
}

/// The keys of ours that every object of every provider may have; to be flattened into a provider's
/// own object type. Anything but text for `default` and `jmesPath` is an error, never a conversion.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectExtras {
    /// The object may be missing in the store.
    #[serde(default)]
    pub optional: bool,
    /// What to show where the store has none.
    #[serde(default)]
    pub default: Option<String>,
    /// A JMESPath expression applied to the contents.
    #[serde(default)]
    pub jmes_path: Option<String>,
    /// Whether the object is a file of its own, not only part of composed files.
    #[serde(default = "yes")]
    pub file: bool,
}

impl Default for ObjectExtras {
    fn default() -> Self {
        Self { optional: false, default: None, jmes_path: None, file: true }
    }
}

impl ObjectExtras {
    /// The object called `name` with these keys.
    pub fn object(
        self,
        name: String,
        path: ObjectPath,
        mode: Option<NumericMode>,
        request: Request,
    ) -> ObjectRef {
        let Self { optional, default, jmes_path, file } = self;
        ObjectRef { name, path, mode: mode.map(|mode| mode.0), request, optional, default, jmes_path, file }
    }
}

fn yes() -> bool {
    true
}

/// What `understand` makes of each object that `text` lists: the object, and what its provider keeps beside
/// it, at the same index.
///
/// # Errors
///
/// Everything that is wrong: what [`yaml::read_objects`] or `understand` refuses, and files in each other's way.
/// Values that are not what `fields` says they hold are told by their keys.
pub fn read<T: DeserializeOwned, P>(
    text: &str,
    fields: &[Field],
    understand: impl Fn(Position, T) -> Result<(ObjectRef, P), Vec<Invalid>>,
) -> Result<(Vec<ObjectRef>, Vec<P>), Vec<Invalid>> {
    let written = yaml::read_objects::<T>(PARAMETER, text).map_err(|fault| nearer(fault, text, fields))?;
    let mut understood = Vec::with_capacity(written.len());
    let (mut lines, mut faults) = (Vec::new(), Vec::new());
    for (index, written) in written.into_iter().enumerate() {
        let line = yaml::line(&written);
        match understand(Position { index, line }, written.value) {
            Ok(object) => {
                understood.push(object);
                lines.push(line);
            }
            Err(wrong) => faults.extend(wrong),
        }
    }
    let (objects, kept): (Vec<_>, Vec<_>) = understood.into_iter().unzip();
    let files = objects.iter().zip(lines).filter(|(object, _)| object.file);
    faults
        .extend(paths::conflicts(PARAMETER, files.map(|(object, line)| Place { path: &object.path, line })));
    if faults.is_empty() { Ok((objects, kept)) } else { Err(faults) }
}

/// A fault of the whole text, by the keys that are to blame where those can be found.
fn nearer(fault: Invalid, text: &str, fields: &[Field]) -> Vec<Invalid> {
    let misfits = fields::misfits(text, fields);
    let blamed = if misfits.is_empty() { vec![fault] } else { misfits };
    blamed.into_iter().chain(fields::unknown(text, fields)).collect()
}

/// As [`read`], for a `provider` that has no parameter beside `objects`. `example` is one as its author
/// would write it.
///
/// # Errors
///
/// As [`read`]; also another parameter, and none at all.
pub fn read_sole<T: DeserializeOwned, P>(
    parameters: &Parameters,
    provider: &str,
    example: &str,
    fields: &[Field],
    understand: impl Fn(Position, T) -> Result<(ObjectRef, P), Vec<Invalid>>,
) -> Result<(Vec<ObjectRef>, Vec<P>), Vec<Invalid>> {
    let unknown = |key: &String| {
        let reason = format!("provider {provider} has no such parameter");
        let remedy = match nearest(key, [PARAMETER]) {
            Some(meant) => format!("did you mean {meant}?"),
            None => "remove it; there is `objects`".to_owned(),
        };
        invalid(key.clone(), None, &reason, &remedy)
    };
    let mut faults: Vec<_> = parameters.keys().filter(|key| *key != PARAMETER).map(unknown).collect();
    let read = match parameters.get(PARAMETER) {
        Some(text) => read(text, fields, understand),
        None => {
            let remedy = format!("write {example}");
            Err(vec![invalid(PARAMETER.to_owned(), None, "it is missing", &remedy)])
        }
    };
    match read {
        Ok(read) if faults.is_empty() => Ok(read),
        read => {
            faults.extend(read.err().into_iter().flatten());
            Err(faults)
        }
    }
}

fn invalid(key: String, line: Option<usize>, reason: &str, remedy: &str) -> Invalid {
    Invalid { key, line, reason: reason.to_owned(), remedy: remedy.to_owned() }
}

#[cfg(test)]
mod tests {
    use provider::Ownership;

    use super::*;

    const FIELDS: [Field; 2] =
        [Field::new("objectName", fields::Holds::Text), Field::new("wrong", fields::Holds::Map)];

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Written {
        object_name: String,
        #[serde(default)]
        wrong: Vec<String>,
        #[serde(flatten)]
        extras: ObjectExtras,
    }

    fn understand(at: Position, written: Written) -> Result<(ObjectRef, usize), Vec<Invalid>> {
        let wrong: Vec<_> =
            written.wrong.iter().map(|key| at.refuse(key, "it is wrong", "mend it")).collect();
        let path = at.path("objectName", &written.object_name).map_err(|fault| vec![fault])?;
        let request = Request { text: "r".into(), ownership: Ownership::Shared };
        let object = written.extras.object(written.object_name, path, None, request);
        if wrong.is_empty() { Ok((object, at.index)) } else { Err(wrong) }
    }

    fn parameters<const N: usize>(written: [(&str, &str); N]) -> Parameters {
        written.map(|(key, text)| (key.to_owned(), text.to_owned())).into()
    }

    fn refusals(parameters: &Parameters) -> Vec<String> {
        let read = read_sole(parameters, "shop", "- {objectName: a}", &FIELDS, understand);
        read.unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_object_is_read_with_what_its_provider_keeps_beside_it() {
        let (objects, kept) =
            read("[{objectName: a, optional: true}, {objectName: b}]", &FIELDS, understand).unwrap();

        let names = objects.iter().map(|object| (object.name.as_str(), object.optional, object.file));
        assert_eq!(names.collect::<Vec<_>>(), [("a", true, true), ("b", false, true)]);
        assert_eq!(kept, [0, 1]);
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let text =
            "- {objectName: a, wrong: [one, two]}\n- {objectName: b}\n- {objectName: b}\n- {objectName: /c}";

        let told = refusals(&parameters([("objects", text), ("other", "")]));

        let begun = [
            "other: ",
            "objects[0].one (line 1)",
            "objects[0].two (line 1)",
            "objects[3].objectName (line 4)",
        ];
        assert_eq!(told.len(), 5, "{told:#?}");
        for (told, begun) in told.iter().zip(begun) {
            assert!(told.starts_with(&format!("parameter {begun}")), "{told}");
        }
        assert!(told[4].contains("(line 3)") && told[4].contains("is also the path of"), "{}", told[4]);
    }

    #[test]
    fn only_files_are_in_each_others_way() {
        let text = "[{objectName: a}, {objectName: a, file: false}, {objectName: a/b, file: false}]";

        assert!(read(text, &FIELDS, understand).is_ok());
    }

    #[test]
    fn without_objects_an_example_is_shown() {
        let told = refusals(&Parameters::new());

        assert!(told[0].contains("- {objectName: a}"), "{told:?}");
    }
}
