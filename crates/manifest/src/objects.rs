//! The `objects` of a class: the part that all providers read in the same way. Each provider decides which keys an
//! object has and what they mean.

use provider::{Declaration, Encoding, Invalid, Key, ObjectPath, ObjectRef, Parameters, Request, Tree};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::fields;
use crate::listed_tree::in_the_way;
use crate::listing::{Entry, Listing};
use crate::parts::{JmesPath, JsonPart};
use crate::paths::{self, Place};
use crate::text::{nearest, shorten};
use crate::with_keys::WithKeys;
use crate::yaml::NumericMode;

/// The parameter that lists the objects, unless the provider chooses another.
pub const PARAMETER: &str = Listing::OBJECTS.parameter;

/// Where one object is written, and which of its keys the provider does not declare.
#[derive(Debug, Clone, Copy)]
pub struct Position<'a> {
    listing: Listing,
    index: usize,
    line: Option<usize>,
    keys: &'a [String],
    own: &'static [Key],
}

impl Position<'_> {
    /// The undeclared keys of the object, each as an error with the key that the author probably meant.
    pub fn undeclared(&self) -> impl Iterator<Item = Invalid> {
        let names = fields::declared(self.own).map(|key| key.name);
        let undeclared = self.keys.iter().filter({
            let names = names.clone();
            move |key| names.clone().all(|name| name != key.as_str())
        });
        undeclared.map(move |key| {
            self.refuse(&shorten(key), "there is no such key", &fields::meant(key, names.clone()))
        })
    }

    /// Makes an error about one of the object's keys, or about its absence.
    pub fn refuse(&self, key: &str, reason: &str, remedy: &str) -> Invalid {
        invalid(self.key(key), self.line, reason, remedy)
    }

    /// Parses the path that one of the object's keys holds.
    ///
    /// # Errors
    ///
    /// As [`paths::object_path`].
    pub fn path(&self, key: &str, raw: &str) -> Result<ObjectPath, Invalid> {
        paths::object_path(&self.key(key), self.line, raw)
    }

    fn key(&self, key: &str) -> String {
        format!("{}.{key}", self.listing.name(self.index))
    }
}

/// The secretfs keys that every object of every provider may have. A provider flattens this type into its own object
/// type. A `default` that is not text is an error; it is never converted.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectExtras {
    /// The object may be missing in the store.
    #[serde(default)]
    pub optional: bool,
    /// What to show if the store does not have the object.
    #[serde(default)]
    pub default: Option<String>,
    /// How the store holds the contents: the name of an [`Encoding`].
    #[serde(default)]
    pub encoding: Option<String>,
    /// A JMESPath expression, or several, that select parts of the contents.
    #[serde(default)]
    pub jmes_path: Option<JmesPath>,
    /// Whether the object is a file of its own, and not only part of composed files.
    #[serde(default = "yes")]
    pub file: bool,
}

impl Default for ObjectExtras {
    fn default() -> Self {
        Self { optional: false, default: None, encoding: None, jmes_path: None, file: true }
    }
}

impl ObjectExtras {
    /// The object called `name` with these keys, followed by one object for each of its parts.
    ///
    /// # Errors
    ///
    /// The name of a part is no path; the object has both parts and a default; there is no such encoding.
    pub fn objects(
        self,
        at: Position<'_>,
        name: String,
        path: ObjectPath,
        mode: Option<NumericMode>,
        request: Request,
    ) -> Result<Vec<ObjectRef>, Vec<Invalid>> {
        let encoding = encoding(at, "encoding", self.encoding.as_deref()).map_err(|fault| vec![fault])?;
        let Self { optional, default, jmes_path, file, .. } = self;
        let mode = mode.map(|mode| mode.0);
        let has_default = default.is_some();
        let (jmes_path, parts) = match jmes_path {
            Some(JmesPath::Whole(expression)) => (Some(expression), Vec::new()),
            Some(JmesPath::Parts(parts)) => (None, parts),
            None => (None, Vec::new()),
        };
        let whole = ObjectRef { name, path, mode, request, optional, default, encoding, jmes_path, file };
        if has_default && !parts.is_empty() {
            let remedy = "list the parts as objects, each with a default of its own";
            return Err(vec![at.refuse("default", "it is one text, and the object has parts", remedy)]);
        }
        let parts: Vec<_> = parts.into_iter().enumerate().map(|part| of_part(at, &whole, part)).collect();
        let faults: Vec<_> = parts.iter().filter_map(|part| part.as_ref().err().cloned()).collect();
        if !faults.is_empty() {
            return Err(faults);
        }
        Ok(std::iter::once(whole).chain(parts.into_iter().flatten()).collect())
    }
}

/// The encoding that `name` under `key` names.
///
/// # Errors
///
/// There is none of that name.
pub fn encoding(at: Position<'_>, key: &str, name: Option<&str>) -> Result<Encoding, Invalid> {
    let known = Encoding::named(name.unwrap_or_default());
    known.ok_or_else(|| at.refuse(key, "it is none we know", "write utf-8, base64 or hex"))
}

/// The object for one part: it is read as `whole` is, and shows what the part's expression selects.
fn of_part(
    at: Position<'_>,
    whole: &ObjectRef,
    (index, part): (usize, JsonPart),
) -> Result<ObjectRef, Invalid> {
    let JsonPart { path: expression, object_alias, file_permission } = part;
    Ok(ObjectRef {
        path: at.path(&format!("jmesPath[{index}].objectAlias"), &object_alias)?,
        name: object_alias,
        mode: file_permission.map(|mode| mode.0).or(whole.mode),
        jmes_path: Some(expression),
        file: true,
        ..whole.clone()
    })
}

fn yes() -> bool {
    true
}

/// Calls `understand` for each object that `text` lists under `objects`. See [`read_listed`].
///
/// # Errors
///
/// As [`read_listed`].
pub fn read<T: DeserializeOwned, P: Clone>(
    text: &str,
    own: &'static [Key],
    understand: impl Fn(Position<'_>, T) -> Result<(Vec<ObjectRef>, P), Vec<Invalid>>,
) -> Result<(Vec<ObjectRef>, Vec<P>), Vec<Invalid>> {
    read_listed(&Listing::OBJECTS, text, own, understand)
}

/// Calls `understand` for each object that `text` lists. Returns the files that the objects make and, at the same
/// index, what the provider keeps for each of them. `own` are the keys that the provider declares.
///
/// # Errors
///
/// Every fault: the text is no such list, `understand` refuses an object, or paths of files collide. A value of the
/// wrong type is reported with its key.
pub fn read_listed<T: DeserializeOwned, P: Clone>(
    listing: &Listing,
    text: &str,
    own: &'static [Key],
    understand: impl Fn(Position<'_>, T) -> Result<(Vec<ObjectRef>, P), Vec<Invalid>>,
) -> Result<(Vec<ObjectRef>, Vec<P>), Vec<Invalid>> {
    let understand =
        |at: Position<'_>, item: T| understand(at, item).map(|(made, beside)| Asked::Objects(made, beside));
    read_with_trees(listing, text, own, understand).map(|read| (read.objects, read.kept))
}

/// What one entry of a list asks for.
#[derive(Debug)]
pub enum Asked<P> {
    /// These files, with what the provider keeps for each.
    Objects(Vec<ObjectRef>, P),
    /// Every file that a listing of the store names.
    Tree(Tree),
}

/// What a list asks for.
#[derive(Debug)]
pub struct Read<P> {
    /// The files that its objects make.
    pub objects: Vec<ObjectRef>,
    /// What the provider keeps for each of them, at the same index.
    pub kept: Vec<P>,
    /// Its listings.
    pub trees: Vec<Tree>,
}

/// As [`read_listed`], for a provider whose entries may be listings.
///
/// # Errors
///
/// As [`read_listed`]; also a file where a listing needs a directory.
pub fn read_with_trees<T: DeserializeOwned, P: Clone>(
    listing: &Listing,
    text: &str,
    own: &'static [Key],
    understand: impl Fn(Position<'_>, T) -> Result<Asked<P>, Vec<Invalid>>,
) -> Result<Read<P>, Vec<Invalid>> {
    let written =
        listing.entries::<WithKeys<T>>(text, own).map_err(|faults| nearer(listing, faults, text, own))?;
    let (mut objects, mut kept, mut trees) = (Vec::new(), Vec::new(), Vec::new());
    let (mut places, mut faults) = (Vec::new(), Vec::new());
    for (index, Entry { value: WithKeys { keys, value }, line }) in written.into_iter().enumerate() {
        match understand(Position { listing: *listing, index, line, keys: &keys, own }, value) {
            Ok(Asked::Tree(tree)) => trees.push(tree),
            Ok(Asked::Objects(made, beside)) => {
                places.extend(made.iter().map(|_| (index, line)));
                kept.extend(made.iter().map(|_| beside.clone()));
                objects.extend(made);
            }
            Err(wrong) => faults.extend(wrong),
        }
    }
    let files = objects.iter().zip(places).filter(|(object, _)| object.file);
    let places = files.map(|(object, (index, line))| Place { index, path: &object.path, line });
    faults.extend(paths::conflicts(listing.parameter, places));
    if faults.is_empty() {
        faults = in_the_way(listing.parameter, &objects, &trees);
    }
    if faults.is_empty() { Ok(Read { objects, kept, trees }) } else { Err(faults) }
}

/// Replaces faults of the whole text by faults of single keys, if the responsible keys can be found.
fn nearer(listing: &Listing, faults: Vec<Invalid>, text: &str, own: &'static [Key]) -> Vec<Invalid> {
    let misfits = fields::misfits(listing, text, own);
    let blamed = if misfits.is_empty() { faults } else { misfits };
    blamed.into_iter().chain(fields::unknown_in(listing, text, own)).collect()
}

/// As [`read`], for a provider that reads only the parameter `objects`.
///
/// # Errors
///
/// As [`read`]; also a parameter that is not declared, or a missing `objects`.
pub fn read_sole<T: DeserializeOwned, P: Clone>(
    parameters: &Parameters,
    provider: &'static Declaration,
    understand: impl Fn(Position<'_>, T) -> Result<(Vec<ObjectRef>, P), Vec<Invalid>>,
) -> Result<(Vec<ObjectRef>, Vec<P>), Vec<Invalid>> {
    let unknown = parameters.keys().filter(|key| provider.parameter(key).is_none());
    let mut faults: Vec<_> = unknown.map(|key| unknown_parameter(key, provider)).collect();
    let read = match parameters.get(PARAMETER) {
        Some(text) => read(text, provider.object, understand),
        None => Err(vec![missing(provider)]),
    };
    match read {
        Ok(read) if faults.is_empty() => Ok(read),
        read => {
            faults.extend(read.err().into_iter().flatten());
            Err(faults)
        }
    }
}

fn unknown_parameter(key: &str, provider: &'static Declaration) -> Invalid {
    let reason = format!("provider {} has no such parameter", provider.label());
    let names = || provider.parameters.iter().map(|key| key.name);
    let remedy = match nearest(key, names()) {
        Some(meant) => format!("did you mean {meant}?"),
        None => format!("remove it; there is `{}`", names().collect::<Vec<_>>().join("`, `")),
    };
    invalid(key.to_owned(), None, &reason, &remedy)
}

fn missing(provider: &'static Declaration) -> Invalid {
    let example = provider.parameter(PARAMETER).map_or("a list of objects", |key| key.example);
    invalid(PARAMETER.to_owned(), None, "it is missing", &format!("write {example}"))
}

fn invalid(key: String, line: Option<usize>, reason: &str, remedy: &str) -> Invalid {
    Invalid { key, line, reason: reason.to_owned(), remedy: remedy.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use provider::{Holds, Ownership};

    use super::*;
    use crate::declaration;

    const OWN: &[Key] =
        &[Key::new("objectName", Holds::Text, "", ""), Key::new("wrong", Holds::List, "", "")];

    static SHOP: Declaration = Declaration {
        names: &["shop"],
        title: "",
        about: "",
        default_refresh: Duration::ZERO,
        credentials: &[],
        annotations: &[],
        parameters: &[declaration::objects("- {objectName: a}")],
        object: OWN,
    };

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Written {
        object_name: String,
        #[serde(default)]
        wrong: Vec<String>,
        #[serde(flatten)]
        extras: ObjectExtras,
    }

    fn understand(at: Position<'_>, written: Written) -> Result<(Vec<ObjectRef>, usize), Vec<Invalid>> {
        let wrong = written.wrong.iter().map(|key| at.refuse(key, "it is wrong", "mend it"));
        let wrong: Vec<_> = at.undeclared().chain(wrong).collect();
        let path = at.path("objectName", &written.object_name).map_err(|fault| vec![fault])?;
        let request = Request { text: "r".into(), ownership: Ownership::Shared };
        let objects = written.extras.objects(at, written.object_name, path, None, request)?;
        if wrong.is_empty() { Ok((objects, at.index)) } else { Err(wrong) }
    }

    fn parameters<const N: usize>(written: [(&str, &str); N]) -> Parameters {
        written.map(|(key, text)| (key.to_owned(), text.to_owned())).into()
    }

    fn refusals(parameters: &Parameters) -> Vec<String> {
        let read = read_sole(parameters, &SHOP, understand);
        read.unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_object_is_read_with_what_its_provider_keeps_beside_it() {
        let (objects, kept) =
            read("[{objectName: a, optional: true}, {objectName: b}]", OWN, understand).unwrap();

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
    fn a_key_that_is_not_declared_is_told_with_its_line_and_the_one_that_was_meant() {
        let told = refusals(&parameters([("objects", "- objectName: a\n- {objectName: b, optionl: true}")]));

        assert_eq!(
            told,
            ["parameter objects[1].optionl (line 2): there is no such key; did you mean optional?"]
        );
    }

    #[test]
    fn only_files_are_in_each_others_way() {
        let text = "[{objectName: a}, {objectName: a, file: false}, {objectName: a/b, file: false}]";

        assert!(read(text, OWN, understand).is_ok());
    }

    #[test]
    fn an_object_with_parts_is_a_file_and_one_for_each_of_them() {
        let text = "- {objectName: a}\n- objectName: db\n  optional: true\n  jmesPath:\n  - {path: user, objectAlias: db.user}\n  - {path: pass, objectAlias: dbpass, filePermission: \"0440\"}\n";

        let (objects, kept) = read(text, OWN, understand).unwrap();

        let file = |object: &ObjectRef| {
            (object.name.clone(), object.jmes_path.clone(), object.mode.map(|mode| mode.bits()))
        };
        let part = |name: &str, path: &str, mode| (name.to_owned(), Some(path.to_owned()), mode);
        let whole = |name: &str| (name.to_owned(), None, None);
        let expected =
            [whole("a"), whole("db"), part("db.user", "user", None), part("dbpass", "pass", Some(0o440))];
        assert_eq!(objects.iter().map(file).collect::<Vec<_>>(), expected);
        assert!(objects.iter().skip(1).all(|object| object.optional), "no part is there without its object");
        assert_eq!(kept, [0, 1, 1, 1]);
    }

    #[test]
    fn parts_are_refused_by_what_is_wrong_with_each() {
        let part = |part: &str| format!("- {{objectName: b}}\n- {{objectName: a, jmesPath: [{part}]}}");
        for (text, begun) in [
            (part("{path: u, objectAlias: ../u}"), "objects[1].jmesPath[0].objectAlias (line 2)"),
            (
                part("{path: u, objectAlias: a}"),
                "objects[1] (line 2): path \"a\" is also the path of objects[1]",
            ),
            (
                part("{path: u, objectAlias: b}"),
                "objects[1] (line 2): path \"b\" is also the path of objects[0]",
            ),
            (part("{path: u}], default: [x"), "objects[1].default (line 2)"),
            (
                "- {objectName: a, default: x, jmesPath: [{path: u, objectAlias: u}]}".to_owned(),
                "objects[0].default (line 1)",
            ),
        ] {
            let told = refusals(&parameters([("objects", &text)]));
            assert!(told[0].starts_with(&format!("parameter {begun}")), "{text}: {told:#?}");
        }
        for wrong in
            ["{path: u}", "{objectAlias: u}", "u", "{path: u, objectAlias: u, filePermission: \"400\"}"]
        {
            assert!(read(&part(wrong), OWN, understand).is_err(), "{wrong}");
        }
    }

    #[test]
    fn without_objects_an_example_is_shown() {
        let told = refusals(&Parameters::new());

        assert!(told[0].contains("- {objectName: a}"), "{told:?}");
    }
}
