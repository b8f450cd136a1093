use provider::{Holds, Invalid};

/// The texts that [`go`] accepts. An empty text means the same as an absent key.
pub const GO: Holds = Holds::Form {
    pattern: "^(1|t|T|true|TRUE|True|0|f|F|false|FALSE|False)?$",
    words: "\"true\" or \"false\"",
};

/// Reads the boolean that a class writes behind `key`. It accepts what Go's `strconv.ParseBool` accepts
/// (<https://pkg.go.dev/strconv#ParseBool>), because the upstream providers use that function.
///
/// # Errors
///
/// The text is no such boolean.
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
