//! What a class says, understood.

use manifest::{objects as listed, parameters};
use provider::{Invalid, ObjectRef, Parameters};
use provider_client::{CertificatePath, Tls, plain_address};

use crate::config::CyberArkConfig;
use crate::declaration::DECLARATION;
use crate::objects;

/// The web service as CyberArk installs it.
const WEB_SERVICE: &str = "AIMWebService";
/// Longest name of an application.
const LONGEST: usize = 256;
const CERTIFICATE: &str = "clientCertPath";
const KEY: &str = "clientKeyPath";

/// A class's parameters, understood.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) server: Server,
    pub(crate) application: String,
    pub(crate) objects: Vec<ObjectRef>,
    /// What each of them shows of its account.
    pub(crate) properties: Vec<String>,
}

/// A web service, and how to verify it and to be known by it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Server {
    /// The address without a slash at its end.
    pub(crate) address: String,
    pub(crate) web_service: String,
    pub(crate) tls: Tls,
}

impl Server {
    /// Everything that decides which server answers, and the certificate's place if the class names one.
    pub(crate) fn name(&self) -> String {
        format!("{}/{}{}", self.address, self.web_service, self.tls)
    }

    /// Whether the client certificate is on this node, and does not come with the volume.
    pub(crate) fn has_certificate(&self) -> bool {
        self.tls.client_certificate.is_some()
    }
}

impl Plan {
    /// Understands `parameters` of a class in `namespace`, offline.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with them. Never empty.
    pub(crate) fn new(
        namespace: &str,
        parameters: &Parameters,
        config: &CyberArkConfig,
    ) -> Result<Self, Vec<Invalid>> {
        let mut errors = parameters::unknown(&DECLARATION, parameters);
        let class = Class { namespace, parameters, config };
        let server = class.server().map_err(|fault| errors.push(fault)).ok();
        let application = class.application().map_err(|fault| errors.push(fault)).ok();
        let objects = class.objects().map_err(|found| errors.extend(found)).ok();
        errors.extend(parameters::odd(parameters, listed::PARAMETER, |text| text));
        match (server, application, objects) {
            (Some(server), Some(application), Some((objects, properties))) if errors.is_empty() => {
                Ok(Self { server, application, objects, properties })
            }
            _ => Err(errors),
        }
    }
}

struct Class<'a> {
    namespace: &'a str,
    parameters: &'a Parameters,
    config: &'a CyberArkConfig,
}

impl<'a> Class<'a> {
    /// A parameter that is there and not empty.
    fn text(&self, key: &str) -> Option<&'a str> {
        self.parameters.get(key).map(String::as_str).filter(|text| !text.is_empty())
    }

    fn server(&self) -> Result<Server, Invalid> {
        const REMEDY: &str = "write it as https://ccp.example.com";
        let raw = self.text("url").or(self.config.url.as_deref());
        let raw = raw.ok_or_else(|| Invalid::new("url", "it is missing", REMEDY))?;
        let address = plain_address(raw).map_err(|reason| Invalid::new("url", reason, REMEDY))?;
        if !address.starts_with("https://") {
            let reason = "it is not https, and an application is known by its certificate";
            return Err(Invalid::new("url", reason, REMEDY));
        }
        let web_service = self.text("webService").unwrap_or(WEB_SERVICE).to_owned();
        if web_service.contains('/') {
            return Err(Invalid::new("webService", "it is no name", "write it as AIMWebService"));
        }
        let [client_certificate, client_key] = self.pair()?;
        let tls = Tls { ca: self.authorities()?, client_certificate, client_key, ..Tls::default() };
        Ok(Server { address, web_service, tls })
    }

    fn authorities(&self) -> Result<Option<CertificatePath>, Invalid> {
        const CA: &str = "caCertPath";
        match self.text(CA) {
            Some(raw) => CertificatePath::of_class(CA, raw, self.config.network.tls_dir.as_deref()).map(Some),
            None => Ok(self.config.ca.clone().map(CertificatePath::Own)),
        }
    }

    /// The certificate and its key, which only this namespace may use.
    fn pair(&self) -> Result<[Option<CertificatePath>; 2], Invalid> {
        match (self.text(CERTIFICATE), self.text(KEY)) {
            (None, None) => Ok([None, None]),
            (Some(certificate), Some(key)) => {
                Ok([Some(self.own_file(CERTIFICATE, certificate)?), Some(self.own_file(KEY, key)?)])
            }
            _ => {
                let reason = "a client certificate and its key come together";
                Err(Invalid::new(CERTIFICATE, reason, "set clientCertPath and clientKeyPath"))
            }
        }
    }

    fn own_file(&self, key: &str, raw: &str) -> Result<CertificatePath, Invalid> {
        let tls_dir = self.config.network.tls_dir.as_deref();
        CertificatePath::of_namespace(raw, tls_dir, self.namespace).ok_or_else(|| {
            let remedy = format!("write a path below --tls-dir/{}", self.namespace);
            Invalid::new(key, "it leaves the folder of its namespace's client certificates", remedy)
        })
    }

    fn application(&self) -> Result<String, Invalid> {
        match self.text("appId") {
            Some(text) if text.len() <= LONGEST => Ok(text.to_owned()),
            Some(_) => Err(Invalid::new("appId", "it is too long", "write the application's name")),
            None => Err(Invalid::new("appId", "it is missing", "write the application's name")),
        }
    }

    fn objects(&self) -> Result<(Vec<ObjectRef>, Vec<String>), Vec<Invalid>> {
        match self.text(listed::PARAMETER) {
            Some(text) => objects::read(text, self.text("safe")),
            None => {
                let remedy = "list at least one object with objectName and object";
                Err(vec![Invalid::new(listed::PARAMETER, "it is missing", remedy)])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(more: &[(&str, &str)]) -> Result<Plan, Vec<Invalid>> {
        let class = [
            ("url", "https://ccp.example.com/"),
            ("appId", "shop"),
            ("safe", "Shop"),
            ("objects", "- {objectName: a, object: db}"),
        ];
        let all = class.iter().chain(more).map(|(key, text)| ((*key).to_owned(), (*text).to_owned()));
        Plan::new("shop", &all.collect(), &CyberArkConfig::default())
    }

    fn refusals(more: &[(&str, &str)]) -> Vec<String> {
        plan(more).unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_certificate_is_of_the_namespace_or_comes_with_the_volume() {
        let own = plan(&[("clientCertPath", "tls.crt"), ("clientKeyPath", "tls.key")]).unwrap();
        assert!(own.server.has_certificate() && !plan(&[]).unwrap().server.has_certificate());
        assert_eq!(
            own.server.name(),
            "https://ccp.example.com/AIMWebService client certificate shop/tls.crt"
        );
        assert!(refusals(&[("clientCertPath", "tls.crt")])[0].contains("come together"));
        assert!(
            refusals(&[("clientCertPath", "../tls.crt"), ("clientKeyPath", "k")])[0]
                .contains("--tls-dir/shop")
        );
    }

    #[test]
    fn what_is_wrong_is_told_all_at_once_and_http_is_never_right() {
        assert!(refusals(&[("url", "http://127.0.0.1")])[0].contains("it is not https"));
        let told = refusals(&[("url", "ccp"), ("appId", ""), ("objects", ""), ("sfae", "x")]);
        assert_eq!(told.len(), 4, "{told:#?}");
        assert!(refusals(&[("webService", "a/b")])[0].contains("webService"));
    }
}
