//! A Java properties file: `key=value` lines in ASCII, keys in the class's order.

use super::Values;
use super::escape::{self, Put};

pub(super) fn write(values: Values<'_>, put: Put<'_>) {
    for (key, value) in values {
        escape::property_key(key, put);
        put("=");
        escape::property(value, put);
        put("\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::page;

    #[test]
    fn a_value_is_one_line_and_keeps_its_blanks() {
        let values = [("db.url", "jdbc:x?a=b"), ("two words", " two\nlines\\")];

        let written = page(|put| write(&values, put));

        assert_eq!(written.expose_str(), Some("db.url=jdbc:x?a=b\ntwo\\ words=\\ two\\nlines\\\\\n"));
    }
}
