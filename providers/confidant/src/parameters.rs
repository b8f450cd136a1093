//! What a class says, understood.

use manifest::{objects as listed, parameters};
use provider::{Exposure, Invalid, ObjectRef, Parameters};
use provider_client::{CertificatePath, Tls, is_near, plain_address};
use url::Url;

use crate::config::ConfidantConfig;
use crate::declaration::DECLARATION;
use crate::objects::{self, Part};

/// The parameter that holds the class's `share` setting.
pub(crate) const SHARE: &str = "secretfs.dev/share";
/// Longest name of a service, of a key, of a context and of a role.
const LONGEST: usize = 2048;

/// A class's parameters, understood.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) server: Server,
    pub(crate) account: Account,
    /// Whether the pods of a service account share a login.
    pub(crate) shares: bool,
    pub(crate) objects: Vec<ObjectRef>,
    pub(crate) parts: Vec<Part>,
    pub(crate) exposure: Option<Exposure>,
}

/// A server, and how to verify it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Server {
    /// The address without a slash at its end.
    pub(crate) address: String,
    pub(crate) tls: Tls,
}

/// As whom one reads.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Account {
    pub(crate) service: String,
    pub(crate) key: String,
    pub(crate) context: String,
    pub(crate) region: String,
    /// The role that is assumed with the pod's token. `None`: an access key comes with the volume.
    pub(crate) role: Option<String>,
}

impl Server {
    /// Everything that decides which server answers.
    pub(crate) fn name(&self) -> String {
        format!("{}{}", self.address, self.tls)
    }
}

impl Plan {
    /// Understands `parameters` of a class, offline.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with them. Never empty.
    pub(crate) fn new(parameters: &Parameters, config: &ConfidantConfig) -> Result<Self, Vec<Invalid>> {
        let mut errors = parameters::unknown(&DECLARATION, parameters);
        let class = Class { parameters, config };
        let server = kept(&mut errors, class.server());
        let account = class.account().map_err(|found| errors.extend(found)).ok();
        let shares = kept(&mut errors, class.shares());
        let service = class.text("service").unwrap_or_default();
        let objects = class.objects(service).map_err(|found| errors.extend(found)).ok();
        errors.extend(parameters::odd(parameters, listed::PARAMETER, |text| text));
        match (server, account, shares, objects) {
            (Some(server), Some(account), Some(shares), Some((objects, parts))) if errors.is_empty() => {
                let exposure = class.exposure(&server);
                Ok(Self { server, account, shares, objects, parts, exposure })
            }
            _ => Err(errors),
        }
    }
}

fn kept<T>(errors: &mut Vec<Invalid>, outcome: Result<T, Invalid>) -> Option<T> {
    outcome.map_err(|found| errors.push(found)).ok()
}

struct Class<'a> {
    parameters: &'a Parameters,
    config: &'a ConfidantConfig,
}

impl<'a> Class<'a> {
    /// A parameter that is there and not empty.
    fn text(&self, key: &str) -> Option<&'a str> {
        self.parameters.get(key).map(String::as_str).filter(|text| !text.is_empty())
    }

    fn required(&self, key: &str) -> Result<String, Invalid> {
        let example = DECLARATION.parameter(key).map_or("", |key| key.example);
        let remedy = format!("write it as {example}");
        match self.text(key) {
            Some(text) if text.len() > LONGEST => Err(Invalid::new(key, "it is too long", remedy)),
            Some(text) => Ok(text.to_owned()),
            None => Err(Invalid::new(key, "it is missing", remedy)),
        }
    }

    fn server(&self) -> Result<Server, Invalid> {
        let raw = self.text("url").or(self.config.url.as_deref());
        let remedy = "write it as https://confidant.example.com";
        let raw = raw.ok_or_else(|| Invalid::new("url", "it is missing", remedy))?;
        let address = plain_address(raw).map_err(|reason| Invalid::new("url", reason, remedy))?;
        const KEY: &str = "caCertPath";
        let ca = match self.text(KEY) {
            Some(raw) => Some(CertificatePath::of_class(KEY, raw, self.config.network.tls_dir.as_deref())?),
            None => self.config.ca.clone().map(CertificatePath::Own),
        };
        Ok(Server { address, tls: Tls { ca, ..Tls::default() } })
    }

    fn account(&self) -> Result<Account, Vec<Invalid>> {
        let mut errors = Vec::new();
        let service = kept(&mut errors, self.service());
        let key = kept(&mut errors, self.required("authKey"));
        let context = kept(&mut errors, self.required("authContext"));
        let region = kept(&mut errors, self.region());
        let role = self.text("roleArn").map(str::to_owned);
        match (service, key, context, region) {
            (Some(service), Some(key), Some(context), Some(region)) => {
                Ok(Account { service, key, context, region, role })
            }
            _ => Err(errors),
        }
    }

    /// In the name by which a token is shown, `/` and `:` separate parts.
    fn service(&self) -> Result<String, Invalid> {
        let service = self.required("service")?;
        if service.contains(['/', ':']) {
            return Err(Invalid::new("service", "it is no name of a service", "write it without / and :"));
        }
        Ok(service)
    }

    /// It becomes a part of a host's name.
    fn region(&self) -> Result<String, Invalid> {
        let region = self.required("region")?;
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if region.len() <= 32 && region.bytes().all(plain) {
            Ok(region)
        } else {
            Err(Invalid::new("region", "it is no region of AWS", "write it as us-east-1"))
        }
    }

    fn shares(&self) -> Result<bool, Invalid> {
        match self.text(SHARE) {
            None | Some("service-account") => Ok(true),
            Some("pod") => Ok(false),
            Some(_) => Err(Invalid::new(SHARE, "it is neither", "write service-account or pod")),
        }
    }

    fn objects(&self, service: &str) -> Result<(Vec<ObjectRef>, Vec<Part>), Vec<Invalid>> {
        match self.text(listed::PARAMETER) {
            Some(text) => objects::read(text, service),
            None => {
                let remedy = "list at least one object with objectName, credential and key";
                Err(vec![Invalid::new(listed::PARAMETER, "it is missing", remedy)])
            }
        }
    }

    /// What the class's author, and not the administrator, asks for that leaves the way open.
    fn exposure(&self, server: &Server) -> Option<Exposure> {
        self.text("url")?;
        let url = Url::parse(&server.address).ok()?;
        let is_open = url.scheme() == "http" && !url.host().is_some_and(|host| is_near(&host));
        let asked = Invalid::new(
            "url",
            "it is http: whoever is on the way reads the pod's token and the secrets",
            "write https://, and the server's authority in caCertPath",
        );
        is_open.then_some(Exposure { asked, is_allowed: self.config.network.allow_insecure })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLASS: [(&str, &str); 6] = [
        ("url", "https://confidant.example.com/"),
        ("service", "shop-production"),
        ("authKey", "alias/authnz"),
        ("authContext", "confidant-production"),
        ("region", "us-east-1"),
        ("objects", "- {objectName: a}"),
    ];

    fn plan(more: &[(&str, &str)]) -> Result<Plan, Vec<Invalid>> {
        let all = CLASS.iter().chain(more).copied();
        let all = all.map(|(key, text)| (key.to_owned(), text.to_owned())).collect();
        Plan::new(&all, &ConfidantConfig::default())
    }

    fn refusals(more: &[(&str, &str)]) -> Vec<String> {
        plan(more).unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_class_says_who_the_service_is_and_how_its_tokens_are_made() {
        let plan = plan(&[("roleArn", "arn:aws:iam::1:role/shop"), (SHARE, "pod")]).unwrap();
        assert_eq!(plan.server.name(), "https://confidant.example.com");
        assert_eq!(plan.account.role.as_deref(), Some("arn:aws:iam::1:role/shop"));
        assert!(!plan.shares && plan.exposure.is_none());
        assert_eq!(&*plan.objects[0].request.text, "shop-production");
    }

    #[test]
    fn what_is_wrong_is_told_all_at_once() {
        let told = refusals(&[
            ("url", "confidant"),
            ("service", "a/b"),
            ("authKey", ""),
            ("authContext", ""),
            ("region", "eu.example.com"),
            (SHARE, "all"),
            ("objects", ""),
            ("serivce", "x"),
        ]);
        assert_eq!(told.len(), 8, "{told:#?}");
        assert!(told[0].contains("service"), "{}", told[0]);
    }

    #[test]
    fn http_is_open_but_to_this_machine() {
        assert!(plan(&[("url", "http://confidant.example.com")]).unwrap().exposure.is_some());
        assert!(plan(&[("url", "http://127.0.0.1:1")]).unwrap().exposure.is_none());
    }
}
