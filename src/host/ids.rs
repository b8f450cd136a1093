//! Looks up users and groups by name or number.
//!
//! Names come from `/etc/passwd` and `/etc/group`, because a statically linked program cannot load the libraries that
//! ask a directory service. For a user who is known only there, write the number.

use std::fs;

/// The number of the user `text`, a name or a number.
///
/// # Errors
///
/// There is no such name; the text says what to write instead.
pub fn user_id(text: &str) -> Result<u32, String> {
    id_in("/etc/passwd", "user", text)
}

/// The number of the group `text`, a name or a number.
///
/// # Errors
///
/// As [`user_id`].
pub fn group_id(text: &str) -> Result<u32, String> {
    id_in("/etc/group", "group", text)
}

fn id_in(file: &str, what: &str, text: &str) -> Result<u32, String> {
    // The kernel uses the largest number for "no user", so it is refused.
    if let Some(id) = text.parse().ok().filter(|id| *id != u32::MAX) {
        return Ok(id);
    }
    let entries = fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
    found(&entries, text).ok_or_else(|| format!("{file} has no such {what}; write its number instead"))
}

/// The third field of the line whose first field is `name`.
fn found(entries: &str, name: &str) -> Option<u32> {
    let mut lines = entries.lines().map(|line| line.split(':'));
    lines.find_map(|mut fields| (fields.next()? == name).then(|| fields.nth(1)?.parse().ok())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_groups_go_by_number_or_by_name() {
        let entries = "root:x:0:0:root:/root:/bin/sh\nshort\nweb:x:33:33::/:/bin/false\nbad:x:many:1\n";

        assert_eq!(found(entries, "web"), Some(33));
        assert_eq!([found(entries, "we"), found(entries, "short"), found(entries, "bad")], [None; 3]);
        assert_eq!((user_id("1000"), user_id("root"), group_id("root")), (Ok(1000), Ok(0), Ok(0)));
        for wrong in ["no such name", "-1", "4294967295", ""] {
            assert!(user_id(wrong).unwrap_err().contains("write its number"), "{wrong}");
        }
    }
}
