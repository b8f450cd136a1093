//! The text of `secretfs.dev/files`.

use std::fmt;

use provider::{FileMode, Invalid};
use serde::Deserialize;
use serde::de::{self, MapAccess, Visitor};

use crate::text::shorten;
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
    #[serde(default, rename = "template")]
    _template: de::IgnoredAny,
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
        let from = self.from(place, format)?;
        Ok(Composed { path, format, from, mode: self.mode.as_ref().map(|mode| mode.0) })
    }

    fn format(&self, place: &Place) -> Result<ComposedFormat, Invalid> {
        match self.format.as_str() {
            "dotenv" => Ok(ComposedFormat::Dotenv),
            "json" => Ok(ComposedFormat::Json),
            later @ ("template" | "yaml" | "properties") => Err(place.refuse(
                "format",
                &format!("format {later} is not in this version"),
                "write dotenv or json",
            )),
            other => Err(place.refuse("format", &format!("{other:?} is no format"), "write dotenv or json")),
        }
    }

    fn from(&self, place: &Place, format: ComposedFormat) -> Result<Vec<(String, String)>, Invalid> {
        if self.from.0.is_empty() {
            return Err(place.refuse(
                "from",
                "it names no objects",
                "write a map such as {DB_USER: db/user}",
            ));
        }
        let odd = self.from.0.iter().map(|(key, _)| key).find(|key| !fits(key, format));
        odd.map_or_else(
            || Ok(self.from.0.clone()),
            |key| {
                let reason = format!("{key:?} is not the name of a variable");
                Err(place.refuse("from", &reason, "use letters, digits and _, not beginning with a digit"))
            },
        )
    }
}

fn fits(key: &str, format: ComposedFormat) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    match format {
        ComposedFormat::Json => !key.is_empty(),
        ComposedFormat::Dotenv => {
            key.chars().all(word) && key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        }
    }
}

/// A map in the order it is written.
#[derive(Default)]
struct Entries(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntriesVisitor)
    }
}

struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = Entries;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of keys in the file to objectNames, such as {DB_USER: db/user}")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Entries(entries))
    }
}

/// Octal text (`"0440"`) or a number (`0440`): there is no upstream to agree with here.
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
        assert_eq!((file.path.as_str(), file.format), ("app.env", ComposedFormat::Dotenv));
        assert_eq!(file.from, [("Z".to_owned(), "z".to_owned()), ("A".to_owned(), "db/a".to_owned())]);
        assert_eq!(file.mode.map(FileMode::bits), Some(0o440));
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
                "\n- {path: a, format: template}",
                "secretfs.dev/files[0].format (line 2): format template is not in this version",
            ),
            ("- {path: a, format: toml, from: {a: b}}", "\"toml\" is no format; write dotenv or json"),
            ("- {path: a, format: dotenv, from: {1A: b}}", "\"1A\" is not the name of a variable"),
            ("- {path: a, format: dotenv, from: {A-B: b}}", "\"A-B\" is not the name of a variable"),
            ("- {path: a, format: json}", "names no objects"),
            ("- {path: a, format: json, from: {a: b, a: c}}", "there twice"),
            ("- {path: a, format: json, from: [a]}", "something other than a map"),
            ("- {path: a, format: json, from: {a: b}, mode: \"rw\"}", "0000 and 0777"),
            ("- {path: a, format: json, from: {a: b}, owner: x}", "unknown key \"owner\""),
            ("[]", "lists no objects"),
        ] {
            assert!(refusal(text).contains(reason), "{text}: {}", refusal(text));
        }
    }
}
