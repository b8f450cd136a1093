//! Whose a CSI target is, by the file that kubelet writes beside it before it calls the driver.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Duration;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use serde_json_core::de::Error;

use crate::place::refused;

/// Kubelet's name for the file.
const VOLUME_DATA: &str = "vol_data.json";
/// Under which name it has the name of the driver.
const KEY: &str = "driverName";
/// Most bytes of it that are read. Kubelet's own has some hundred.
const MOST_BYTES: u64 = 4 << 10;
/// How often a file that is not whole is looked at, and how long after each look.
const LOOKS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(5);
/// Most characters of a driver's name that are told.
const MOST_TOLD: usize = 100;

/// The driver that the `text` of the file names, once; kubelet writes texts under names and nothing else.
fn driver_of(text: &[u8]) -> Result<String, Error> {
    let (texts, _) = serde_json_core::from_slice::<BTreeMap<&str, &str>>(text)?;
    let names_one = text.windows(KEY.len()).filter(|part| *part == KEY.as_bytes()).count() == 1;
    texts.get(KEY).filter(|_| names_one).map(|name| (*name).to_owned()).ok_or(Error::CustomError)
}

/// Whether kubelet made the target in `directory` for `driver`; `false` if it has not said for whom.
/// The directory is open and nothing below it is followed: a caller of the mounter cannot write there.
///
/// # Errors
///
/// The target is another driver's, or the file is none that kubelet writes.
pub(crate) fn made_for(driver: &str, directory: &OwnedFd) -> io::Result<bool> {
    let Some(named) = named(directory, || thread::sleep(PAUSE))? else { return Ok(false) };
    if named == driver {
        return Ok(true);
    }
    let named: String = named.escape_default().take(MOST_TOLD).collect();
    Err(refused(format!(
        "kubelet made it for the driver {named}, and this mounter serves {driver} alone (--driver-name)"
    )))
}

/// The driver that the file names, if there is one. Kubelet writes the file anew in place each time that it calls
/// again: one that is not whole is looked at again, after each `pause`.
fn named(directory: &OwnedFd, pause: impl Fn()) -> io::Result<Option<String>> {
    for _ in 0..LOOKS {
        let Some(text) = open(directory)?.map(read).transpose()? else { return Ok(None) };
        match driver_of(&text) {
            Ok(driver) => return Ok(Some(driver)),
            Err(
                Error::EofWhileParsingObject | Error::EofWhileParsingString | Error::EofWhileParsingValue,
            ) => pause(),
            // What the parser says may hold some of the text.
            Err(_) => return Err(unclear("it is not what kubelet writes")),
        }
    }
    Err(unclear("it is not whole"))
}

fn open(directory: &OwnedFd) -> io::Result<Option<File>> {
    // Whatever is there instead, a pipe too, is opened without waiting for anybody.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    match rustix::fs::openat2(directory, VOLUME_DATA, flags, Mode::empty(), resolve) {
        Ok(file) => Ok(Some(File::from(file))),
        Err(Errno::NOENT) => Ok(None),
        Err(Errno::LOOP | Errno::XDEV | Errno::NXIO) => Err(unclear("it is no plain file")),
        Err(error) => Err(unclear(&io::Error::from(error).to_string())),
    }
}

fn read(file: File) -> io::Result<Vec<u8>> {
    let stat = rustix::fs::fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(unclear("it is no plain file"));
    }
    let mut text = Vec::new();
    file.take(MOST_BYTES + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MOST_BYTES {
        return Err(unclear(&format!("it is larger than {MOST_BYTES} bytes")));
    }
    Ok(text)
}

/// The same refusal for all that kubelet has not said.
pub(crate) fn unnamed() -> io::Error {
    refused(format!(
        "kubelet has not written {VOLUME_DATA} beside it, which tells whose it is; nothing but a volume of this \
         driver is touched there"
    ))
}

fn unclear(reason: &str) -> io::Error {
    refused(format!(
        "{VOLUME_DATA} beside it does not tell whose it is: {reason}; look at that file, and remove it and \
         what it is about by hand if nothing uses them"
    ))
}

#[cfg(test)]
mod tests {
    use rustix::fs::CWD;

    use super::*;

    const OURS: &str = "csi.secretfs.dev";

    fn said(text: &[u8]) -> io::Result<bool> {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(VOLUME_DATA), text).unwrap();
        made_for(OURS, &open_directory(directory.path()))
    }

    fn open_directory(path: &std::path::Path) -> OwnedFd {
        rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap()
    }

    #[test]
    fn what_kubelet_writes_tells_whose_a_target_is() {
        let ours =
            br#"{"attachmentID":"csi-1","driverName":"csi.secretfs.dev","nodeName":"n","specVolID":"s"}"#;

        assert!(said(ours).unwrap());
        let other = said(br#"{"driverName":"ebs.csi.aws.com"}"#).unwrap_err().to_string();
        assert!(other.contains("ebs.csi.aws.com") && other.contains("--driver-name"), "{other}");
    }

    #[test]
    fn a_directory_without_the_file_tells_nothing() {
        let directory = tempfile::tempdir().unwrap();

        assert!(!made_for(OURS, &open_directory(directory.path())).unwrap());
    }

    #[test]
    fn a_file_that_kubelet_is_writing_anew_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let (path, whole) = (directory.path().join(VOLUME_DATA), format!(r#"{{"driverName":"{OURS}"}}"#));
        for half in ["", &whole[..10]] {
            std::fs::write(&path, half).unwrap();
            let goes_on = || std::fs::write(&path, &whole).unwrap();
            assert_eq!(named(&open_directory(directory.path()), goes_on).unwrap().as_deref(), Some(OURS));
        }
        std::fs::write(&path, "").unwrap();
        let refused = made_for(OURS, &open_directory(directory.path())).unwrap_err().to_string();
        assert!(refused.contains("not whole"), "{refused}");
    }

    #[test]
    fn a_text_that_is_not_what_kubelet_writes_names_nobody() {
        let nested = format!(r#"{{"a":{}"#, "[".repeat(4000));
        for text in [
            "[]",
            "{}",
            r#"{"driverName":1}"#,
            r#"{"driverName":null}"#,
            r#"{"a":{},"driverName":"csi.secretfs.dev"}"#,
            r#"{"driverName":"csi.secretfs.dev","driverName":"csi.secretfs.dev"}"#,
            r#"{"driverName":"csi.secretfs.dev"} {}"#,
            r#"{"driverName":"csi.secretfs.dev",}"#,
            &nested,
        ] {
            let refused = said(text.as_bytes()).unwrap_err().to_string();
            assert!(refused.contains("not what kubelet writes"), "{text}: {refused}");
        }
    }

    #[test]
    fn a_name_from_the_file_is_told_escaped_and_cut() {
        let long = format!(r#"{{"driverName":"a\nlevel=ERROR {}"}}"#, "x".repeat(3000));

        let told = said(long.as_bytes()).unwrap_err().to_string();

        assert!(told.contains(r"level=ERROR xxx") && !told.contains('\n'), "{told}");
        assert!(told.len() < 300, "{told}");
    }

    #[test]
    fn a_file_of_just_the_bound_is_read_and_one_byte_more_is_refused() {
        let named = format!(r#"{{"driverName":"{OURS}"}}"#);
        let padded = |len: usize| format!("{named}{}", " ".repeat(len - named.len()));

        assert!(said(padded(4096).as_bytes()).unwrap());
        let refused = said(padded(4097).as_bytes()).unwrap_err().to_string();
        assert!(refused.contains("4096 bytes"), "{refused}");
    }
}
