//! What the kernel says about mounts: its table of all mounts, as in `/proc/self/mountinfo` (proc_pid_mountinfo(5)), and
//! the mount that one open file lies on.
//!
//! Any user may choose names of directories in the table. So lines that cannot be parsed are skipped.

mod single;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

pub use single::{FileSystem, TABLE, is_mount_root, mount_number, mounted_at, unique_number};

/// One line of the table: a mount in this mount namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The mount's id. The kernel may reuse it after this mount is gone.
    pub id: u64,
    /// The id of the mount on which it is mounted.
    pub parent: u64,
    /// The device number of its file system, as `MAJOR:MINOR`. One file system has the same in each mount of it.
    pub device: String,
    /// The directory or file of its file system that it shows.
    pub root: PathBuf,
    /// The mount point, as the process sees it that the table belongs to.
    pub point: PathBuf,
    /// Type of the file system, such as `tmpfs`.
    pub kind: String,
    /// The source that the file system names.
    pub source: PathBuf,
}

/// The mounts in `table`, in the same order.
pub fn mounts(table: &[u8]) -> impl Iterator<Item = Mount> {
    table.split(|byte| *byte == b'\n').filter_map(mount)
}

fn mount(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let (id, parent) = (number(fields.next()?)?, number(fields.next()?)?);
    let device = String::from_utf8(fields.next()?.to_vec()).ok()?;
    let (root, point) = (path(fields.next()?)?, path(fields.next()?)?);
    // Optional fields follow, ended by a dash; then the type and the source.
    fields.by_ref().find(|field| *field == b"-")?;
    let kind = String::from_utf8(fields.next()?.to_vec()).ok()?;
    let source = PathBuf::from(OsString::from_vec(unescape(fields.next()?)));
    Some(Mount { id, parent, device, root, point, kind, source })
}

fn number(field: &[u8]) -> Option<u64> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

fn path(field: &[u8]) -> Option<PathBuf> {
    let plain = unescape(field);
    plain.starts_with(b"/").then(|| PathBuf::from(OsString::from_vec(plain)))
}

/// Undoes the kernel's `\040` for spaces, tabs, line ends and backslashes.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, after @ ..] = rest {
        let (byte, after) = escaped(rest).unwrap_or((*first, after));
        plain.push(byte);
        rest = after;
    }
    plain
}

fn escaped(text: &[u8]) -> Option<(u8, &[u8])> {
    let [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', rest @ ..] = text else { return None };
    Some(((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'), rest))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "what a test arranges has to fail it loudly")]

    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_mounted_where_is_told_whatever_the_paths_are() {
        let table = br"36 35 0:30 / /run rw,nosuid shared:5 - tmpfs tmpfs rw,size=1k
41 35 0:32 /..data/x\040y /mnt/a\040b\134c ro shared:7 master:1 - tmpfs secretfs rw";

        let mounts: Vec<Mount> = mounts(table).collect();

        assert_eq!(mounts.len(), 2);
        assert_eq!(mounts[0].point, Path::new("/run"));
        let odd = Mount {
            id: 41,
            parent: 35,
            device: "0:32".to_owned(),
            root: "/..data/x y".into(),
            point: r"/mnt/a b\c".into(),
            kind: "tmpfs".to_owned(),
            source: "secretfs".into(),
        };
        assert_eq!(mounts[1], odd);
    }

    #[test]
    fn lines_that_make_no_sense_are_passed_over() {
        for line in [
            "",
            "36 35 0:30 /",
            "x 35 0:30 / /a rw - tmpfs t rw",
            "36 - 0:30 / /a rw - tmpfs t rw",
            "36 35 0:30 / relative rw - tmpfs t rw",
            "36 35 0:30 / /a rw tmpfs t",
        ] {
            assert_eq!(mounts(line.as_bytes()).count(), 0, "{line}");
        }
    }

    /// As the kernel writes a path.
    fn escape(path: &[u8]) -> Vec<u8> {
        let escape = |byte: &u8| match byte {
            b' ' | b'\t' | b'\n' | b'\\' => format!("\\{byte:03o}").into_bytes(),
            plain => vec![*plain],
        };
        path.iter().flat_map(escape).collect()
    }

    proptest! {
        #[test]
        fn any_path_comes_back_as_it_was(name in proptest::collection::vec(1..=u8::MAX, 0..40)) {
            let path = [b"/".as_slice(), &name].concat();
            let line = [b"1 2 0:3 / ".as_slice(), &escape(&path), b" ro - tmpfs s rw"].concat();
            let told: Vec<_> = mounts(&line).map(|mount| mount.point).collect();
            prop_assert_eq!(told, [Path::new(OsStr::from_bytes(&path)).to_owned()]);
        }

        #[test]
        fn garbage_is_passed_over(table in proptest::collection::vec(any::<u8>(), 0..400)) {
            prop_assert!(mounts(&table).all(|mount| mount.point.is_absolute()));
        }
    }
}
