//! Programs of servers, as `hack/tools` installs them.

use std::fs;
use std::path::{Path, PathBuf};

/// What `hack/tools` installs under that name.
pub(crate) fn tool(name: &str) -> PathBuf {
    let tool = folder().join(name);
    assert!(tool.is_file(), "{name} is not installed: hack/tools {name}");
    tool
}

/// `name` on the path, or the one that `hack/tools` installs; its whole path.
pub(crate) fn on_path_or_tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut files = std::env::split_paths(&path).chain([folder()]).map(|folder| folder.join(name));
    files.find(|file| file.is_file()).and_then(|file| fs::canonicalize(file).ok())
}

fn folder() -> PathBuf {
    std::env::var_os("SECRETFS_TOOLS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cache/tools"), PathBuf::from)
}
