//! How a class lists its objects: the parameter that holds the list, and its shape. Each upstream provider has its own.

use provider::{Invalid, Key};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::lenient;
use crate::text::shorten;
use crate::tree::{self, Node, Value};
use crate::yaml::{self, MAX_ALIASES, MAX_BYTES, MAX_OBJECTS, Spanned};

/// The parameter in which a class lists its objects, and the shape of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listing {
    /// The parameter that holds the list.
    pub parameter: &'static str,
    /// The shape of the parameter's text.
    pub shape: Shape,
}

/// The shapes of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A YAML list of objects.
    Objects,
    /// A YAML map whose key `array` holds a list of texts; each text is the YAML of one object.
    Texts,
    /// A YAML list of objects as Go's `sigs.k8s.io/yaml` reads it: by YAML 1.1, with keys in any case. For a key that
    /// holds text, a bare `y` is "true" and a bare `0123` is "83".
    Lenient,
}

/// One object as it is written in the class.
#[derive(Debug)]
pub(crate) struct Entry<T> {
    pub(crate) value: T,
    /// Its line in the parameter's text, from 1. If the object has a text of its own, the first line of that text.
    pub(crate) line: Option<usize>,
}

/// One object as a tree of nodes.
#[derive(Debug)]
pub(crate) struct Listed {
    /// The name that [`Listing::name`] gives it.
    pub(crate) name: String,
    /// The line of the object's own text. `None` if it has none: then its keys know their lines.
    pub(crate) line: Option<usize>,
    pub(crate) node: Node,
}

#[derive(Debug, Deserialize)]
struct Texts {
    array: Option<Vec<Spanned<String>>>,
}

impl Listing {
    /// A YAML list under `objects`.
    pub const OBJECTS: Self = Self { parameter: "objects", shape: Shape::Objects };

    /// How messages name the object at `index`.
    pub(crate) fn name(&self, index: usize) -> String {
        format!("{}[{index}]", self.parameter)
    }

    /// Parses the objects of `text`: at least one, at most [`MAX_OBJECTS`]. `own` are the keys that a provider
    /// declares.
    ///
    /// # Errors
    ///
    /// As [`yaml::read`]; also if the list is empty or too long. For [`Shape::Texts`] and [`Shape::Lenient`] the result
    /// has every error of every object.
    pub(crate) fn entries<T: DeserializeOwned>(
        &self,
        text: &str,
        own: &'static [Key],
    ) -> Result<Vec<Entry<T>>, Vec<Invalid>> {
        match self.shape {
            Shape::Objects => {
                let read = yaml::read_objects(self.parameter, text).map_err(|fault| vec![fault])?;
                Ok(read
                    .into_iter()
                    .map(|object| Entry { line: yaml::line(&object), value: object.value })
                    .collect())
            }
            Shape::Texts => {
                let texts = self.texts(text).map_err(|fault| vec![fault])?;
                self.each_text(&texts)
            }
            Shape::Lenient => {
                let objects = self.lenient(text).map_err(|fault| vec![fault])?;
                self.each_lenient(&objects, own)
            }
        }
    }

    fn texts(&self, text: &str) -> Result<Vec<Spanned<String>>, Invalid> {
        let read: Option<Texts> = yaml::read(self.parameter, text)?;
        let texts = yaml::counted(self.parameter, read.and_then(|read| read.array).unwrap_or_default())?;
        // One alias may expand to many values, and each text may have as many aliases as a whole list.
        let aliases: usize = texts.iter().map(|text| text.value.matches('*').count()).sum();
        if aliases > MAX_ALIASES {
            let reason = format!("it has more than {MAX_ALIASES} aliases");
            return Err(self.refuse(None, reason, "write the values out"));
        }
        Ok(texts)
    }

    fn each_text<T: DeserializeOwned>(
        &self,
        texts: &[Spanned<String>],
    ) -> Result<Vec<Entry<T>>, Vec<Invalid>> {
        let (mut entries, mut faults) = (Vec::new(), Vec::new());
        for (index, text) in texts.iter().enumerate() {
            let line = yaml::line(text);
            match yaml::read(&self.name(index), &text.value) {
                Ok(value) => entries.push(Entry { value, line }),
                Err(fault) => faults.push(Invalid { line, ..fault }),
            }
        }
        if faults.is_empty() { Ok(entries) } else { Err(faults) }
    }

    /// The objects of `text` as trees, as far as it can be parsed. Used to find what serde does not report.
    pub(crate) fn nodes(&self, text: &str, own: &'static [Key]) -> Vec<Listed> {
        let Some(root) = root(text) else { return Vec::new() };
        let listed = match self.shape {
            Shape::Objects | Shape::Lenient => root.items(),
            Shape::Texts => root.get("array").map(Node::items).unwrap_or_default(),
        };
        let tree = |(index, node): (usize, &Node)| {
            let (line, node) = match self.shape {
                Shape::Objects => (None, node.clone()),
                Shape::Lenient => (None, lenient::respelled(node.clone(), own)),
                Shape::Texts => (Some(node.line), plain(node.text()?)?),
            };
            Some(Listed { name: self.name(index), line, node })
        };
        listed.iter().take(MAX_OBJECTS).enumerate().filter_map(tree).collect()
    }

    fn lenient(&self, text: &str) -> Result<Vec<Node>, Invalid> {
        if text.len() > MAX_BYTES {
            return Err(self.refuse(
                None,
                format!("it is longer than {MAX_BYTES} bytes"),
                "spread the objects over several classes",
            ));
        }
        let mut documents = tree::documents(text);
        let root = documents
            .next()
            .transpose()
            .map_err(|fault| self.refuse(fault.line, fault.reason, &fault.remedy))?;
        if documents.next().is_some() {
            return Err(self.refuse(None, "it holds several documents".to_owned(), "remove the `---`"));
        }
        let objects = match root {
            None => Vec::new(),
            Some(root) if root.is_null() => Vec::new(),
            Some(Node { value: Value::List(objects), .. }) => objects,
            Some(other) => {
                let reason = format!("found {}, expected a list of maps", other.describe());
                return Err(self.refuse(Some(other.line), reason, "begin each object with `- `"));
            }
        };
        yaml::counted(self.parameter, objects)
    }

    fn each_lenient<T: DeserializeOwned>(
        &self,
        objects: &[Node],
        own: &'static [Key],
    ) -> Result<Vec<Entry<T>>, Vec<Invalid>> {
        let (mut entries, mut faults) = (Vec::new(), Vec::new());
        for (index, object) in objects.iter().enumerate() {
            match self.one_lenient(index, object, own) {
                Ok(value) => entries.push(Entry { value, line: Some(object.line) }),
                Err(fault) => faults.push(fault),
            }
        }
        if faults.is_empty() { Ok(entries) } else { Err(faults) }
    }

    fn one_lenient<T: DeserializeOwned>(
        &self,
        index: usize,
        object: &Node,
        own: &'static [Key],
    ) -> Result<T, Invalid> {
        let name = self.name(index);
        let json = lenient::json(&name, &lenient::respelled(object.clone(), own), own)?;
        serde_json::from_value(json).map_err(|error| Invalid {
            key: name,
            line: Some(object.line),
            reason: shorten(&error.to_string()),
            remedy: "correct the value".to_owned(),
        })
    }

    fn refuse(&self, line: Option<usize>, reason: String, remedy: &str) -> Invalid {
        Invalid { key: self.parameter.to_owned(), line, reason, remedy: remedy.to_owned() }
    }
}

/// Parses a text only if it has no alias. With many texts, each alias could expand to as much as a whole file.
fn plain(text: &str) -> Option<Node> {
    if text.contains('*') { None } else { root(text) }
}

fn root(text: &str) -> Option<Node> {
    if text.len() > MAX_BYTES {
        return None;
    }
    tree::documents(text).next()?.ok()
}

#[cfg(test)]
mod tests {
    use provider::Holds;

    use super::*;
    use crate::objects::ObjectExtras;

    const TEXTS: Listing = Listing { parameter: "objects", shape: Shape::Texts };
    const LENIENT: Listing = Listing { parameter: "objects", shape: Shape::Lenient };

    const OWN: &[Key] = &[Key::new("objectName", Holds::Text, "", "")];

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Written {
        object_name: String,
    }

    fn names(listing: Listing, text: &str) -> Vec<(String, Option<usize>)> {
        let entries = listing.entries::<Written>(text, OWN).unwrap();
        entries.into_iter().map(|entry| (entry.value.object_name, entry.line)).collect()
    }

    fn refusals(text: &str) -> Vec<String> {
        TEXTS.entries::<Written>(text, OWN).unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn objects_are_a_list_under_the_parameter_of_the_provider() {
        let secrets = Listing { parameter: "secrets", ..Listing::OBJECTS };

        assert_eq!(names(secrets, "- objectName: a\n- objectName: b\n").len(), 2);
        let refused = secrets.entries::<Written>("[]", OWN).unwrap_err();
        assert!(refused[0].to_string().starts_with("parameter secrets: it lists no objects"), "{refused:?}");
    }

    #[test]
    fn objects_are_texts_of_an_array() {
        let text = "array:\n  - |\n    objectName: a\n    objectType: secret\n  - \"objectName: b\"\n";

        let names = names(TEXTS, text);

        assert_eq!(names.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert!(names.iter().all(|(_, line)| line.is_some_and(|line| (2..=5).contains(&line))), "{names:?}");
    }

    #[test]
    fn every_text_that_is_wrong_is_told_by_its_place() {
        let wrong = refusals("array:\n- 'objectName: [a'\n- 'objectName: b'\n- 'objectType: secret'\n");

        assert_eq!(wrong.len(), 2, "{wrong:?}");
        assert!(wrong[0].starts_with("parameter objects[0] (line 2)"), "{wrong:?}");
        assert!(wrong[1].starts_with("parameter objects[2] (line 4): objectName is missing"), "{wrong:?}");
    }

    #[test]
    fn an_array_that_is_empty_or_missing_or_too_long_is_refused() {
        for text in ["", "array:", "array: []", "{}"] {
            assert!(refusals(text)[0].contains("lists no objects"), "{text:?}: {:?}", refusals(text));
        }
        let many = "array:\n".to_owned() + &"- 'objectName: a'\n".repeat(MAX_OBJECTS + 1);
        assert!(refusals(&many)[0].contains("1001 objects"));
        assert!(!refusals("- objectName: a").is_empty(), "that is another shape");
    }

    #[test]
    fn texts_have_no_more_aliases_together_than_one_list() {
        let bomb = "array:\n".to_owned() + &"- '{objectName: &a x, l: [*a, *a]}'\n".repeat(MAX_ALIASES);

        assert!(refusals(&bomb)[0].contains("aliases"), "{:?}", refusals(&bomb)[0]);
        assert!(TEXTS.nodes(&bomb, OWN).is_empty());
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Loose {
        object_name: String,
        #[serde(flatten)]
        extras: ObjectExtras,
    }

    fn loose(text: &str) -> Result<Vec<Loose>, Vec<String>> {
        let entries = LENIENT.entries::<Loose>(text, OWN);
        let told = |faults: Vec<Invalid>| faults.iter().map(ToString::to_string).collect();
        entries.map_err(told).map(|entries| entries.into_iter().map(|entry| entry.value).collect())
    }

    #[test]
    fn read_leniently_text_is_what_yaml_1_1_makes_of_it() {
        for (written, read) in [
            ("y", "true"),
            ("Off", "false"),
            ("0123", "83"),
            ("\"0123\"", "0123"),
            ("'y'", "y"),
            ("a", "a"),
            ("2026-01-01", "2026-01-01"),
        ] {
            assert_eq!(loose(&format!("- objectName: {written}")).unwrap()[0].object_name, read, "{written}");
        }
    }

    #[test]
    fn read_leniently_keys_have_any_case_and_booleans_any_word() {
        let read = loose(
            "- ObjectName: a\n  OPTIONAL: yes\n  jmespath: [{Path: b, ObjectAlias: c}]\n  other: [1]\n",
        )
        .unwrap();

        assert!(read[0].object_name == "a" && read[0].extras.optional);
        assert!(read[0].extras.jmes_path.is_some());
    }

    #[test]
    fn read_leniently_what_is_wrong_is_told_with_its_line() {
        for (text, words) in [
            ("- {objectName: a, ObjectName: b}", "is there twice"),
            ("- objectName: a\n- {}\n", "objects[1] (line 2): missing field `objectName`"),
            ("- {objectName: a, default: 7}", "invalid type: integer"),
            ("objectName: a", "found a map, expected a list"),
            ("- a\n---\n- b", "several documents"),
            ("- [", "line"),
            ("", "lists no objects"),
        ] {
            let told = loose(text).unwrap_err();
            assert!(told[0].contains(words), "{text:?}: {told:?}");
        }
        let bomb = format!("- &a {{x: {}}}\n{}", "[".repeat(60), "- *a\n".repeat(100));
        assert!(loose(&bomb).is_err() && loose(&"#".repeat(MAX_BYTES + 1)).is_err());
    }
}
