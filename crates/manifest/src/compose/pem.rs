//! PEM objects one after the other: programs read a certificate with its chain this way, or a key with its certificate.

use super::Values;
use super::escape::Put;

/// Each value ends with exactly one line break.
pub(super) fn write(values: Values<'_>, put: Put<'_>) {
    for (_, value) in values {
        put(value.trim());
        put("\n");
    }
}

/// Whether `text` holds only PEM blocks, with or without explanatory lines between them (RFC 7468 §2).
pub(super) fn is_pem(text: &str) -> bool {
    let count = |marker| text.lines().filter(|line| line.starts_with(marker)).count();
    let begins = count("-----BEGIN ");
    begins > 0 && begins == count("-----END ") && text.trim_end().ends_with("-----")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::page;

    const KEY: &str = "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----";
    const CERTIFICATE: &str =
        "subject=/CN=a\n-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n\n";

    #[test]
    fn blocks_follow_each_other_with_one_line_break_between() {
        let written = page(|put| write(&[("key", KEY), ("crt", CERTIFICATE)], put));

        assert_eq!(written.expose_str(), Some(format!("{KEY}\n{}\n", CERTIFICATE.trim()).as_str()));
    }

    #[test]
    fn what_is_not_pem_or_is_cut_short_is_told() {
        assert!(is_pem(KEY) && is_pem(CERTIFICATE));
        for text in ["", "hunter2", "-----BEGIN X-----\nAA==\n", &KEY[..KEY.len() - 3]] {
            assert!(!is_pem(text), "{text}");
        }
    }
}
