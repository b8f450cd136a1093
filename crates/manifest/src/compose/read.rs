//! Parses the text of `secretfs.dev/files`.

use std::collections::BTreeSet;
use std::fmt;

use provider::{FileMode, Invalid};
use serde::Deserialize;
use serde::de::{self, MapAccess, SeqAccess, Visitor};

use super::{Template, is_variable};
use crate::text::{nearest, shorten};
use crate::yaml::{self, Spanned};
use crate::{Composed, ComposedFormat, paths};

/// The composed files that `text` describes, under the parameter `key`.
pub(crate) fn read(key: &str, text: &str) -> Result<Vec<Composed>, Vec<Invalid>> {
    let written: Vec<Spanned<Written>> = yaml::read_objects(key, text).map_err(|invalid| vec![invalid])?;
    let (mut files, mut faults) = (Vec::new(), Vec::new());
    for (index, file) in written.iter().enumerate() {
        let place = Place { key: format!("{key}[{index}]"), line: yaml::line(file) };
        match file.value.understand(&place) {
            Ok(file) => files.push(file),
            Err(invalid) => faults.push(invalid),
        }
    }
    if faults.is_empty() { Ok(files) } else { Err(faults) }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    path: String,
    format: String,
    #[serde(default)]
    from: Entries,
    mode: Option<WrittenMode>,
    template: Option<String>,
}

struct Place {
    key: String,
    line: Option<usize>,
}

impl Place {
    fn refuse(&self, field: &str, reason: &str, remedy: &str) -> Invalid {
        let key = format!("{}.{field}", self.key);
        Invalid { key, line: self.line, reason: shorten(reason), remedy: remedy.to_owned() }
    }
}

impl Written {
    fn understand(&self, place: &Place) -> Result<Composed, Invalid> {
        let format = self.format(place)?;
        let path = paths::object_path(&format!("{}.path", place.key), place.line, &self.path)?;
        let from = self.from(place, &format)?;
        Ok(Composed { path, format, from, mode: self.mode.as_ref().map(|mode| mode.0) })
    }

    fn format(&self, place: &Place) -> Result<ComposedFormat, Invalid> {
        if self.format != "template" && self.template.is_some() {
            return Err(place.refuse("template", "the format is another", "write format: template"));
        }
        match self.format.as_str() {
            "dotenv" => Ok(ComposedFormat::Dotenv),
            "json" => Ok(ComposedFormat::Json),
            "yaml" => Ok(ComposedFormat::Yaml),
            "properties" => Ok(ComposedFormat::Properties),
            "pem" => Ok(ComposedFormat::Pem),
            "template" => self.template(place).map(ComposedFormat::Template),
            other => {
                let remedy = nearest(other, FORMATS).map_or_else(
                    || format!("write {}", FORMATS.join(" or ")),
                    |meant| format!("did you mean {meant:?}?"),
                );
                Err(place.refuse("format", &format!("{other:?} is no format"), &remedy))
            }
        }
    }

    fn template(&self, place: &Place) -> Result<Template, Invalid> {
        let text = self.template.as_deref();
        let text =
            text.ok_or_else(|| place.refuse("template", "it is missing", "write the text of the file"))?;
        Template::parse(text).map_err(|fault| {
            let reason = format!("line {} of the text: {}", fault.line, fault.reason);
            place.refuse("template", &reason, "")
        })
    }

    fn from(&self, place: &Place, format: &ComposedFormat) -> Result<Vec<(String, String)>, Invalid> {
        if self.from.entries.is_empty() {
            return Err(place.refuse(
                "from",
                "it names no objects",
                "write a map such as {DB_USER: db/user}",
            ));
        }
        if self.from.is_list && *format != ComposedFormat::Pem {
            let remedy = "write a map such as {DB_USER: db/user}; a list is for format pem";
            return Err(place.refuse("from", "it is a list", remedy));
        }
        let keys = || self.from.entries.iter().map(|(key, _)| key.as_str());
        if let Some(odd) = keys().find(|key| !fits(key, format)) {
            let reason = format!("{odd:?} is not the name of a variable");
            return Err(place.refuse(
                "from",
                &reason,
                "use letters, digits and _, not beginning with a digit",
            ));
        }
        if let ComposedFormat::Template(template) = format {
            agree(place, template, keys)?;
        }
        Ok(self.from.entries.clone())
    }
}

/// Checks that `template` uses every key of `from`, and no other key.
fn agree<'a, K: Iterator<Item = &'a str> + Clone>(
    place: &Place,
    template: &Template,
    keys: impl Fn() -> K,
) -> Result<(), Invalid> {
    let (asked, known): (Vec<_>, BTreeSet<_>) = (template.keys(), keys().collect());
    if let Some(unknown) = asked.iter().find(|asked| !known.contains(**asked)) {
        let remedy = nearest(unknown, keys()).map_or_else(
            || format!("name its object: from: {{{unknown}: …}}"),
            |meant| format!("did you mean {meant:?}?"),
        );
        return Err(place.refuse("template", &format!("`from` has no key {unknown:?}"), &remedy));
    }
    let asked: BTreeSet<_> = asked.into_iter().collect();
    match keys().find(|key| !asked.contains(key)) {
        Some(unused) => {
            let reason = format!("the template does not ask for {unused:?}");
            Err(place.refuse(
                "from",
                &reason,
                &format!("write {{{{ {unused} }}}}, or leave it out of `from`"),
            ))
        }
        None => Ok(()),
    }
}

/// The names of all formats.
pub(crate) const FORMATS: [&str; 6] = ["dotenv", "json", "yaml", "properties", "pem", "template"];

fn fits(key: &str, format: &ComposedFormat) -> bool {
    match format {
        ComposedFormat::Dotenv | ComposedFormat::Template(_) => is_variable(key),
        _ => !key.is_empty(),
    }
}

/// A map in the order in which it is written. A list of words is read as a map in which each word is its own key.
#[derive(Default)]
struct Entries {
    entries: Vec<(String, String)>,
    is_list: bool,
}

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EntriesVisitor)
    }
}

struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = Entries;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of keys in the file to objectNames, such as {DB_USER: db/user}")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Entries, A::Error> {
        let mut entries = Vec::new();
        while let Some(name) = list.next_element::<String>()? {
            entries.push((name.clone(), name));
        }
        Ok(Entries { entries, is_list: true })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Entries { entries, is_list: false })
    }
}

/// Octal text (`"0440"`) or a number (`0440`). The upstream driver has no such key, so both forms are allowed.
struct WrittenMode(FileMode);

impl<'de> Deserialize<'de> for WrittenMode {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ModeVisitor)
    }
}

struct ModeVisitor;

impl Visitor<'_> for ModeVisitor {
    type Value = WrittenMode;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a file mode between 0000 and 0777, such as \"0440\"")
    }

    fn visit_u64<E: de::Error>(self, bits: u64) -> Result<WrittenMode, E> {
        let refused = |_| E::invalid_value(de::Unexpected::Unsigned(bits), &self);
        FileMode::try_from(bits).map(WrittenMode).map_err(refused)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<WrittenMode, E> {
        let refused = || E::invalid_value(de::Unexpected::Str(text), &self);
        let digits = text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
        let bits = digits.then(|| u64::from_str_radix(text, 8).ok()).flatten().ok_or_else(refused)?;
        FileMode::try_from(bits).map(WrittenMode).map_err(|_| refused())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        read("secretfs.dev/files", text).unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn keys_keep_the_order_of_the_class() {
        let files =
            read("f", "- {path: app.env, format: dotenv, from: {Z: z, A: db/a}, mode: \"0440\"}").unwrap();

        let [file] = files.as_slice() else { panic!("one file") };
        assert_eq!((file.path.as_str(), &file.format), ("app.env", &ComposedFormat::Dotenv));
        assert_eq!(file.from, [("Z".to_owned(), "z".to_owned()), ("A".to_owned(), "db/a".to_owned())]);
        assert_eq!(file.mode.map(FileMode::bits), Some(0o440));
    }

    #[test]
    fn a_bundle_lists_its_objects_in_order() {
        let files = read("f", "- {path: tls.pem, format: pem, from: [tls.key, tls.crt]}").unwrap();

        let own = |name: &str| (name.to_owned(), name.to_owned());
        assert_eq!(files[0].from, [own("tls.key"), own("tls.crt")]);
    }

    #[test]
    fn a_mode_may_be_a_number() {
        let files = read("f", "- {path: a, format: json, from: {a: b}, mode: 0440}").unwrap();
        assert_eq!(files[0].mode.map(FileMode::bits), Some(0o440));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, reason) in [
            ("- {path: ../a, format: json, from: {a: b}}", "secretfs.dev/files[0].path (line 1)"),
            (
                "\n- {path: a, format: template, from: {a: b}}",
                "secretfs.dev/files[0].template (line 2): it is missing",
            ),
            ("- {path: a, format: json, template: x, from: {a: b}}", "write format: template"),
            ("- {path: a, format: template, template: '{{ b }}', from: {a: b}}", "`from` has no key \"b\""),
            (
                "- {path: a, format: template, template: 'x', from: {a: b}}",
                "does not ask for \"a\"; write {{ a }}",
            ),
            (
                "- {path: a, format: template, template: '{{ a', from: {a: b}}",
                "line 1 of the text: {{ has no }}",
            ),
            (
                "- {path: a, format: registry, from: {a: b}}",
                "\"registry\" is no format; write dotenv or json or yaml",
            ),
            ("- {path: a, format: properteis, from: {a: b}}", "did you mean \"properties\"?"),
            ("- {path: a, format: json, from: [a]}", "a list is for format pem"),
            ("- {path: a, format: dotenv, from: {1A: b}}", "\"1A\" is not the name of a variable"),
            ("- {path: a, format: dotenv, from: {A-B: b}}", "\"A-B\" is not the name of a variable"),
            ("- {path: a, format: json}", "names no objects"),
            ("- {path: a, format: json, from: {a: b, a: c}}", "there twice"),
            ("- {path: a, format: json, from: 7}", "a map of keys"),
            ("- {path: a, format: json, from: {a: b}, mode: \"rw\"}", "0000 and 0777"),
            ("- {path: a, format: json, from: {a: b}, owner: x}", "unknown key \"owner\""),
            ("[]", "lists no objects"),
        ] {
            assert!(refusal(text).contains(reason), "{text}: {}", refusal(text));
        }
    }
}
