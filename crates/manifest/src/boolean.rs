use provider::{Holds, Invalid};

/// What [`go`] takes; nothing is as good as no key.
pub const GO: Holds = Holds::Form {
    pattern: "^(1|t|T|true|TRUE|True|0|f|F|false|FALSE|False)?$",
    words: "\"true\" or \"false\"",
};

/// The boolean that a class writes behind `key`, as Go's `strconv.ParseBool` reads it
/// (<https://pkg.go.dev/strconv#ParseBool>), since upstream's providers do.
///
/// # Errors
///
/// It is none.
pub fn go(key: &str, raw: &str) -> Result<bool, Invalid> {
    match raw {
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        _ => Err(Invalid::new(key, "it is no boolean", "write \"true\" or \"false\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boolean_is_read_as_go_reads_it() {
        let read = |raw: &str| go("fips", raw).ok();

        for (no, yes) in
            [("0", "1"), ("f", "t"), ("F", "T"), ("false", "true"), ("FALSE", "TRUE"), ("False", "True")]
        {
            assert_eq!((read(no), read(yes)), (Some(false), Some(true)), "{no} {yes}");
        }
        for none in ["", "yes", "no", "tRUE", " true", "2"] {
            let told = go("fips", none).unwrap_err();
            assert_eq!((&*told.key, &*told.reason), ("fips", "it is no boolean"), "{none}");
        }
    }
}
