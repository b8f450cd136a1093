//! Finds the programs that `hack/tools` installs.

use std::fs;
use std::path::{Path, PathBuf};

/// The program that `hack/tools` installs under this name.
pub(crate) fn tool(name: &str) -> PathBuf {
    let tool = folder().join(name);
    assert!(tool.is_file(), "{name} is not installed: hack/tools {name}");
    tool
}

/// The directory with `inotifywait`, its libraries, and the `loader` that starts it, for containers without either.
///
/// # Panics
///
/// It is not installed.
pub fn inotify() -> PathBuf {
    let directory = folder().join("inotify");
    assert!(directory.is_dir(), "inotifywait is not installed: hack/tools inotify");
    fs::canonicalize(directory).expect("a directory")
}

/// The full path of `name` on the path, or of the one that `hack/tools` installs.
pub(crate) fn on_path_or_tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut files = std::env::split_paths(&path).chain([folder()]).map(|folder| folder.join(name));
    files.find(|file| file.is_file()).and_then(|file| fs::canonicalize(file).ok())
}

fn folder() -> PathBuf {
    std::env::var_os("SECRETFS_TOOLS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cache/tools"), PathBuf::from)
}
