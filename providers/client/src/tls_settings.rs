use std::fmt;
use std::path::{Component, Path, PathBuf};

use provider::Invalid;
use serde::{Deserialize, Serialize};

/// The TLS settings of a class over the administrator's. They name files, and hold nothing secret.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tls {
    /// File of authorities (PEM) to believe instead of the system's.
    pub ca: Option<CertificatePath>,
    /// Folder of such files.
    pub ca_directory: Option<CertificatePath>,
    /// Name to expect in the server's certificate instead of the address's.
    pub server_name: Option<String>,
    /// Client certificate (PEM).
    pub client_certificate: Option<CertificatePath>,
    /// Its key (PEM).
    pub client_key: Option<CertificatePath>,
    /// Whether any certificate is believed.
    pub skip_verify: bool,
}

/// Where a certificate is kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CertificatePath {
    /// As the administrator wrote it.
    Own(PathBuf),
    /// As a class wrote it: plain components, to be found below the administrator's folder.
    OfClass(PathBuf),
    /// The same below the namespace's own folder there, for what is not every class's.
    OfNamespace {
        /// Whose folder it is.
        namespace: String,
        /// Below that folder.
        path: PathBuf,
    },
}

impl CertificatePath {
    /// A class's path. A leading slash means the folder: manifests name paths of a container they were
    /// written for. A path that leads through `tls_dir` by its own name is the same file. It stands behind `key`.
    ///
    /// # Errors
    ///
    /// It could leave the folder.
    pub fn of_class(key: &str, raw: &str, tls_dir: Option<&Path>) -> Result<Self, Invalid> {
        let outside =
            || Invalid::new(key, "it leaves the folder of certificates", "write a path below --tls-dir");
        plain(raw, tls_dir).map(Self::OfClass).ok_or_else(outside)
    }

    /// A path of a class of `namespace` to what only that namespace's classes may use. It may be written with
    /// the namespace before it or without.
    pub fn of_namespace(raw: &str, tls_dir: Option<&Path>, namespace: &str) -> Option<Self> {
        let path = plain(raw, tls_dir)?;
        let inner = path.strip_prefix(namespace).unwrap_or(&path).to_owned();
        let fits = is_namespace(namespace) && !inner.as_os_str().is_empty();
        fits.then(|| Self::OfNamespace { namespace: namespace.to_owned(), path: inner })
    }
}

/// The components of a class's path below the folder; `None` if it could leave it.
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

/// Whether it can be a folder of one namespace: what Kubernetes allows as a name, so no dots and no slash.
fn is_namespace(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len()) && name.bytes().all(plain)
}

impl fmt::Display for CertificatePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own(path) | Self::OfClass(path) => write!(f, "{}", path.display()),
            Self::OfNamespace { namespace, path } => write!(f, "{namespace}/{}", path.display()),
        }
    }
}

/// What decides whom to believe, as it follows a server's name. The key is left out: it goes with its certificate.
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
