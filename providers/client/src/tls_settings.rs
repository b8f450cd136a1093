use std::fmt;
use std::path::{Component, Path, PathBuf};

use provider::Invalid;
use serde::{Deserialize, Serialize};

/// The TLS settings of a class on top of the administrator's. They hold names of files, and no secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tls {
    /// File of authorities (PEM) to trust instead of the system's.
    pub ca: Option<CertificatePath>,
    /// Folder of such files.
    pub ca_directory: Option<CertificatePath>,
    /// Name to expect in the server's certificate, instead of the host in the address.
    pub server_name: Option<String>,
    /// Client certificate (PEM).
    pub client_certificate: Option<CertificatePath>,
    /// Key (PEM) of the client certificate.
    pub client_key: Option<CertificatePath>,
    /// Whether any certificate is accepted.
    pub skip_verify: bool,
}

/// The place of a certificate or key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CertificatePath {
    /// A path as the administrator wrote it.
    Own(PathBuf),
    /// A path as a class wrote it: plain components below the administrator's folder.
    OfClass(PathBuf),
    /// A path in the namespace's own folder, below the administrator's: for files that only this namespace may use.
    OfNamespace {
        /// The namespace.
        namespace: String,
        /// The path below that folder.
        path: PathBuf,
    },
    /// No path: the PEM itself stands in the class. Only for authorities, because nothing in them is secret.
    Text {
        /// The PEM.
        pem: String,
        /// Distinguishes it from every other PEM, for messages and for the name of a store.
        name: String,
    },
}

impl CertificatePath {
    /// The path in the parameter `key` of a class. A leading slash means the folder, because manifests were written for
    /// paths inside a container. A path may also begin with `tls_dir` itself; it means the same file.
    ///
    /// # Errors
    ///
    /// The path could leave the folder.
    pub fn of_class(key: &str, raw: &str, tls_dir: Option<&Path>) -> Result<Self, Invalid> {
        let outside =
            || Invalid::new(key, "it leaves the folder of certificates", "write a path below --tls-dir");
        plain(raw, tls_dir).map(Self::OfClass).ok_or_else(outside)
    }

    /// The path, from a class of `namespace`, of a file that only that namespace may use. It may begin with the
    /// namespace's name.
    pub fn of_namespace(raw: &str, tls_dir: Option<&Path>, namespace: &str) -> Option<Self> {
        let path = plain(raw, tls_dir)?;
        let inner = path.strip_prefix(namespace).unwrap_or(&path).to_owned();
        let fits = is_namespace(namespace) && !inner.as_os_str().is_empty();
        fits.then(|| Self::OfNamespace { namespace: namespace.to_owned(), path: inner })
    }
}

/// The components of a class's path below the folder; `None` if the path could leave the folder.
fn plain(raw: &str, tls_dir: Option<&Path>) -> Option<PathBuf> {
    let path = Path::new(raw);
    let inner = tls_dir.and_then(|folder| path.strip_prefix(folder).ok()).unwrap_or(path);
    let mut plain = PathBuf::new();
    for component in inner.components() {
        match component {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => plain.push(name),
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    let fits = !raw.contains('\0') && !plain.as_os_str().is_empty();
    fits.then_some(plain)
}

/// Whether `name` can be the folder of a namespace: a name that Kubernetes allows, so without dots and slashes.
fn is_namespace(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len()) && name.bytes().all(plain)
}

impl fmt::Display for CertificatePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own(path) | Self::OfClass(path) => write!(f, "{}", path.display()),
            Self::OfNamespace { namespace, path } => write!(f, "{namespace}/{}", path.display()),
            Self::Text { name, .. } => f.write_str(name),
        }
    }
}

/// Everything that decides whom to trust, to be printed after a server's address. The key is left out, because it
/// belongs to its certificate.
impl fmt::Display for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ca, ca_directory, server_name, client_certificate, client_key: _, skip_verify } = self;
        if let Some(name) = server_name {
            write!(f, " as {name}")?;
        }
        for (what, path) in
            [("ca", ca), ("ca folder", ca_directory), ("client certificate", client_certificate)]
        {
            if let Some(path) = path {
                write!(f, " {what} {path}")?;
            }
        }
        if *skip_verify { f.write_str(" unverified") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_class(raw: &str) -> Option<String> {
        CertificatePath::of_class("ca", raw, Some(Path::new("/vault/tls"))).ok().map(|path| path.to_string())
    }

    fn of_namespace(raw: &str, namespace: &str) -> Option<String> {
        let path = CertificatePath::of_namespace(raw, Some(Path::new("/vault/tls")), namespace);
        path.map(|path| path.to_string())
    }

    #[test]
    fn a_certificate_path_of_a_class_is_plain_components() {
        for (raw, inside) in [
            ("ca.crt", "ca.crt"),
            ("/vault/tls/ca.crt", "ca.crt"),
            ("/etc/ssl/ca.crt", "etc/ssl/ca.crt"),
            ("./team//ca.crt", "team/ca.crt"),
        ] {
            assert_eq!(of_class(raw).unwrap(), inside, "{raw}");
        }
        for raw in ["", "/", "../ca.crt", "/vault/tls/../../etc/shadow", "a/../b", "a\0b"] {
            assert_eq!(of_class(raw), None, "{raw:?}");
        }
    }

    #[test]
    fn a_client_certificate_of_a_class_is_below_the_folder_of_its_namespace() {
        for raw in ["tls.crt", "/tls.crt", "shop/tls.crt", "/vault/tls/shop/tls.crt", "./shop//tls.crt"] {
            assert_eq!(of_namespace(raw, "shop").unwrap(), "shop/tls.crt", "{raw}");
        }
        assert_eq!(of_namespace("other/tls.crt", "shop").unwrap(), "shop/other/tls.crt");
        assert_eq!(of_namespace("shop/shop/tls.crt", "shop").unwrap(), "shop/shop/tls.crt");
        for raw in ["", "/", "shop", "/shop/", "../tls.crt", "shop/../other/tls.crt", "a\0b"] {
            assert_eq!(of_namespace(raw, "shop"), None, "{raw:?}");
        }
        for namespace in ["", "..", ".", "..data", "a/b", "/", "a\0", "Shop", &"a".repeat(64)] {
            assert_eq!(of_namespace("tls.crt", namespace), None, "{namespace:?}");
        }
    }
}
