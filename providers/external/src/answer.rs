//! Checks the answer of an external provider.

use std::collections::{BTreeMap, BTreeSet};

use csi_proto::provider::{self as proto, MountResponse, ObjectVersion};
use provider::{Error, ErrorKind, FileMode, ObjectPath, Result};

use crate::body::File;
use crate::meaning::shortened;

/// The most files of one answer.
pub(crate) const MAX_FILES: usize = 4096;

/// A successful answer.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The version of each object, by the provider's own id.
    pub(crate) versions: BTreeMap<String, String>,
    files: Vec<proto::File>,
}

impl Answer {
    pub(crate) fn of(provider: &str, response: MountResponse) -> Result<Self> {
        let code = response.error.map(|error| error.code).unwrap_or_default();
        if !code.is_empty() {
            let code = shortened(&code);
            let said = format!("external provider {provider} answered with error code {code:?}");
            return Err(Error::new(ErrorKind::Unavailable, said).remedy("its own log tells why"));
        }
        if response.object_version.is_empty() {
            let missing = format!("external provider {provider} answered, but is missing object versions");
            return Err(Error::new(ErrorKind::Unavailable, missing).remedy("its own log tells why"));
        }
        let versions = response.object_version.into_iter().map(|object| (object.id, object.version));
        Ok(Self { versions: versions.collect(), files: response.files })
    }

    /// Whether the answer has no files. Then the provider wrote them into the lent directory.
    pub(crate) fn is_written_elsewhere(&self) -> bool {
        self.files.is_empty()
    }

    /// The files in the answer, checked.
    pub(crate) fn files(&mut self, provider: &str) -> Result<Vec<File>> {
        let files = std::mem::take(&mut self.files);
        let files = files.into_iter().map(|file| checked(provider, file)).collect::<Result<Vec<_>>>()?;
        complete(provider, files, &self.versions)
    }
}

/// `versions` in the form in which the next call sends them.
pub(crate) fn current(versions: &BTreeMap<String, String>) -> Vec<ObjectVersion> {
    let current =
        |(id, version): (&String, &String)| ObjectVersion { id: id.clone(), version: version.clone() };
    versions.iter().map(current).collect()
}

/// `files` with their versions, after a check that their paths do not collide.
pub(crate) fn complete(
    provider: &str,
    mut files: Vec<File>,
    versions: &BTreeMap<String, String>,
) -> Result<Vec<File>> {
    if files.len() > MAX_FILES {
        return Err(invalid(provider, &format!("has {} files; {MAX_FILES} is the most", files.len())));
    }
    side_by_side(provider, &files)?;
    files.iter_mut().for_each(|file| file.version = version_of(&file.path, versions));
    Ok(files)
}

fn checked(provider: &str, file: proto::File) -> Result<File> {
    let path = ObjectPath::try_from(file.path.as_str())
        .map_err(|error| invalid(provider, &format!("has an invalid path: {error}")))?;
    let mode = u64::try_from(file.mode).ok().and_then(|mode| FileMode::try_from(mode).ok());
    let mode = mode.ok_or_else(|| {
        invalid(provider, &format!("gives {path} mode {:#o}, which is none between 0 and 0777", file.mode))
    })?;
    Ok(File { path, mode, contents: file.contents.into(), version: None })
}

fn side_by_side(provider: &str, files: &[File]) -> Result<()> {
    let mut paths = BTreeSet::new();
    for File { path, .. } in files {
        if !paths.insert(path.as_str()) {
            return Err(invalid(provider, &format!("has {path} twice")));
        }
    }
    for path in &paths {
        let mut above = path.match_indices('/').filter_map(|(end, _)| path.get(..end));
        if let Some(above) = above.find(|above| paths.contains(above)) {
            return Err(invalid(provider, &format!("has {above} as a file and as the directory of {path}")));
        }
    }
    Ok(())
}

/// Finds the version of a file. Each provider chooses its own ids. Most are the file's path, and some have the kind of
/// the object before it.
fn version_of(path: &ObjectPath, versions: &BTreeMap<String, String>) -> Option<String> {
    let ends = |id: &&String| id.strip_suffix(path.as_str()).is_some_and(|kind| kind.ends_with('/'));
    let found = versions.get(path.as_str());
    found.or_else(|| versions.keys().find(ends).and_then(|id| versions.get(id))).cloned()
}

fn invalid(provider: &str, what: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("the answer of external provider {provider} {what}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn response(files: &[(&str, i32)]) -> MountResponse {
        let file = |(path, mode): &(&str, i32)| proto::File {
            path: (*path).to_owned(),
            mode: *mode,
            contents: b"v".to_vec(),
        };
        MountResponse {
            object_version: vec![ObjectVersion { id: "secret/a".to_owned(), version: "3".to_owned() }],
            error: Some(proto::Error::default()),
            files: files.iter().map(file).collect(),
        }
    }

    fn files(of: &[(&str, i32)]) -> std::result::Result<Vec<File>, String> {
        let mut answer = Answer::of("p", response(of)).unwrap();
        answer.files("p").map_err(|error| error.to_string())
    }

    #[test]
    fn files_are_taken_as_they_are_and_mode_0_is_mode_0() {
        let taken = files(&[("a", 0), ("d/e", 0o777)]).unwrap();

        assert_eq!(taken.iter().map(|file| file.mode.bits()).collect::<Vec<_>>(), [0, 0o777]);
        assert_eq!(taken[0].version.as_deref(), Some("3"));
        assert_eq!(taken[1].version, None);
    }

    #[test]
    fn an_answer_without_versions_or_with_an_error_code_is_none() {
        let bare = MountResponse { object_version: Vec::new(), ..response(&[("a", 0)]) };
        assert!(Answer::of("p", bare).unwrap_err().to_string().contains("missing object versions"));

        let coded = MountResponse {
            error: Some(proto::Error { code: "ProviderBroken".to_owned() }),
            ..response(&[("a", 0)])
        };
        assert!(Answer::of("p", coded).unwrap_err().to_string().contains("ProviderBroken"));
    }

    #[test]
    fn of_two_versions_of_one_object_the_last_counts() {
        let twice =
            ["1", "2"].map(|version| ObjectVersion { id: "a".to_owned(), version: version.to_owned() });
        let response = MountResponse { object_version: twice.to_vec(), ..response(&[("a", 0)]) };
        let mut answer = Answer::of("p", response).unwrap();
        assert_eq!(answer.files("p").unwrap()[0].version.as_deref(), Some("2"));
    }

    #[test]
    fn hostile_paths_and_modes_are_refused_and_named() {
        for (hostile, word) in [
            (&[("../x", 0)][..], "../x"),
            (&[("/etc/passwd", 0)], "/etc/passwd"),
            (&[("..data", 0)], "..data"),
            (&[("..2026/x", 0)], "..2026/x"),
            (&[("a//b", 0)], "a//b"),
            (&[("", 0)], "empty"),
            (&[("a", 0o4755)], "mode"),
            (&[("a", -1)], "mode"),
            (&[("a", 0), ("a", 0)], "twice"),
            (&[("a", 0), ("a/b", 0)], "directory"),
            (&[("a/b/c", 0), ("a-", 0), ("a/b", 0)], "directory"),
        ] {
            let refusal = files(hostile).unwrap_err();
            assert!(refusal.contains(word), "{hostile:?}: {refusal}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5_000))]

        #[test]
        fn whatever_is_accepted_can_stand_side_by_side_below_one_root(
            named in proptest::collection::vec((r"[ab./]{0,6}", -1..0o1001), 0..6)
        ) {
            let named: Vec<_> = named.iter().map(|(path, mode)| (path.as_str(), *mode)).collect();
            if let Ok(files) = files(&named) {
                let below = |a: &File, b: &File| b.path.as_path().starts_with(a.path.as_path());
                let clash = files.iter().enumerate().any(|(at, file)| files.iter().skip(at + 1).any(|other| {
                    below(file, other) || below(other, file)
                }));
                prop_assert!(!clash && files.iter().all(|file| !file.path.top().starts_with("..")));
            }
        }
    }
}
