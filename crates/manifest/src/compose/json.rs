//! One JSON object, its keys in the class's order. Every value is a string, even if the value is JSON itself.

use super::Values;
use super::escape::{self, Put};

pub(super) fn write(values: Values<'_>, put: Put<'_>) {
    put("{");
    for (index, (key, value)) in values.iter().enumerate() {
        put(if index == 0 { "\n  \"" } else { ",\n  \"" });
        escape::json(key, put);
        put("\": \"");
        escape::json(value, put);
        put("\"");
    }
    put("\n}\n");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::compose::page;

    fn text(values: Values<'_>) -> String {
        page(|put| write(values, put)).expose_str().unwrap().to_owned()
    }

    #[test]
    fn keys_stay_in_order_and_values_stay_strings() {
        let written = text(&[("Z", "1"), ("A", "{\"a\":1}\n")]);

        assert_eq!(written, "{\n  \"Z\": \"1\",\n  \"A\": \"{\\\"a\\\":1}\\n\"\n}\n");
    }

    proptest! {
        #[test]
        fn every_text_is_read_back(key in r"\PC{0,20}", value in r"(\PC|[\x00-\x1f\x22\\\x7f]){0,60}") {
            let read: Value = serde_json::from_str(&text(&[(&key, &value)])).unwrap();

            prop_assert_eq!(read.get(&key), Some(&Value::String(value)));
        }
    }
}
