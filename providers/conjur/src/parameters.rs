//! What a class says, understood.

use aws_lc_rs::digest::{SHA256, digest};
use manifest::{go_boolean, parameters};
use provider::{Exposure, Invalid, ObjectRef, Parameters};
use provider_client::{CertificatePath, Tls, is_near, plain_address};
use url::Url;

use crate::call::Which;
use crate::config::ConjurConfig;
use crate::declaration::DECLARATION;
use crate::objects;

/// The parameter that holds the class's `share` setting.
pub(crate) const SHARE: &str = "secretfs.dev/share";
/// The form of a class of upstream's.
pub(crate) const VERSION: &str = "conjur.org/configurationVersion";
/// The audience for which upstream's provider takes the token.
const AUDIENCE: &str = "conjur";
const CERTIFICATE: &str = "sslCertificate";
const OBJECTS: &str = "objects";

/// A class's parameters, understood.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) server: Server,
    pub(crate) auth: Auth,
    pub(crate) audience: String,
    /// Whether the pods of a service account share a login.
    pub(crate) shares: bool,
    pub(crate) objects: Vec<ObjectRef>,
    pub(crate) exposure: Option<Exposure>,
}

/// One account of one server, and how to verify the server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Server {
    /// The address without a slash at its end.
    pub(crate) address: String,
    pub(crate) account: String,
    pub(crate) tls: Tls,
}

/// How one logs in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Auth {
    /// By the pod's token.
    Jwt {
        /// The authenticator's service.
        service: String,
        /// The host, for an authenticator that does not take it from the token.
        identity: Option<String>,
    },
    /// By a name and an API key that came with the volume.
    ApiKey,
}

impl Server {
    /// Everything that decides which server answers, and for which account.
    pub(crate) fn name(&self) -> String {
        format!("{} account {}{}", self.address, self.account, self.tls)
    }
}

impl Plan {
    /// Understands `parameters` of a class, offline.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with them. Never empty.
    pub(crate) fn new(parameters: &Parameters, config: &ConjurConfig) -> Result<Self, Vec<Invalid>> {
        let mut errors = Vec::new();
        let class = Class { parameters, config };
        let server = kept(&mut errors, class.server());
        let auth = kept(&mut errors, class.auth());
        kept(&mut errors, class.form());
        let shares = kept(&mut errors, class.shares());
        let objects = class.objects().map_err(|found| errors.extend(found)).ok();
        errors.extend(class.odd());
        match (server, auth, shares, objects) {
            (Some(server), Some(auth), Some(shares), Some(objects)) if errors.is_empty() => Ok(Self {
                exposure: class.exposure(&server),
                shares: shares.unwrap_or(auth == Auth::ApiKey),
                audience: class.text("audience").unwrap_or(AUDIENCE).to_owned(),
                server,
                auth,
                objects,
            }),
            _ => Err(errors),
        }
    }
}

/// Keys of a class and of its objects that nobody reads: they may be others, misspelt.
pub(crate) fn unknown(parameters: &Parameters) -> Vec<Invalid> {
    let objects = parameters.get(OBJECTS).map(|text| objects::unknown(text)).unwrap_or_default();
    parameters::unknown(&DECLARATION, parameters).into_iter().chain(objects).collect()
}

fn kept<T>(errors: &mut Vec<Invalid>, outcome: Result<T, Invalid>) -> Option<T> {
    outcome.map_err(|found| errors.push(found)).ok()
}

struct Class<'a> {
    parameters: &'a Parameters,
    config: &'a ConjurConfig,
}

impl<'a> Class<'a> {
    /// A parameter that is there and not empty.
    fn text(&self, key: &str) -> Option<&'a str> {
        self.parameters.get(key).map(String::as_str).filter(|text| !text.is_empty())
    }

    fn required(&self, key: &str, own: Option<&'a String>, example: &str) -> Result<&'a str, Invalid> {
        let text = self.text(key).or(own.map(String::as_str));
        text.ok_or_else(|| Invalid::new(key, "it is missing", format!("write it as {example}")))
    }

    fn server(&self) -> Result<Server, Invalid> {
        let raw = self.required("applianceUrl", self.config.url.as_ref(), "https://conjur.example.com")?;
        let address = plain_address(raw).map_err(|reason| {
            Invalid::new("applianceUrl", reason, "write it as https://conjur.example.com")
        })?;
        let account = self.required("account", self.config.account.as_ref(), "acme")?;
        if account.contains([':', '/']) {
            return Err(Invalid::new("account", "it is no name of an account", "write it as acme"));
        }
        let tls = Tls { ca: self.authorities()?, ..Tls::default() };
        Ok(Server { address, account: account.to_owned(), tls })
    }

    fn authorities(&self) -> Result<Option<CertificatePath>, Invalid> {
        const KEY: &str = "caCertPath";
        match (self.text(CERTIFICATE), self.text(KEY)) {
            (Some(_), Some(_)) => Err(Invalid::new(KEY, "sslCertificate is set too", "keep one of both")),
            (Some(pem), None) => written_out(pem).map(Some),
            (None, Some(raw)) => {
                CertificatePath::of_class(KEY, raw, self.config.network.tls_dir.as_deref()).map(Some)
            }
            (None, None) => Ok(self.config.ca.clone().map(CertificatePath::Own)),
        }
    }

    fn auth(&self) -> Result<Auth, Invalid> {
        let raw = self.required("authnId", None, "authn-jwt/kube")?;
        let identity = self.text("identity").map(str::to_owned);
        match (raw, raw.strip_prefix("authn-jwt/").unwrap_or(raw)) {
            ("authn", _) if identity.is_some() => {
                let remedy = "remove it: the key login of nodePublishSecretRef says who it is";
                Err(Invalid::new("identity", "it is for authn-jwt only", remedy))
            }
            ("authn", _) => Ok(Auth::ApiKey),
            (_, service) if is_service(service) => Ok(Auth::Jwt { service: service.to_owned(), identity }),
            _ => {
                let reason = "it is neither authn-jwt/SERVICE nor authn";
                Err(Invalid::new("authnId", reason, "write it as authn-jwt/kube"))
            }
        }
    }

    fn form(&self) -> Result<(), Invalid> {
        match self.text(VERSION) {
            None | Some("0.1.0" | "0.2.0") => Ok(()),
            Some(_) => Err(Invalid::new(
                VERSION,
                "there is no such form",
                "write \"0.2.0\", in quotes, or leave it out",
            )),
        }
    }

    fn shares(&self) -> Result<Option<bool>, Invalid> {
        match self.text(SHARE) {
            None => Ok(None),
            Some("service-account") => Ok(Some(true)),
            Some("pod") => Ok(Some(false)),
            Some(_) => Err(Invalid::new(SHARE, "it is neither", "write service-account or pod")),
        }
    }

    fn newest(&self) -> Result<Which, Invalid> {
        const KEY: &str = "versionNumbers";
        let numbered = self.text(KEY).map(|raw| go_boolean(KEY, raw)).transpose()?;
        Ok(if numbered.unwrap_or(false) { Which::Numbered } else { Which::Newest })
    }

    fn objects(&self) -> Result<Vec<ObjectRef>, Vec<Invalid>> {
        let newest = self.newest().map_err(|fault| vec![fault])?;
        match (self.text(OBJECTS), self.text(objects::SECRETS)) {
            (Some(_), Some(_)) => {
                Err(vec![Invalid::new(OBJECTS, "secrets is set too", "list everything in one of both")])
            }
            (Some(text), None) => objects::of_objects(text, newest),
            (None, Some(text)) => objects::of_secrets(text, newest),
            (None, None) => {
                let remedy = "list the files here, such as - \"db/url\": \"shop/db/url\"; the pod's annotation \
                              conjur.org/secrets is not read";
                Err(vec![Invalid::new(objects::SECRETS, "it is missing", remedy)])
            }
        }
    }

    /// Messages repeat all parameters but these, and would get extra lines from them.
    fn odd(&self) -> Vec<Invalid> {
        let lines = [CERTIFICATE, objects::SECRETS];
        let others = self.parameters.iter().filter(|(key, _)| !lines.contains(&key.as_str()));
        let others = others.map(|(key, text)| (key.clone(), text.clone())).collect();
        parameters::odd(&others, OBJECTS, |text| text)
    }

    /// What the class's author, and not the administrator, asks for that leaves the way open.
    fn exposure(&self, server: &Server) -> Option<Exposure> {
        self.text("applianceUrl")?;
        let url = Url::parse(&server.address).ok()?;
        let is_open = url.scheme() == "http" && !url.host().is_some_and(|host| is_near(&host));
        let asked = Invalid::new(
            "applianceUrl",
            "it is http: whoever is on the way reads the pod's token and the secrets",
            "write https://, and the server's authority in sslCertificate",
        );
        is_open.then_some(Exposure { asked, is_allowed: self.config.network.allow_insecure })
    }
}

fn is_service(text: &str) -> bool {
    !text.is_empty() && !text.contains('/') && !text.contains(char::is_control)
}

/// Authorities in the text of a class.
fn written_out(pem: &str) -> Result<CertificatePath, Invalid> {
    let refuse =
        || Invalid::new(CERTIFICATE, "it is no certificate in PEM", "write the server's authority out");
    let found = pem::parse_many(pem).map_err(|_| refuse())?;
    if found.is_empty() || found.iter().any(|block| block.tag() != "CERTIFICATE") {
        return Err(refuse());
    }
    let digest = digest(&SHA256, pem.as_bytes());
    let hex: String = digest.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    Ok(CertificatePath::Text { pem: pem.to_owned(), name: format!("{CERTIFICATE} {hex}") })
}

#[cfg(test)]
mod tests {
    use provider::Network;

    use super::*;

    const PEM: &str = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    const CLASS: [(&str, &str); 4] = [
        ("applianceUrl", "https://conjur.conjur.svc.cluster.local/"),
        ("account", "acme"),
        ("authnId", "authn-jwt/kube"),
        ("secrets", "- db/url: shop/db/url\n"),
    ];

    fn plan_of(more: &[(&str, &str)], config: &ConjurConfig) -> Result<Plan, Vec<Invalid>> {
        let all = CLASS.iter().chain(more).copied();
        Plan::new(&all.map(|(key, text)| (key.to_owned(), text.to_owned())).collect(), config)
    }

    fn plan(more: &[(&str, &str)]) -> Plan {
        plan_of(more, &ConjurConfig::default()).unwrap()
    }

    fn refusals(more: &[(&str, &str)]) -> Vec<String> {
        plan_of(more, &ConjurConfig::default()).unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn trap_audience_it_is_conjur_unless_the_class_says_another() {
        assert_eq!(plan(&[]).audience, "conjur");
        assert_eq!(plan(&[("audience", "acme")]).audience, "acme");
    }

    #[test]
    fn the_authenticator_is_named_with_or_without_its_kind() {
        let jwt = |service: &str, identity: Option<&str>| Auth::Jwt {
            service: service.to_owned(),
            identity: identity.map(str::to_owned),
        };
        assert_eq!(plan(&[]).auth, jwt("kube", None));
        assert_eq!(
            plan(&[("authnId", "kube"), ("identity", "host/shop-app")]).auth,
            jwt("kube", Some("host/shop-app"))
        );
        assert_eq!(plan(&[("authnId", "authn")]).auth, Auth::ApiKey);
        assert!(refusals(&[("authnId", "authn-k8s/kube")])[0].contains("authnId"));
        assert!(refusals(&[("authnId", "authn"), ("identity", "a")])[0].contains("identity"));
    }

    #[test]
    fn an_authority_is_written_out_or_a_file_and_each_is_another_store() {
        let (own, written) = (plan(&[]), plan(&[("sslCertificate", PEM)]));
        assert_eq!(own.server.name(), "https://conjur.conjur.svc.cluster.local account acme");
        assert!(written.server.name().contains(" ca sslCertificate "), "{}", written.server.name());
        let other = PEM.replace("MIIB", "MIIC");
        assert_ne!(plan(&[("sslCertificate", &other)]).server.name(), written.server.name());
        assert!(plan(&[("caCertPath", "ca.crt")]).server.name().ends_with(" ca ca.crt"));
        assert!(refusals(&[("sslCertificate", PEM), ("caCertPath", "a")])[0].contains("caCertPath"));
        for no_pem in ["MIIB", "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n"] {
            assert!(refusals(&[("sslCertificate", no_pem)])[0].contains("sslCertificate"), "{no_pem}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_all_at_once() {
        let told = refusals(&[
            ("applianceUrl", "conjur"),
            ("authnId", ""),
            ("conjur.org/configurationVersion", "0.3.0"),
            (SHARE, "all"),
            ("secrets", "- a: ''"),
            ("whatever", "a\nb"),
        ]);
        assert_eq!(told.len(), 6, "{told:#?}");
        let told = refusals(&[("account", "a:b"), ("objects", "- {objectName: a, variable: b}")]);
        assert!(told[0].contains("account") && told[1].contains("secrets is set too"), "{told:?}");
        assert!(refusals(&[("secrets", "")])[0].contains("annotation"));
        assert!(refusals(&[("versionNumbers", "perhaps")])[0].contains("versionNumbers"));
    }

    #[test]
    fn http_is_open_but_to_this_machine_and_to_the_administrators_own_address() {
        let exposure = |more: &[(&str, &str)], config: &ConjurConfig| {
            plan_of(more, config).unwrap().exposure.map(|exposure| exposure.is_allowed)
        };
        let open = [("applianceUrl", "http://conjur.example.com")];
        let network = Network { allow_insecure: true, ..Network::default() };
        let allowed = ConjurConfig { network, ..ConjurConfig::default() };
        assert_eq!(exposure(&open, &ConjurConfig::default()), Some(false));
        assert_eq!(exposure(&open, &allowed), Some(true));
        assert_eq!(exposure(&[("applianceUrl", "http://127.0.0.1:1")], &allowed), None);
        let own = ConjurConfig { url: Some("http://conjur.internal".to_owned()), ..ConjurConfig::default() };
        assert_eq!(exposure(&[("applianceUrl", "")], &own), None);
    }

    #[test]
    fn with_authn_jwt_nobody_shares_a_login_unless_the_class_says_so() {
        assert!(!plan(&[]).shares && plan(&[("authnId", "authn")]).shares);
        assert!(plan(&[(SHARE, "service-account")]).shares);
        assert!(!plan(&[("authnId", "authn"), (SHARE, "pod")]).shares);
    }

    #[test]
    fn a_parameter_that_nobody_reads_is_told() {
        let parameters = Parameters::from([("acount".to_owned(), "x".to_owned())]);
        assert!(unknown(&parameters)[0].remedy.contains("account"));
    }
}
