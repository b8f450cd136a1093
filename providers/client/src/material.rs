use std::fs;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};
use provider::{Error, ErrorKind, Result, SecretBytes};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use zeroize::Zeroizing;

use crate::tls_settings::{CertificatePath, Tls};

/// The largest file of certificates, in bytes.
const MAX_FILE: u64 = 1 << 20;
/// Most files in a folder of certificates.
const MAX_FILES: usize = 256;

/// The contents of the files that TLS settings name.
#[derive(Debug, Clone, Default)]
pub struct Material {
    /// PEM of the authorities. `None`: the system's authorities.
    pub authorities: Option<Vec<u8>>,
    /// The client certificate to show to the server, and its key.
    pub client: Option<ClientPair>,
}

/// A client certificate and its key, as PEM.
#[derive(Debug, Clone)]
pub struct ClientPair {
    /// The certificate, with the intermediate certificates up to its authority.
    pub certificate: SecretBytes,
    /// Its private key.
    pub key: SecretBytes,
}

impl Material {
    /// Reads the files; those of classes are below `tls_dir`. Blocks while it reads the disk.
    ///
    /// # Errors
    ///
    /// `Invalid`, with the name of the file.
    pub fn load(tls: &Tls, tls_dir: Option<&Path>) -> Result<Self> {
        let mut authorities = None;
        if let Some(path) = &tls.ca {
            authorities = Some(match path {
                CertificatePath::Text { pem, .. } => pem.clone().into_bytes(),
                _ => read(&place(path, tls_dir)?)?,
            });
        }
        if let Some(path) = &tls.ca_directory {
            let folder = place(path, tls_dir)?;
            authorities.get_or_insert_default().extend(read_folder(&folder)?);
        }
        let client = match (&tls.client_certificate, &tls.client_key) {
            (Some(certificate), Some(key)) => Some(ClientPair::load(certificate, key, tls_dir)?),
            _ => None,
        };
        Ok(Self { authorities, client })
    }

    /// Distinguishes contents. A renewed certificate has another fingerprint, and so gets other connections.
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

impl ClientPair {
    /// Reads certificate and key of a class from one folder that was opened once. So both come from before a renewal,
    /// or both from after it.
    fn load(certificate: &CertificatePath, key: &CertificatePath, tls_dir: Option<&Path>) -> Result<Self> {
        let folder = match certificate {
            CertificatePath::OfNamespace { namespace, .. } => {
                Some(NamespaceFolder::open(certificate, tls_dir, namespace)?)
            }
            CertificatePath::Own(_) | CertificatePath::OfClass(_) | CertificatePath::Text { .. } => None,
        };
        let read = |path| match &folder {
            Some(folder) => folder.read(path),
            None => read(&place(path, tls_dir)?).map(SecretBytes::new),
        };
        Ok(Self { certificate: read(certificate)?, key: read(key)? })
    }
}

/// The folder with the client certificates that classes of one namespace may use. The kernel resolves every path below
/// it, so neither `..` nor a link leads out of it.
struct NamespaceFolder {
    opened: OwnedFd,
    /// For messages.
    path: PathBuf,
    namespace: String,
}

impl NamespaceFolder {
    fn open(path: &CertificatePath, tls_dir: Option<&Path>, namespace: &str) -> Result<Self> {
        let folder = configured(path, tls_dir)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let place = folder.join(namespace);
        let opened = rustix::fs::open(folder, flags, Mode::empty())
            .and_then(|all| rustix::fs::openat2(all, namespace, flags, Mode::empty(), BENEATH));
        let opened = opened.map_err(|error| outside(path, &place, error, namespace))?;
        Ok(Self { opened, path: place, namespace: namespace.to_owned() })
    }

    fn read(&self, path: &CertificatePath) -> Result<SecretBytes> {
        let CertificatePath::OfNamespace { namespace, path: inner } = path else {
            return Err(invalid(
                path,
                "it is not below the folder of its namespace",
                "name both files alike",
            ));
        };
        let place = self.path.join(inner);
        if *namespace != self.namespace {
            return Err(invalid(path, "it is of another namespace", "name a file of the class's own"));
        }
        // `NONBLOCK`, so that opening a named pipe does not wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = rustix::fs::openat2(&self.opened, inner, flags, Mode::empty(), BENEATH);
        let opened = opened.map_err(|error| outside(path, &place, error, namespace))?;
        contents(fs::File::from(opened)).map_err(|error| unreadable(&place, &error))
    }
}

const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);

/// The contents of a file. If it cannot be read completely, the part that was read is wiped.
fn contents(file: fs::File) -> io::Result<SecretBytes> {
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file"));
    }
    let mut contents = Zeroizing::new(Vec::new());
    file.take(MAX_FILE).read_to_end(&mut contents)?;
    Ok(SecretBytes::new(std::mem::take(&mut *contents)))
}

fn outside(path: &CertificatePath, place: &Path, error: rustix::io::Errno, namespace: &str) -> Error {
    if matches!(error, rustix::io::Errno::XDEV | rustix::io::Errno::LOOP) {
        let remedy = "put the file itself there, or a relative link to one that stays below it";
        return invalid(path, &format!("it leads out of the folder of namespace {namespace}"), remedy);
    }
    Error::new(ErrorKind::Invalid, format!("certificate {}: {}", place.display(), io::Error::from(error)))
        .remedy(format!(
            "client certificates are bound to namespaces: put those of {namespace} into that folder, readable by secretfs"
        ))
}

fn configured<'a>(path: &CertificatePath, tls_dir: Option<&'a Path>) -> Result<&'a Path> {
    let none =
        || invalid(path, "secretfs has no folder of certificates for classes", "start it with --tls-dir");
    tls_dir.ok_or_else(none)
}

/// The path of a file. A path from a class is below the administrator's folder, after all links are followed.
fn place(path: &CertificatePath, tls_dir: Option<&Path>) -> Result<PathBuf> {
    let inner = match path {
        CertificatePath::Own(path) => return Ok(path.clone()),
        CertificatePath::OfClass(inner) => inner,
        CertificatePath::OfNamespace { .. } | CertificatePath::Text { .. } => {
            return Err(invalid(path, "it is no certificate for every class", "name a file of authorities"));
        }
    };
    let folder = configured(path, tls_dir)?;
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
        let ca = CertificatePath::of_class("ca", inner, Some(folder)).ok();
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

    fn client(folder: &Path, namespace: &str, inner: &str) -> std::result::Result<String, String> {
        let path = CertificatePath::of_namespace(inner, Some(folder), namespace);
        let tls = Tls { client_certificate: path.clone(), client_key: path, ..Tls::default() };
        let loaded = Material::load(&tls, Some(folder)).map_err(|error| error.to_string())?;
        Ok(loaded.client.unwrap().certificate.expose_str().unwrap().to_owned())
    }

    /// A folder as kubelet makes it for a projected volume, with files for the namespaces `shop` and `other`.
    fn projected() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for namespace in ["shop", "other"] {
            fs::create_dir_all(folder.path().join("..2026").join(namespace)).unwrap();
            fs::write(folder.path().join(format!("..2026/{namespace}/tls.crt")), namespace).unwrap();
            symlink(format!("..data/{namespace}"), folder.path().join(namespace)).unwrap();
        }
        symlink("..2026", folder.path().join("..data")).unwrap();
        folder
    }

    #[test]
    fn a_client_certificate_is_read_below_the_folder_of_its_namespace() {
        let folder = projected();

        assert_eq!(client(folder.path(), "shop", "tls.crt").unwrap(), "shop");
        assert_eq!(client(folder.path(), "shop", "shop/tls.crt").unwrap(), "shop");
        for (namespace, inner) in
            [("shop", "other/tls.crt"), ("shop", "..2026/other/tls.crt"), ("none", "tls.crt")]
        {
            let told = client(folder.path(), namespace, inner).unwrap_err();
            assert!(told.contains("bound to namespaces") && told.contains(namespace), "{told}");
        }
    }

    #[test]
    fn no_link_leads_from_one_namespaces_folder_into_anothers() {
        let folder = projected();
        let shop = folder.path().join("..2026/shop");
        symlink("../other/tls.crt", shop.join("beside")).unwrap();
        symlink("../other", shop.join("folder")).unwrap();
        symlink(folder.path().join("other/tls.crt"), shop.join("absolute")).unwrap();
        symlink("/proc/self/cwd", shop.join("magic")).unwrap();
        symlink("tls.crt", shop.join("within")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, shop.join("pipe"), rustix::fs::FileType::Fifo, Mode::RWXU, 0)
            .unwrap();

        for inner in ["beside", "folder/tls.crt", "absolute", "magic/x"] {
            let told = client(folder.path(), "shop", inner).unwrap_err();
            assert!(told.contains("leads out of the folder of namespace shop"), "{inner}: {told}");
        }
        assert_eq!(client(folder.path(), "shop", "within").unwrap(), "shop");
        let told = client(folder.path(), "shop", "pipe").unwrap_err();
        assert!(told.contains("it is no file"), "{told}");
    }

    #[test]
    fn a_namespaces_folder_is_below_the_folder_of_certificates_itself() {
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), projected());
        symlink(elsewhere.path().join("shop"), folder.path().join("shop")).unwrap();

        let told = client(folder.path(), "shop", "tls.crt").unwrap_err();

        assert!(told.contains("leads out"), "{told}");
    }

    #[test]
    fn without_a_folder_a_class_names_no_file() {
        let ca = CertificatePath::of_class("ca", "/etc/shadow", None).ok();
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
