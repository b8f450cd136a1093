//! The mode in which a test's volumes are shown, so that one test can run once for each mode.

use std::cell::Cell;
use std::path::Path;

/// What a class writes to choose a mode.
const KEY: &str = "secretfs.dev/mode";

/// How a test's volumes show their files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ShownBy {
    /// In a tmpfs: what a class that says nothing gets.
    #[default]
    Tmpfs,
    /// Over FUSE.
    Fuse,
}

thread_local! {
    static CHOSEN: Cell<ShownBy> = const { Cell::new(ShownBy::Tmpfs) };
}

/// Runs a test once more: its classes choose mode fuse, without another change. The mode is that of this thread, and of
/// [`in_private_mounts`](crate::in_private_mounts) below it; a node keeps the one in which it was prepared.
pub fn in_mode_fuse(test: impl FnOnce()) {
    ShownBy::Fuse.during(test);
}

impl ShownBy {
    /// The mode of this thread's test.
    pub fn chosen() -> Self {
        CHOSEN.get()
    }

    /// Runs `body` in this mode.
    pub fn during<T>(self, body: impl FnOnce() -> T) -> T {
        let before = CHOSEN.replace(self);
        let ended = body();
        CHOSEN.set(before);
        ended
    }

    /// The name that classes use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tmpfs => "tmpfs",
            Self::Fuse => "fuse",
        }
    }

    /// The manifest of a class that chooses this mode. One that names a mode itself stays as it is.
    ///
    /// # Panics
    ///
    /// It has no parameters.
    pub fn class(self, manifest: &str) -> String {
        if self == Self::Tmpfs || manifest.contains(KEY) {
            return manifest.to_owned();
        }
        // JSON and flow style; block style, where a line goes before the first parameter.
        for braces in ["\"parameters\":{", "parameters: {"] {
            if manifest.contains(braces) {
                return manifest.replace(braces, &format!("{braces}\"{KEY}\": \"{}\", ", self.name()));
            }
        }
        let mut classes = manifest.split("parameters:\n");
        let head = classes.next().unwrap_or_default().to_owned();
        let chosen = classes.fold(head, |before, parameters| {
            let indented = parameters.len() - parameters.trim_start_matches(' ').len();
            let key = format!("{}{KEY}: {}", " ".repeat(indented), self.name());
            format!("{before}parameters:\n{key}\n{parameters}")
        });
        assert_ne!(chosen, manifest, "a class has parameters");
        chosen
    }

    /// Fails unless what is mounted at `target` is of this mode.
    ///
    /// # Panics
    ///
    /// It is of the other one.
    #[track_caller]
    pub fn shows(self, target: &Path) {
        let table = std::fs::read_to_string("/proc/thread-self/mountinfo").expect("the table of mounts");
        // The table has no links in its paths. The mount itself is not touched.
        let (above, name) = (target.parent().expect("a path"), target.file_name().expect("a path"));
        let target = above.canonicalize().expect("the directory above").join(name);
        let is_at = |line: &&str| line.split(' ').nth(4).is_some_and(|at| Path::new(at) == target);
        let line = table.lines().rfind(is_at).unwrap_or_else(|| panic!("nothing at {}", target.display()));
        let kind = line.split(" - ").nth(1).unwrap_or_default();
        let wanted = match self {
            Self::Tmpfs => "tmpfs ",
            Self::Fuse => "fuse.",
        };
        assert!(kind.starts_with(wanted), "a test of mode {}: {line}", self.name());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_in_any_style_of_yaml_gets_the_mode_as_its_first_parameter() {
        let block = "spec:\n  parameters:\n    objects: |\n      - a\n";
        let chosen = "spec:\n  parameters:\n    secretfs.dev/mode: fuse\n    objects: |\n      - a\n";
        assert_eq!(ShownBy::Fuse.class(block), chosen);
        assert_eq!(ShownBy::Fuse.class(chosen), chosen);
        assert_eq!(ShownBy::Tmpfs.class(block), block);
        assert_eq!(
            ShownBy::Fuse.class(r#"{"parameters":{"a":"b"}}"#),
            r#"{"parameters":{"secretfs.dev/mode": "fuse", "a":"b"}}"#
        );
    }

    #[test]
    fn the_mode_is_that_of_one_test_and_of_its_private_mounts() {
        in_mode_fuse(|| assert_eq!(ShownBy::chosen(), ShownBy::Fuse));
        assert_eq!(ShownBy::chosen(), ShownBy::Tmpfs);
    }
}
