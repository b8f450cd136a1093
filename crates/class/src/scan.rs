//! Files of classes, read once.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use manifest::Class;

use super::{ClassName, regular};

/// Longest file that is read, in bytes: one more than a manifest may have.
const MAX_FILE: u64 = 4 * 1024 * 1024 + 1;
/// Most files of a directory.
const MAX_FILES: usize = 10_000;

/// Something wrong with a file of classes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file, or the directory if that is it.
    pub file: PathBuf,
    /// What is wrong and what to do.
    pub reason: String,
}

/// Which files hold the classes.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// Every `*.yaml`, `*.yml` and `*.json` in it.
    Directory(PathBuf),
    /// One file, as `secretfs mount` takes it.
    File(PathBuf),
}

impl Source {
    /// The directory whose events tell of changes.
    pub(super) fn directory(&self) -> &Path {
        match self {
            Self::Directory(directory) => directory,
            Self::File(file) => match file.parent() {
                Some(parent) if parent != Path::new("") => parent,
                _ => Path::new("."),
            },
        }
    }

    fn files(&self) -> io::Result<Vec<PathBuf>> {
        match self {
            Self::File(file) => Ok(vec![file.clone()]),
            Self::Directory(directory) => {
                let entries = std::fs::read_dir(directory)?.map(|entry| entry.map(|entry| entry.path()));
                let mut files = entries.filter(|path| path.as_ref().map_or(true, |path| is_manifest(path)));
                let mut files = files.by_ref().take(MAX_FILES).collect::<io::Result<Vec<_>>>()?;
                files.sort();
                Ok(files)
            }
        }
    }
}

fn is_manifest(path: &Path) -> bool {
    let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let known = path.extension().is_some_and(|end| ["yaml", "yml", "json"].iter().any(|known| end == *known));
    known && !hidden
}

/// What the files said when they were read last.
#[derive(Debug, Clone, Default)]
pub(super) struct Scan {
    files: BTreeMap<PathBuf, Seen>,
    /// What is wrong now.
    pub(super) problems: Vec<Problem>,
}

/// One file's last good classes, and what it held when they were last looked for.
#[derive(Debug, Clone)]
struct Seen {
    text: String,
    classes: Vec<Arc<Class>>,
    fault: Option<String>,
}

impl Scan {
    /// Reads every file that is not as it was. What cannot be read or is broken keeps its last good classes.
    pub(super) fn next(&self, source: &Source) -> Self {
        let paths = match source.files() {
            Ok(paths) => paths,
            Err(error) => return self.unreadable(source, &error),
        };
        let mut files = BTreeMap::new();
        for path in paths {
            if let Some(seen) = self.look(&path, matches!(source, Source::File(_))) {
                files.insert(path, seen);
            }
        }
        let mut next = Self { files, problems: Vec::new() };
        next.problems = next.find_problems();
        next
    }

    fn unreadable(&self, source: &Source, error: &io::Error) -> Self {
        let problem = Problem { file: source.directory().to_owned(), reason: error.to_string() };
        Self { files: self.files.clone(), problems: vec![problem] }
    }

    /// `None` for a file that is gone, unless it is the only one: that one is being replaced.
    fn look(&self, path: &Path, only: bool) -> Option<Seen> {
        let before = self.files.get(path);
        match read(path) {
            Ok(text) if before.is_some_and(|seen| seen.text == text) => before.cloned(),
            Ok(text) => Some(parse(text, before)),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !only => None,
            Err(error) => Some(Seen {
                text: String::new(),
                classes: before.map(|seen| seen.classes.clone()).unwrap_or_default(),
                fault: Some(error.to_string()),
            }),
        }
    }

    fn find_problems(&self) -> Vec<Problem> {
        let faults = self.files.iter().filter_map(|(path, seen)| {
            let kept = if seen.classes.is_empty() { "" } else { " (its last good classes are kept)" };
            let reason = format!("{}{kept}", seen.fault.as_ref()?);
            Some(Problem { file: path.clone(), reason })
        });
        faults.chain(self.duplicates()).collect()
    }

    fn duplicates(&self) -> Vec<Problem> {
        let mut owners: BTreeMap<ClassName, &Path> = BTreeMap::new();
        let mut problems = Vec::new();
        for (path, class) in self.classes() {
            let name = ClassName::from(&**class);
            match owners.get(&name) {
                None => drop(owners.insert(name, path)),
                Some(first) => problems.push(Problem {
                    file: path.to_owned(),
                    reason: format!(
                        "class {name} is defined in {} as well, and that one is used; remove one of them",
                        first.display()
                    ),
                }),
            }
        }
        problems
    }

    fn classes(&self) -> impl Iterator<Item = (&Path, &Arc<Class>)> {
        self.files.iter().flat_map(|(path, seen)| seen.classes.iter().map(|class| (path.as_path(), class)))
    }

    /// The classes by name; of two with one name, that of the first file.
    pub(super) fn by_name(&self) -> BTreeMap<ClassName, Arc<Class>> {
        let mut by_name = BTreeMap::new();
        for (_, class) in self.classes() {
            by_name.entry(ClassName::from(&**class)).or_insert_with(|| Arc::clone(class));
        }
        by_name
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    regular::open(path)?.take(MAX_FILE).read_to_string(&mut text)?;
    Ok(text)
}

fn parse(text: String, before: Option<&Seen>) -> Seen {
    match Class::read(&text) {
        Ok(classes) => Seen { text, classes: classes.into_iter().map(Arc::new).collect(), fault: None },
        Err(faults) => {
            let more = match faults.len() {
                0 | 1 => String::new(),
                several => format!(" (and {} more)", several - 1),
            };
            let fault = faults.first().map(|first| format!("{first}{more}"));
            Seen { text, classes: before.map(|seen| seen.classes.clone()).unwrap_or_default(), fault }
        }
    }
}
