//! Writes files into a directory that a provider was lent, and reads them back.
//!
//! The writer there may be hostile. The kernel resolves every name below the directory, and only plain files and
//! directories are accepted. Links inside the directory are followed, because writers that swap whole sets (`..data`)
//! show their files through links.

use std::fs::File as Opened;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Instant;

use provider::{FileMode, ObjectPath, SecretBytes};
use rustix::fs::{Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::answer::MAX_FILES;
use crate::body::File;

/// The most bytes that are read back.
const MAX_BYTES: u64 = 64 << 20;
/// The most names that are looked at. Links to directories can lead to the same files again and again.
const MAX_LOOKS: usize = 4 * MAX_FILES;
/// The most tries to open one name. If a link on the path leads upwards, the kernel gives up when anything on the
/// machine is mounted or renamed at that moment.
const MAX_TRIES: usize = 100;
/// Mode bits other than permissions.
const SPECIAL: u32 = 0o7000;

/// Writes `files` below the empty directory `root`.
pub(crate) fn write(root: &OwnedFd, files: &[File]) -> io::Result<()> {
    files.iter().try_for_each(|file| {
        make_directories(root, file.path.as_str())?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let opened = open(root, file.path.as_str(), flags, Mode::RUSR | Mode::WUSR)?;
        rustix::fs::fchmod(&opened, Mode::from_raw_mode(file.mode.bits()))?;
        Opened::from(opened).write_all(file.contents.expose())
    })
}

fn make_directories(root: &OwnedFd, path: &str) -> io::Result<()> {
    let above = path.match_indices('/').filter_map(|(end, _)| path.get(..end));
    for directory in above {
        match rustix::fs::mkdirat(root, directory, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Reads every file below `root`. At the top, names that begin with `..` belong to the writer and are skipped.
///
/// # Errors
///
/// A file there may not be shown, there are too many, or they could not be read before `deadline`.
pub(crate) fn read(root: &OwnedFd, deadline: Instant) -> io::Result<Vec<File>> {
    let mut tree = Tree { root, left: MAX_BYTES, looks: MAX_LOOKS, deadline, files: Vec::new() };
    tree.directory("")?;
    Ok(tree.files)
}

struct Tree<'a> {
    root: &'a OwnedFd,
    left: u64,
    looks: usize,
    deadline: Instant,
    files: Vec<File>,
}

impl Tree<'_> {
    fn directory(&mut self, path: &str) -> io::Result<()> {
        let shown = if path.is_empty() { "." } else { path };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        for entry in Dir::new(open(self.root, shown, flags, Mode::empty())?)? {
            let entry = entry?;
            let name =
                entry.file_name().to_str().map_err(|_| refused(path, "holds a name that is no UTF-8"))?;
            let own = name == "." || name == ".." || (path.is_empty() && name.starts_with(".."));
            if !own {
                self.entry(&if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") })?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, path: &str) -> io::Result<()> {
        self.count(path)?;
        // Checked first, because it limits the depth. A link to a directory above would make the depth endless.
        let file = ObjectPath::try_from(path).map_err(|error| refused(path, &error.to_string()))?;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let opened =
            open(self.root, path, flags, Mode::empty()).map_err(|error| refused(path, &error.to_string()))?;
        let stat = rustix::fs::fstat(&opened)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => self.directory(path),
            FileType::RegularFile => self.file(file, Opened::from(opened), &stat),
            _ => Err(refused(path, "is neither a file nor a directory")),
        }
    }

    fn count(&mut self, path: &str) -> io::Result<()> {
        let more = self.looks.checked_sub(1);
        self.looks = more.ok_or_else(|| {
            refused(
                path,
                &format!("is one name too many; {MAX_LOOKS} are looked at, links to directories included"),
            )
        })?;
        if Instant::now() > self.deadline { Err(refused(path, "was not reached in time")) } else { Ok(()) }
    }

    fn file(&mut self, path: ObjectPath, mut opened: Opened, stat: &Stat) -> io::Result<()> {
        if stat.st_mode & SPECIAL != 0 {
            return Err(refused(path.as_str(), "has a set-id or sticky bit"));
        }
        if self.files.len() == MAX_FILES {
            return Err(refused(path.as_str(), &format!("is one file too many; {MAX_FILES} is the most")));
        }
        let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
        let left = self.left.checked_sub(size);
        self.left = left.ok_or_else(|| refused(path.as_str(), "is too large"))?;
        let mode = FileMode::try_from(u64::from(stat.st_mode & 0o777)).map_err(io::Error::other)?;
        let contents = contents(&mut opened, size)?;
        self.files.push(File { path, mode, contents, version: None });
        Ok(())
    }
}

/// The first `size` bytes. If the file grows meanwhile, the rest is not read.
fn contents(file: &mut Opened, size: u64) -> io::Result<SecretBytes> {
    let mut contents = Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 1);
    file.take(size).read_to_end(&mut contents)?;
    Ok(SecretBytes::new(contents))
}

fn open(root: &OwnedFd, path: &str, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    let tries = (0..MAX_TRIES).map(|_| rustix::fs::openat2(root.as_fd(), path, flags, mode, resolve));
    let mut settled = tries.skip_while(|opened| matches!(opened, Err(Errno::AGAIN)));
    settled.next().unwrap_or(Err(Errno::AGAIN)).map_err(|error| match error {
        Errno::XDEV => io::Error::other("it leads out of the directory"),
        other => other.into(),
    })
}

fn refused(path: &str, reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{path:?} {reason}"))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::path::Path;
    use std::time::Duration;

    use super::*;

    fn root(directory: &Path) -> OwnedFd {
        std::fs::File::open(directory).unwrap().into()
    }

    fn told(directory: &Path) -> Result<Vec<(String, Vec<u8>, u32)>, String> {
        let files = read(&root(directory), Instant::now() + Duration::from_secs(60))
            .map_err(|error| error.to_string())?;
        let mut told: Vec<_> = files
            .iter()
            .map(|file| (file.path.to_string(), file.contents.expose().to_vec(), file.mode.bits()))
            .collect();
        told.sort();
        Ok(told)
    }

    #[test]
    fn a_set_behind_data_links_is_read_through_them() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::create_dir_all(at("..2026/d")).unwrap();
        std::fs::write(at("..2026/d/e"), b"deep").unwrap();
        std::fs::write(at("..2026/x"), b"flat").unwrap();
        std::fs::set_permissions(at("..2026/x"), Permissions::from_mode(0o440)).unwrap();
        std::fs::set_permissions(at("..2026/d/e"), Permissions::from_mode(0o600)).unwrap();
        symlink("..2026", at("..data")).unwrap();
        symlink("..data/x", at("x")).unwrap();
        symlink("..data/d", at("d")).unwrap();

        let files = told(directory.path()).unwrap();

        let flat = ("x".to_owned(), b"flat".to_vec(), 0o440);
        assert_eq!(files, [("d/e".to_owned(), b"deep".to_vec(), 0o600), flat]);
    }

    #[test]
    fn what_was_written_is_read_back() {
        let directory = tempfile::tempdir().unwrap();
        let file = |path: &str| File {
            path: path.try_into().unwrap(),
            mode: FileMode::try_from(0o400).unwrap(),
            contents: path.to_owned().into(),
            version: None,
        };
        write(&root(directory.path()), &[file("a"), file("b/c/d"), file("b/e")]).unwrap();

        let files = told(directory.path()).unwrap();
        assert_eq!(files.iter().map(|(path, ..)| path.as_str()).collect::<Vec<_>>(), ["a", "b/c/d", "b/e"]);
        assert!(files.iter().all(|(path, contents, mode)| path.as_bytes() == contents && *mode == 0o400));
    }

    #[test]
    fn what_leads_out_or_is_no_file_is_refused() {
        type Make = fn(&Path);
        let hostile: [(Make, &str); 7] = [
            (|at| symlink("/etc/passwd", at).unwrap(), "leads out"),
            (|at| symlink("../../etc/passwd", at).unwrap(), "leads out"),
            (|at| symlink("/proc/self/environ", at).unwrap(), "leads out"),
            (|at| symlink("missing", at).unwrap(), "No such file"),
            (|at| symlink(".", at).unwrap(), "levels deep"),
            (
                |at| rustix::fs::mknodat(rustix::fs::CWD, at, FileType::Fifo, Mode::RWXU, 0).unwrap(),
                "neither a file",
            ),
            (
                |at| {
                    std::fs::write(at, b"x").unwrap();
                    std::fs::set_permissions(at, Permissions::from_mode(0o4755)).unwrap();
                },
                "set-id",
            ),
        ];
        for (make, word) in hostile {
            let directory = tempfile::tempdir().unwrap();
            make(&directory.path().join("h"));
            let refusal = told(directory.path()).unwrap_err();
            assert!(refusal.contains(word), "{word}: {refusal}");
        }
    }

    #[test]
    fn links_that_lead_through_the_same_directories_again_and_again_are_counted() {
        let directory = tempfile::tempdir().unwrap();
        // Seven levels with thirty links each: 30⁷ paths to one file.
        for level in 0..7 {
            let at = directory.path().join(format!("..l{level}"));
            std::fs::create_dir(&at).unwrap();
            let next = format!("../..l{}", level + 1);
            (0..30).for_each(|n| symlink(&next, at.join(format!("{n}"))).unwrap());
        }
        std::fs::create_dir(directory.path().join("..l7")).unwrap();
        symlink("..l0", directory.path().join("top")).unwrap();

        let started = Instant::now();
        let refusal = told(directory.path()).unwrap_err();
        println!("{refusal}, after {:?}", started.elapsed());
        assert!(refusal.contains("one name too many"), "{refusal}");
    }

    #[test]
    fn what_cannot_be_read_in_time_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("a"), b"x").unwrap();
        let error = read(&root(directory.path()), Instant::now() - Duration::from_secs(1)).unwrap_err();
        assert!(error.to_string().contains("in time"), "{error}");
    }
}
