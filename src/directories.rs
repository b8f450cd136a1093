//! Where the processes of one user find what another of them left, if the command line does not say.
//!
//! Below `/run` for root. Everybody else has a directory of his own: the one that his session has for such things, or one
//! in `/tmp`. There anybody may make a directory of that name first, so it is used only if it is this user's and closed to
//! others: in a directory like `/tmp` nobody else can remove or rename it then.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};

/// Names the directory of the session.
const SESSION: &str = "XDG_RUNTIME_DIR";
/// Where everybody may make directories.
const EVERYBODYS: &str = "/tmp";

/// The state directory of this user.
pub fn state() -> PathBuf {
    state_of(user(), std::env::var_os(SESSION))
}

/// The directory of the admin sockets of this user.
pub fn admin() -> PathBuf {
    state().join("admin")
}

/// The file of the orders to take secrets back that were given on this host. Other than what is below
/// [`state`], it survives a reboot: what was revoked must not come back with the machine.
pub fn revocations() -> PathBuf {
    let directory = match user() {
        0 => PathBuf::from("/var/lib/secretfs"),
        user => std::env::var_os("HOME")
            .map_or_else(|| in_tmp(user), |home| PathBuf::from(home).join(".local/state/secretfs")),
    };
    directory.join("revocations/orders.json")
}

/// Makes the directory in `/tmp` if `path` is in it, as only this user can enter it.
///
/// # Errors
///
/// It is somebody else's, open to others, or no directory.
pub fn make(path: &Path) -> io::Result<()> {
    let Some(directory) = shared(path, user()) else { return Ok(()) };
    match fs::DirBuilder::new().mode(0o700).create(&directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => check(&directory, user()),
    }
}

/// Refuses `path` if it is in the directory in `/tmp` and that is not this user's. A directory that is missing is fine.
///
/// # Errors
///
/// It is somebody else's, open to others, or no directory.
pub fn trust(path: &Path) -> io::Result<()> {
    let Some(directory) = shared(path, user()) else { return Ok(()) };
    match check(&directory, user()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        checked => checked,
    }
}

fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn state_of(user: u32, session: Option<OsString>) -> PathBuf {
    if user == 0 {
        return PathBuf::from("/run/secretfs");
    }
    // After `su` or `sudo` the variable may name the directory of another user.
    let is_his = |directory: &PathBuf| {
        directory.is_absolute()
            && fs::metadata(directory).is_ok_and(|about| about.is_dir() && about.uid() == user)
    };
    let session = session.map(PathBuf::from).filter(is_his);
    session.map_or_else(|| in_tmp(user), |session| session.join("secretfs"))
}

fn in_tmp(user: u32) -> PathBuf {
    Path::new(EVERYBODYS).join(format!("secretfs-{user}"))
}

/// The directory of `user` in `/tmp`, if `path` is it or in it.
fn shared(path: &Path, user: u32) -> Option<PathBuf> {
    let directory = in_tmp(user);
    path.starts_with(&directory).then_some(directory)
}

/// Looks at the directory that is opened, and not at its name: that may lead elsewhere a moment later.
fn check(directory: &Path, user: u32) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let about = rustix::fs::fstat(rustix::fs::open(directory, flags, Mode::empty())?)?;
    if FileType::from_raw_mode(about.st_mode) != FileType::Directory {
        return Err(refused(directory, "is no directory"));
    }
    if about.st_uid != user {
        return Err(refused(directory, "belongs to another user"));
    }
    if about.st_mode & 0o077 != 0 {
        return Err(refused(directory, "is open to other users (`chmod 700` closes it)"));
    }
    Ok(())
}

fn refused(directory: &Path, why: &str) -> io::Error {
    let reason = format!(
        "{} {why}, so what is in it cannot be trusted; set {SESSION}, or name other directories with --state-dir and \
         SECRETFS_ADMIN_SOCKET",
        directory.display()
    );
    io::Error::new(io::ErrorKind::PermissionDenied, reason)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn root_has_a_directory_below_run_and_others_one_of_their_own() {
        let session = tempfile::tempdir().unwrap();
        let (path, owner) = (session.path(), fs::metadata(session.path()).unwrap().uid());
        let his = Some(path.as_os_str().to_owned());

        assert_eq!(state_of(0, his.clone()), Path::new("/run/secretfs"));
        assert_eq!(
            state_of(owner.max(1), None),
            Path::new("/tmp").join(format!("secretfs-{}", owner.max(1)))
        );
        // The directory of another user's session, one that is not there, and one that is no path.
        assert_eq!(state_of(4711, his), Path::new("/tmp/secretfs-4711"));
        assert_eq!(state_of(4711, Some("/nowhere".into())), Path::new("/tmp/secretfs-4711"));
        assert_eq!(state_of(4711, Some("".into())), Path::new("/tmp/secretfs-4711"));
        std::os::unix::fs::chown(path, Some(4711), None).unwrap();
        assert_eq!(state_of(4711, Some(path.into())), path.join("secretfs"));
    }

    #[test]
    fn a_directory_that_others_own_or_enter_or_that_is_a_link_is_refused() {
        let at = tempfile::tempdir().unwrap();
        let me = user();
        let (mine, link) = (at.path().join("mine"), at.path().join("link"));
        fs::DirBuilder::new().mode(0o700).create(&mine).unwrap();
        symlink(&mine, &link).unwrap();
        let why = |path: &Path, user| check(path, user).unwrap_err().to_string();

        assert!(check(&mine, me).is_ok());
        assert!(why(&mine, me + 1).contains("belongs to another user"));
        assert!(why(&link, me).contains("is no directory"));
        fs::set_permissions(&mine, fs::Permissions::from_mode(0o750)).unwrap();
        assert!(why(&mine, me).contains("is open to other users"));
        assert_eq!(check(&at.path().join("none"), me).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn only_paths_in_the_directory_in_tmp_are_looked_at() {
        assert_eq!(shared(Path::new("/tmp/secretfs-7/admin"), 7), Some(PathBuf::from("/tmp/secretfs-7")));
        for other in ["/tmp/secretfs-70", "/tmp", "/run/user/7/secretfs"] {
            assert_eq!(shared(Path::new(other), 7), None, "{other}");
        }
    }
}
