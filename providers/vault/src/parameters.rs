use manifest::go_boolean;
use manifest::parameters::{self, kept};
use provider::{Ciphertext, Exposure, Invalid, ObjectRef, Parameters};
use provider_client::{CertificatePath, Tls, plain_address};

use crate::config::VaultConfig;
use crate::declaration::DECLARATION;
use crate::exposure;
use crate::objects::{self, Part};
use crate::server::Server;
use crate::transit;

/// The parameter that holds the class's `auth` setting.
pub const AUTH: &str = "secretfs.dev/auth";
/// The parameter that holds the class's `share` setting.
pub const SHARE: &str = "secretfs.dev/share";
/// The only parameter that may have several lines.
const OBJECTS: &str = manifest::objects::PARAMETER;

/// The parameters of a class, parsed.
#[derive(Debug)]
#[cfg_attr(not(feature = "client"), expect(dead_code, reason = "only the client connects"))]
pub struct Plan {
    pub(crate) server: Server,
    pub(crate) exposure: Option<Exposure>,
    pub(crate) auth: Auth,
    pub(crate) audience: String,
    pub(crate) objects: Vec<ObjectRef>,
    pub(crate) parts: Vec<Part>,
}

/// How to log in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Auth {
    pub(crate) method: Method,
    /// The path below `auth/`.
    pub(crate) mount: String,
    pub(crate) role: Option<String>,
    pub(crate) share: Option<Share>,
}

/// A login method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Method {
    /// The service account's token, at a kubernetes or a jwt mount. The answer shows which one it is.
    Kubernetes,
    /// The service account's token, at a mount that is known to be a jwt mount.
    Jwt,
    AppRole,
    Token,
    Certificate,
}

/// Who may share a login, if the class decides it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Share {
    ServiceAccount,
    Pod,
}

impl Plan {
    /// Parses the `parameters` of a class in `namespace`, offline.
    ///
    /// # Errors
    ///
    /// Every fault of the parameters. Never empty.
    pub fn new(namespace: &str, parameters: &Parameters, config: &VaultConfig) -> Result<Self, Vec<Invalid>> {
        let class = Class { namespace, parameters, config };
        Self::with(class, class.objects())
    }

    /// The same for a class that reads what `ciphertexts` hold, with keys of transit engines.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    #[cfg_attr(not(feature = "client"), expect(dead_code, reason = "only a provider decrypts"))]
    pub(crate) fn of_keys(
        namespace: &str,
        parameters: &Parameters,
        config: &VaultConfig,
        ciphertexts: &[Ciphertext],
    ) -> Result<Self, Vec<Invalid>> {
        Self::with(Class { namespace, parameters, config }, transit::objects(ciphertexts))
    }

    fn with(class: Class<'_>, objects: Result<Listed, Vec<Invalid>>) -> Result<Self, Vec<Invalid>> {
        let mut errors = Vec::new();
        let Class { parameters, config, .. } = class;
        let server = kept(&mut errors, class.server());
        let auth = kept(&mut errors, class.auth());
        let objects = kept(&mut errors, objects);
        let audience = class.text("audience").unwrap_or("vault").to_owned();
        errors.extend(parameters::odd(parameters, OBJECTS, |text| text));
        match (server, auth, objects) {
            (Some(server), Some(auth), Some((objects, parts))) if errors.is_empty() => {
                let exposure = exposure::of(&server, config);
                Ok(Self { server, exposure, auth, audience, objects, parts })
            }
            _ => Err(errors),
        }
    }
}

/// Keys of a class and of its objects that nobody reads. They may be spelling errors.
#[cfg_attr(not(feature = "client"), expect(dead_code, reason = "only a provider is asked for them"))]
pub(crate) fn unknown(parameters: &Parameters) -> Vec<Invalid> {
    parameters::unknown_everywhere(&DECLARATION, parameters, OBJECTS, objects::unknown)
}

/// What a class reads, with the part of each answer that its file shows.
pub(crate) type Listed = (Vec<ObjectRef>, Vec<Part>);

#[derive(Clone, Copy)]
struct Class<'a> {
    namespace: &'a str,
    parameters: &'a Parameters,
    config: &'a VaultConfig,
}

impl<'a> Class<'a> {
    /// The parameter `key`, if it is not empty. A parameter that is not declared counts as absent.
    fn text(&self, key: &str) -> Option<&'a str> {
        parameters::text(&DECLARATION, self.parameters, key)
    }

    fn server(&self) -> Result<Server, Vec<Invalid>> {
        let mut errors = Vec::new();
        let address = kept(&mut errors, self.address());
        let namespace = kept(&mut errors, self.namespace());
        let tls = kept(&mut errors, self.tls());
        match (address, namespace, tls) {
            (Some(address), Some(namespace), Some(tls)) => Ok(Server { address, namespace, tls }),
            _ => Err(errors),
        }
    }

    fn address(&self) -> Result<String, Vec<Invalid>> {
        const REMEDY: &str = "write it as https://vault.example.com:8200";
        if let Some(raw) = self.text("vaultAddress") {
            return plain_address(raw).map_err(|reason| invalid("vaultAddress", reason, REMEDY));
        }
        match self.config.address.as_deref() {
            None => Err(invalid("vaultAddress", "it is missing and secretfs has no default", REMEDY)),
            Some(agent) if agent.starts_with("unix:///") => Ok(agent.to_owned()),
            Some(raw) => plain_address(raw).map_err(|reason| {
                invalid("vaultAddress", &format!("it is missing and of the default, {reason}"), REMEDY)
            }),
        }
    }

    fn namespace(&self) -> Result<Option<String>, Vec<Invalid>> {
        let raw = self.text("vaultNamespace").or(self.config.namespace.as_deref()).unwrap_or_default();
        let name = raw.trim_matches('/');
        if !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(invalid(
                "vaultNamespace",
                "it has a space or an odd character",
                "write it as team-a/web",
            ));
        }
        Ok((!name.is_empty()).then(|| name.to_owned()))
    }

    fn tls(&self) -> Result<Tls, Vec<Invalid>> {
        let config = self.config;
        let mut errors = Vec::new();
        let mut path = |key, default: &Option<_>| {
            let own = default.clone().map(CertificatePath::Own);
            kept(&mut errors, self.authority(key)).flatten().or(own)
        };
        let (ca, ca_directory) =
            (path("vaultCACertPath", &config.ca), path("vaultCADirectory", &config.ca_directory));
        let [client_certificate, client_key] = kept(&mut errors, self.client_pair()).unwrap_or_default();
        let tls = Tls {
            ca,
            ca_directory,
            client_certificate,
            client_key,
            server_name: self
                .text("vaultTLSServerName")
                .map(str::to_owned)
                .or(config.tls_server_name.clone()),
            skip_verify: kept(&mut errors, self.skip_verify()).unwrap_or(false) || config.skip_verify,
        };
        if errors.is_empty() { Ok(tls) } else { Err(errors) }
    }

    /// Files of authorities are not secret, so every class may name any of them.
    fn authority(&self, key: &str) -> Result<Option<CertificatePath>, Vec<Invalid>> {
        let path = |raw| CertificatePath::of_class(key, raw, self.config.network.tls_dir.as_deref());
        self.text(key).map(path).transpose().map_err(|error| vec![error])
    }

    /// The client certificate and its key: both from the class, or both from the administrator.
    fn client_pair(&self) -> Result<[Option<CertificatePath>; 2], Vec<Invalid>> {
        let keys = ["vaultTLSClientCertPath", "vaultTLSClientKeyPath"];
        match keys.map(|key| self.text(key)) {
            [None, None] => {
                let VaultConfig { client_certificate, client_key, .. } = self.config;
                Ok([client_certificate, client_key].map(|path| path.clone().map(CertificatePath::Own)))
            }
            [Some(_), Some(_)] => {
                let mut errors = Vec::new();
                let paths = keys.map(|key| kept(&mut errors, self.own_file(key)));
                if errors.is_empty() { Ok(paths) } else { Err(errors) }
            }
            _ => Err(invalid(
                "vaultTLSClientCertPath",
                "a client certificate and its key come together",
                "set vaultTLSClientCertPath and vaultTLSClientKeyPath",
            )),
        }
    }

    fn own_file(&self, key: &str) -> Result<CertificatePath, Vec<Invalid>> {
        let raw = self.text(key).unwrap_or_default();
        let path = CertificatePath::of_namespace(raw, self.config.network.tls_dir.as_deref(), self.namespace);
        path.ok_or_else(|| {
            let remedy = format!("write a path below --tls-dir/{}", self.namespace);
            invalid(key, "it leaves the folder of its namespace's client certificates", &remedy)
        })
    }

    fn skip_verify(&self) -> Result<bool, Vec<Invalid>> {
        let key = "vaultSkipTLSVerify";
        self.text(key).map_or(Ok(false), |raw| go_boolean(key, raw)).map_err(|error| vec![error])
    }

    fn auth(&self) -> Result<Auth, Vec<Invalid>> {
        let mut errors = Vec::new();
        let method = kept(&mut errors, self.method());
        let share = kept(&mut errors, self.share());
        let mount = kept(&mut errors, self.mount());
        let (Some(method), Some(share), Some(mount)) = (method, share, mount) else { return Err(errors) };
        let role = self.text("roleName").map(str::to_owned);
        if role.is_none() && matches!(method, Method::Kubernetes | Method::Jwt) {
            return Err(invalid("roleName", "it is missing", "name the role of the login method"));
        }
        let mount = mount.unwrap_or_else(|| match method {
            Method::Kubernetes => self.config.auth_mount.clone(),
            Method::Jwt => "jwt".to_owned(),
            Method::AppRole => "approle".to_owned(),
            Method::Token => "token".to_owned(),
            Method::Certificate => "cert".to_owned(),
        });
        Ok(Auth { method, mount, role, share })
    }

    fn method(&self) -> Result<Method, Vec<Invalid>> {
        match self.text(AUTH).unwrap_or("kubernetes") {
            "kubernetes" => Ok(Method::Kubernetes),
            "jwt" => Ok(Method::Jwt),
            "approle" => Ok(Method::AppRole),
            "token" => Ok(Method::Token),
            "cert" => Ok(Method::Certificate),
            _ => Err(invalid(
                AUTH,
                "it is no login method we know",
                "write kubernetes, jwt, approle, token or cert",
            )),
        }
    }

    fn share(&self) -> Result<Option<Share>, Vec<Invalid>> {
        match self.text(SHARE) {
            None => Ok(None),
            Some("service-account") => Ok(Some(Share::ServiceAccount)),
            Some("pod") => Ok(Some(Share::Pod)),
            Some(_) => Err(invalid(SHARE, "it is neither", "write service-account or pod")),
        }
    }

    /// Setting both keys is an error even if they are empty, as with the upstream provider.
    fn mount(&self) -> Result<Option<String>, Vec<Invalid>> {
        let [key, older] = ["vaultAuthMountPath", "vaultKubernetesMountPath"];
        if self.parameters.contains_key(key) && self.parameters.contains_key(older) {
            return Err(invalid(key, "vaultKubernetesMountPath is set too", "keep vaultAuthMountPath"));
        }
        let Some(raw) = self.text(key).or(self.text(older)) else { return Ok(None) };
        let mount = raw.trim_matches('/');
        let mount = mount.strip_prefix("auth/").unwrap_or(mount);
        // A mount follows the same rules as a path.
        match crate::call::Call::new("", mount) {
            Ok(call) if call.query.is_empty() => Ok(Some(mount.to_owned())),
            _ => Err(invalid(key, "it is no mount path", "write what follows auth/, such as kubernetes")),
        }
    }

    fn objects(&self) -> Result<Listed, Vec<Invalid>> {
        match self.text(OBJECTS) {
            Some(text) => objects::read(text),
            None => Err(invalid(OBJECTS, "it is missing", "list at least one object")),
        }
    }
}

fn invalid(key: &str, reason: &str, remedy: &str) -> Vec<Invalid> {
    vec![one(key, reason, remedy)]
}

fn one(key: &str, reason: &str, remedy: &str) -> Invalid {
    Invalid { key: key.to_owned(), line: None, reason: reason.to_owned(), remedy: remedy.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(more: &[(&str, &str)]) -> Parameters {
        let objects = "- {objectName: a, secretPath: secret/data/app, secretKey: k}\n";
        let sound = [("vaultAddress", "https://vault:8200"), ("roleName", "web"), ("objects", objects)];
        sound.iter().chain(more).map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn a_control_character_in_a_parameter_is_refused_and_the_parameter_named() {
        let config = VaultConfig::default();
        Plan::new("shop", &parameters(&[]), &config).unwrap();

        for key in ["roleName", "audience", "vaultAuthMountPath", "vaultTLSServerName", "whatever"] {
            let faults =
                Plan::new("shop", &parameters(&[(key, "web\n{\"class_uid\":6003}")]), &config).unwrap_err();
            assert!(faults.iter().any(|fault| fault.key == key), "{key}: {faults:?}");
        }
    }

    #[test]
    fn a_control_character_in_an_objects_key_is_refused() {
        let objects = "- {objectName: a, secretPath: secret/data/app, secretKey: \"k\\n\"}\n";

        let faults =
            Plan::new("shop", &parameters(&[("objects", objects)]), &VaultConfig::default()).unwrap_err();

        assert_eq!(faults[0].key, "objects[0].secretKey");
    }
}
