use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};
use provider::{Error, ErrorKind, Result, SecretBytes};

use crate::server::{CertificatePath, Tls};

/// Largest file of certificates, in bytes.
const MAX_FILE: u64 = 1 << 20;
/// Most files of a folder of certificates.
const MAX_FILES: usize = 256;

/// What the files that TLS settings name hold.
#[derive(Debug, Clone, Default)]
pub(crate) struct Material {
    /// PEM of the authorities; the system's where empty and not asked for.
    pub(crate) authorities: Option<Vec<u8>>,
    pub(crate) client: Option<ClientPair>,
}

/// A client certificate and its key, as PEM.
#[derive(Debug, Clone)]
pub(crate) struct ClientPair {
    pub(crate) certificate: SecretBytes,
    pub(crate) key: SecretBytes,
}

impl Material {
    /// Reads the files. Blocks on the disk.
    ///
    /// # Errors
    ///
    /// `Invalid`, naming the file.
    pub(crate) fn load(tls: &Tls, tls_dir: Option<&Path>) -> Result<Self> {
        let mut authorities = None;
        if let Some(path) = &tls.ca {
            authorities = Some(read(&place(path, tls_dir)?)?);
        }
        if let Some(path) = &tls.ca_directory {
            let folder = place(path, tls_dir)?;
            authorities.get_or_insert_default().extend(read_folder(&folder)?);
        }
        let client = match (&tls.client_certificate, &tls.client_key) {
            (Some(certificate), Some(key)) => Some(ClientPair {
                certificate: SecretBytes::new(read(&place(certificate, tls_dir)?)?),
                key: SecretBytes::new(read(&place(key, tls_dir)?)?),
            }),
            _ => None,
        };
        Ok(Self { authorities, client })
    }

    /// Tells two contents apart: a renewed certificate is another connection.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        let mut context = Context::new(&SHA256);
        let mut add = |bytes: &[u8]| {
            context.update(&bytes.len().to_le_bytes());
            context.update(bytes);
        };
        add(self.authorities.as_deref().unwrap_or_default());
        if let Some(ClientPair { certificate, key }) = &self.client {
            add(certificate.expose());
            add(key.expose());
        }
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(context.finish().as_ref());
        fingerprint
    }
}

/// Where a file is. One that a class names is below the administrator's folder, links followed.
fn place(path: &CertificatePath, tls_dir: Option<&Path>) -> Result<PathBuf> {
    let inner = match path {
        CertificatePath::Own(path) => return Ok(path.clone()),
        CertificatePath::OfClass(inner) => inner,
    };
    let Some(folder) = tls_dir else {
        return Err(invalid(
            path,
            "secretfs has no folder of certificates for classes",
            "start it with --tls-dir",
        ));
    };
    let folder = fs::canonicalize(folder).map_err(|error| unreadable(folder, &error))?;
    let file = folder.join(inner);
    let real = fs::canonicalize(&file).map_err(|error| unreadable(&file, &error))?;
    if real.starts_with(&folder) {
        Ok(real)
    } else {
        Err(invalid(
            path,
            "it leads out of the folder of certificates",
            "put the file itself below --tls-dir",
        ))
    }
}

fn read(file: &Path) -> Result<Vec<u8>> {
    let mut contents = Vec::new();
    let read = fs::File::open(file).and_then(|open| open.take(MAX_FILE).read_to_end(&mut contents));
    read.map(|_| contents).map_err(|error| unreadable(file, &error))
}

fn read_folder(folder: &Path) -> Result<Vec<u8>> {
    let list = || -> io::Result<Vec<PathBuf>> {
        let entries = fs::read_dir(folder)?.take(MAX_FILES);
        entries.map(|entry| Ok(entry?.path())).collect()
    };
    let mut files = list().map_err(|error| unreadable(folder, &error))?;
    files.retain(|file| file.is_file());
    let mut contents = Vec::new();
    for file in files {
        contents.extend(read(&file)?);
        contents.push(b'\n');
    }
    Ok(contents)
}

fn invalid(path: &CertificatePath, what: &str, remedy: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("certificate {path}: {what}")).remedy(remedy)
}

fn unreadable(file: &Path, error: &io::Error) -> Error {
    Error::new(ErrorKind::Invalid, format!("certificate {}: {error}", file.display()))
        .remedy("put the file there, readable by secretfs")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn load(folder: &Path, inner: &str) -> Result<Material> {
        let ca = CertificatePath::of_class(inner, Some(folder));
        Material::load(&Tls { ca, ..Tls::default() }, Some(folder))
    }

    #[test]
    fn a_link_inside_the_folder_is_followed_and_one_out_of_it_is_not() {
        let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir(inside.path().join("..2026")).unwrap();
        fs::write(inside.path().join("..2026/ca.crt"), "pem").unwrap();
        fs::write(outside.path().join("shadow"), "secret").unwrap();
        symlink("..2026/ca.crt", inside.path().join("ca.crt")).unwrap();
        symlink(outside.path().join("shadow"), inside.path().join("out")).unwrap();

        assert_eq!(load(inside.path(), "/ca.crt").unwrap().authorities.unwrap(), b"pem");
        let told = load(inside.path(), "out").unwrap_err().to_string();
        assert!(told.contains("leads out"), "{told}");
        assert!(load(inside.path(), "gone").unwrap_err().to_string().contains("gone"));
    }

    #[test]
    fn without_a_folder_a_class_names_no_file() {
        let ca = CertificatePath::of_class("/etc/shadow", None);
        let told = Material::load(&Tls { ca, ..Tls::default() }, None).unwrap_err().to_string();
        assert!(told.contains("--tls-dir"), "{told}");
    }

    #[test]
    fn a_renewed_file_is_another_fingerprint() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.crt"), "one").unwrap();
        let one = load(folder.path(), "ca.crt").unwrap().fingerprint();
        fs::write(folder.path().join("ca.crt"), "two").unwrap();
        assert_ne!(load(folder.path(), "ca.crt").unwrap().fingerprint(), one);
    }
}
