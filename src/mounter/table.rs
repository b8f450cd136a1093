use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use super::local::SOURCE;

/// Where file systems that we made are mounted, as this process sees the mount table; one mounted
/// on another counts twice.
///
/// # Errors
///
/// The mount table cannot be read.
pub fn mounted() -> io::Result<Vec<PathBuf>> {
    let table = fs::read("/proc/self/mountinfo")?;
    Ok(table.split(|byte| *byte == b'\n').filter_map(ours).collect())
}

/// The mount point of a line of mountinfo (proc_pid_mountinfo(5)) if the mount is ours.
fn ours(line: &[u8]) -> Option<PathBuf> {
    let mut fields = line.split(|byte| *byte == b' ');
    let mount_point = fields.nth(4)?;
    // Optional fields follow, ended by a dash; then the type and the source.
    fields.by_ref().find(|field| *field == b"-")?;
    let is_ours = fields.next()? == b"tmpfs" && fields.next()? == SOURCE.as_bytes();
    is_ours.then(|| PathBuf::from(OsString::from_vec(unescape(mount_point))))
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
    use super::*;

    #[test]
    fn only_file_systems_of_ours_are_found_whatever_their_paths_are() {
        let foreign = b"36 35 0:30 / /run rw,nosuid shared:5 - tmpfs tmpfs rw,size=1k";
        let plain = b"40 35 0:31 / /mnt/app ro,noexec - tmpfs secretfs rw,noswap";
        let odd = br"41 35 0:32 / /mnt/a\040b\134c shared:7 master:1 - tmpfs secretfs rw";
        let other_type = b"42 35 0:33 / /mnt/x rw - ext4 secretfs rw";

        assert_eq!(ours(foreign), None);
        assert_eq!(ours(plain), Some(PathBuf::from("/mnt/app")));
        assert_eq!(ours(odd), Some(PathBuf::from(r"/mnt/a b\c")));
        assert_eq!(ours(other_type), None);
        assert_eq!(ours(b""), None);
    }
}
