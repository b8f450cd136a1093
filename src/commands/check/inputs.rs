use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The longest text that is read from a file, in bytes: one byte more than a manifest may have, so that a longer file
/// is noticed.
const MAX_FILE: u64 = 4 * 1024 * 1024 + 1;
/// How deep below a given directory files are found.
const MAX_DEPTH: usize = 32;

/// A file and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// The name of the file, as findings print it.
    pub name: String,
    /// Its text.
    pub text: String,
    /// Whether the user named the file itself, and not a directory above it.
    pub named: bool,
}

/// A file that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{}: {error}", path.display())]
pub(in crate::commands) struct Unreadable {
    path: PathBuf,
    error: io::Error,
}

/// Reads `files`: files, all manifests in directories, and `-` for standard input.
pub(in crate::commands) fn read(files: &[PathBuf]) -> Result<Vec<Input>, Unreadable> {
    let mut inputs = Vec::new();
    for path in files {
        let unreadable = |error| Unreadable { path: path.clone(), error };
        if path == Path::new("-") {
            let text = text(io::stdin().lock()).map_err(unreadable)?;
            inputs.push(Input { name: "<stdin>".to_owned(), text, named: true });
        } else if path.is_dir() {
            for file in manifests(path, MAX_DEPTH).map_err(unreadable)? {
                inputs.push(input(&file, false)?);
            }
        } else {
            inputs.push(input(path, true)?);
        }
    }
    Ok(inputs)
}

fn input(path: &Path, named: bool) -> Result<Input, Unreadable> {
    let text =
        File::open(path).and_then(text).map_err(|error| Unreadable { path: path.to_owned(), error })?;
    Ok(Input { name: path.display().to_string(), text, named })
}

fn text(source: impl Read) -> io::Result<String> {
    let mut text = String::new();
    source.take(MAX_FILE).read_to_string(&mut text)?;
    Ok(text)
}

/// The manifests below `directory`, in order. Hidden files and linked directories are skipped.
fn manifests(directory: &Path, depth: usize) -> io::Result<Vec<PathBuf>> {
    let mut entries = std::fs::read_dir(directory)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    let mut files = Vec::new();
    for entry in entries {
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if !hidden && entry.file_type()?.is_dir() && depth > 0 {
            files.extend(manifests(&entry.path(), depth - 1)?);
        } else if !hidden && is_manifest(&entry.path()) {
            files.push(entry.path());
        }
    }
    Ok(files)
}

fn is_manifest(path: &Path) -> bool {
    let known = |end: &std::ffi::OsStr| ["yaml", "yml", "json"].iter().any(|known| end == *known);
    path.extension().is_some_and(known) && path.is_file()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_directory_stands_for_its_manifests() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("b/.git")).unwrap();
        for name in ["z.yaml", "b/a.yml", "b/c.json", "b/README.md", "b/.git/x.yaml", ".hidden.yaml"] {
            fs::write(dir.path().join(name), "").unwrap();
        }

        let inputs = read(&[dir.path().to_owned()]).unwrap();

        let names: Vec<_> = inputs.iter().map(|input| input.name.rsplit('/').next().unwrap()).collect();
        assert_eq!(names, ["a.yml", "c.json", "z.yaml"]);
        assert!(inputs.iter().all(|input| !input.named));
    }

    #[test]
    fn a_file_that_is_missing_or_no_text_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let binary = dir.path().join("x.yaml");
        fs::write(&binary, [0xff]).unwrap();

        for path in [dir.path().join("missing.yaml"), binary] {
            let refusal = read(std::slice::from_ref(&path)).unwrap_err().to_string();
            assert!(refusal.starts_with(path.to_str().unwrap()), "{refusal}");
        }
    }
}
