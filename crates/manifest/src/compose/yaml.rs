//! One YAML map, its keys in the class's order. Keys and values are strings in double quotes, so that no reader takes
//! one for a number, a boolean or a date.

use super::Values;
use super::escape::{self, Put};

pub(super) fn write(values: Values<'_>, put: Put<'_>) {
    // Without any key this form would be an empty file, which YAML reads as null.
    if values.is_empty() {
        put("{}\n");
    }
    for (key, value) in values {
        put("\"");
        escape::yaml(key, put);
        put("\": \"");
        escape::yaml(value, put);
        put("\"\n");
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::compose::page;

    fn text(values: Values<'_>) -> String {
        page(|put| write(values, put)).expose_str().unwrap().to_owned()
    }

    #[test]
    fn values_stay_strings_and_an_empty_map_stays_a_map() {
        assert_eq!(text(&[("port", "0123"), ("on", "no")]), "\"port\": \"0123\"\n\"on\": \"no\"\n");
        assert_eq!(serde_yaml::from_str::<BTreeMap<String, String>>(&text(&[])).unwrap(), BTreeMap::new());
    }

    proptest! {
        #[test]
        fn every_text_is_read_back(key in r"\PC{1,20}", value in r"(\PC|[\x00-\x1f\x22\\\x7f\u{85}]){0,60}") {
            let read: BTreeMap<String, String> = serde_yaml::from_str(&text(&[(&key, &value)])).unwrap();

            prop_assert_eq!(read.get(&key), Some(&value));
        }
    }
}
