/// The longest pattern, in bytes.
const LENGTH_MAX: usize = 1024;
/// Any number of directories.
const ANY_DEPTH: &str = "**";

/// A path in which `*` stands for any part of a name, and a name `**` for any number of names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(Vec<String>);

impl Pattern {
    /// The pattern that `text` writes.
    ///
    /// # Errors
    ///
    /// It can fit no file of a volume. Says why.
    pub fn new(text: &str) -> Result<Self, &'static str> {
        let names: Vec<String> = text.split('/').map(str::to_owned).collect();
        let is_odd = |name: &String| name.contains(ANY_DEPTH) && name != ANY_DEPTH;
        match () {
            () if text.is_empty() => Err("it is empty"),
            () if text.len() > LENGTH_MAX => Err("it is longer than 1024 bytes"),
            () if text.starts_with('/') => Err("it begins with /, and paths begin at the root of the volume"),
            () if names.iter().any(|name| matches!(name.as_str(), "" | "." | "..")) => {
                Err("a file has no such path")
            }
            () if names.iter().any(is_odd) => Err("** stands alone between slashes"),
            () if text.contains(['?', '[', ']', '{', '}']) => Err("only * and ** stand for something else"),
            () => Ok(Self(names)),
        }
    }

    /// Whether it fits the file at `path`.
    pub fn fits(&self, path: &str) -> bool {
        let names: Vec<&str> = path.split('/').collect();
        fits(&self.0, &names, |pattern| pattern == ANY_DEPTH, |pattern, name| name_fits(pattern, name))
    }
}

fn name_fits(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    fits(&pattern, &name, |one| *one == '*', |one, other| one == other)
}

/// Whether `parts` are what `pattern` writes, where some of its parts stand for any number. It tries the last of these again
/// and no earlier one, so a text of any kind takes no more than one step for each pair.
fn fits<P, T>(
    pattern: &[P],
    parts: &[T],
    is_any: impl Fn(&P) -> bool,
    is_same: impl Fn(&P, &T) -> bool,
) -> bool {
    let (mut at, mut part, mut again) = (0_usize, 0_usize, None);
    while let Some(this) = parts.get(part) {
        match pattern.get(at) {
            Some(any) if is_any(any) => {
                at = at.saturating_add(1);
                again = Some((at, part));
            }
            Some(one) if is_same(one, this) => (at, part) = (at.saturating_add(1), part.saturating_add(1)),
            _ => {
                let Some((after, begin)) = again else { return false };
                (at, part) = (after, begin.saturating_add(1));
                again = Some((after, part));
            }
        }
    }
    pattern.iter().skip(at).all(is_any)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(pattern: &str, path: &str) -> bool {
        Pattern::new(pattern).unwrap().fits(path)
    }

    #[test]
    fn a_star_stays_within_a_name_and_two_stars_go_through_directories() {
        for (pattern, path, expected) in [
            ("db/user", "db/user", true),
            ("db/user", "db/users", false),
            ("db/user", "db", false),
            ("db", "db/user", false),
            ("db/*", "db/user", true),
            ("db/*", "db/a/b", false),
            ("*", "user", true),
            ("*", "db/user", false),
            ("db/**", "db/user", true),
            ("db/**", "db/a/b", true),
            ("db/**", "dbx/a", false),
            ("**", "a/b/c", true),
            ("**/key", "key", true),
            ("**/key", "a/b/key", true),
            ("**/key", "a/b/keys", false),
            ("a/**/z", "a/z", true),
            ("a/**/z", "a/b/c/z", true),
            ("*.pem", "tls.pem", true),
            ("*.pem", "tls.pem.bak", false),
            ("a*b*c", "aXbXbYc", true),
            ("user.previous*", "user.previous.2", true),
        ] {
            assert_eq!(fits(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn a_pattern_of_stars_is_no_work() {
        let path = "a".repeat(255);
        assert!(!fits(&format!("{}b", "*a".repeat(200)), &path));
    }

    #[test]
    fn what_fits_no_file_is_refused() {
        for text in
            ["", "/db", "db/", "a//b", "../x", ".", "a**", "**b/c", "[ab]", "{a,b}", "a?", &"a".repeat(1025)]
        {
            assert!(Pattern::new(text).is_err(), "{text}");
        }
    }
}
