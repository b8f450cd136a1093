use std::collections::BTreeMap;

use manifest::go_boolean;
use manifest::parameters::{self, kept};
use provider::{Ciphertext, Exposure, Invalid, ObjectRef, Parameters, Tree};
use provider_client::{CertificatePath, Tls, plain_address};

use crate::arn;
use crate::call::Call;
use crate::config::AwsConfig;
use crate::declaration::DECLARATION;
use crate::exposure;
use crate::objects::{self, Around};
use crate::opened;
use crate::region::{Region, Service};
use crate::translation::Translation;

/// Key under which the class's `auth` setting arrives.
pub const AUTH: &str = "secretfs.dev/auth";
/// Key under which the class's `share` setting arrives.
pub const SHARE: &str = "secretfs.dev/share";
/// Key under which the class's `probe` setting arrives.
pub const PROBE: &str = "secretfs.dev/probe";
/// The one parameter of several lines.
const OBJECTS: &str = manifest::objects::PARAMETER;

/// Most tags of a session, as STS has it.
const MAX_TAGS: usize = 50;

/// A class's parameters, understood.
#[derive(Debug)]
pub struct Plan {
    pub(crate) regions: Regions,
    pub(crate) endpoints: Endpoints,
    pub(crate) exposure: Option<Exposure>,
    pub(crate) auth: Auth,
    pub(crate) objects: Vec<ObjectRef>,
    /// What the class lists.
    pub(crate) trees: Vec<Tree>,
    /// Whether it is for keys, and not for objects of a class.
    keyring: bool,
}

/// Where to ask, and where else while that is out.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Regions {
    pub(crate) first: Region,
    pub(crate) failover: Option<Region>,
}

/// Where services are, and how to be sure that it is they.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Endpoints {
    /// Instead of AWS's own; `{service}` and `{region}` in it stand for theirs.
    pub(crate) custom: Option<String>,
    pub(crate) fips: bool,
    pub(crate) tls: Tls,
}

/// How to become somebody at AWS.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Auth {
    /// Where the class says one.
    pub(crate) method: Option<Method>,
    /// The role for the pod's token, where the class names one.
    pub(crate) role: Option<String>,
    /// The role that is taken on from there.
    pub(crate) second: Option<SecondRole>,
    pub(crate) share: Option<Share>,
    pub(crate) family: Family,
}

/// Where credentials come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Method {
    /// STS, for the pod's token (IAM roles for service accounts).
    WebIdentity,
    /// The agent of EKS Pod Identity, for the pod's token.
    PodIdentity,
    /// The volume: an access key.
    Keys,
    /// The machine: its instance role.
    Node,
}

/// A role in another account, say.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct SecondRole {
    pub(crate) arn: String,
    pub(crate) external_id: Option<String>,
    pub(crate) tags: BTreeMap<String, String>,
}

/// Who may share a login, where the class says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Share {
    ServiceAccount,
    Pod,
}

/// By which kind of address the Pod Identity agent is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Family {
    Either,
    V4,
    V6,
}

impl Regions {
    /// The name of the first one, or of the other one.
    pub(crate) fn of(&self, other: bool) -> Option<&str> {
        if other { self.failover.as_ref().map(Region::as_str) } else { Some(self.first.as_str()) }
    }
}

impl Endpoints {
    /// Where `service` is in `region`.
    pub(crate) fn address(&self, service: Service, region: &Region) -> String {
        match &self.custom {
            Some(custom) => custom.replace("{service}", service.name()).replace("{region}", region.as_str()),
            None => region.address(service, self.fips),
        }
    }
}

impl Plan {
    /// Understands `parameters` of a class, offline.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with them. Never empty.
    pub fn new(parameters: &Parameters, config: &AwsConfig) -> Result<Self, Vec<Invalid>> {
        let class = Class { parameters, config };
        Self::with(class, |regions| class.objects(regions))
    }

    /// The same for a class that reads what `ciphertexts` of KMS hold. A login through it decrypts, also without any.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    #[cfg_attr(not(feature = "client"), expect(dead_code, reason = "only a provider decrypts"))]
    pub(crate) fn of_keys(
        parameters: &Parameters,
        config: &AwsConfig,
        ciphertexts: &[Ciphertext],
    ) -> Result<Self, Vec<Invalid>> {
        let objects = |at: &Regions| Ok((opened::objects(ciphertexts, at.first.as_str())?, Vec::new()));
        Ok(Self { keyring: true, ..Self::with(Class { parameters, config }, objects)? })
    }

    /// Whether a login through it decrypts.
    #[cfg_attr(not(feature = "client"), expect(dead_code, reason = "only the client logs in"))]
    pub(crate) fn decrypts(&self) -> bool {
        let is_opened =
            |object: &ObjectRef| Call::of_request(&object.request).is_some_and(|call| call.opened.is_some());
        self.keyring || self.objects.iter().any(is_opened)
    }

    fn with(
        class: Class<'_>,
        objects: impl FnOnce(&Regions) -> Result<(Vec<ObjectRef>, Vec<Tree>), Vec<Invalid>>,
    ) -> Result<Self, Vec<Invalid>> {
        let mut errors = Vec::new();
        let Class { parameters, config } = class;
        let regions = kept(&mut errors, class.regions());
        let endpoints = kept(&mut errors, class.endpoints());
        let auth = kept(&mut errors, class.auth());
        let objects = regions.as_ref().and_then(|regions| kept(&mut errors, objects(regions)));
        errors.extend(parameters::odd(parameters, OBJECTS, |text| text));
        match (regions, endpoints, auth, objects) {
            (Some(regions), Some(endpoints), Some(auth), Some((objects, mut trees))) if errors.is_empty() => {
                let exposure = exposure::of(endpoints.custom.as_deref(), config);
                for tree in &mut trees {
                    let service = Call::of_request(&tree.request).map(|call| call.service);
                    tree.address =
                        service.map(|of| endpoints.address(of, &regions.first)).unwrap_or_default();
                }
                Ok(Self { regions, endpoints, exposure, auth, objects, trees, keyring: false })
            }
            _ => Err(errors),
        }
    }
}

/// Keys of a class and of its objects that nobody reads: they may be others, misspelt.
pub(crate) fn unknown(parameters: &Parameters) -> Vec<Invalid> {
    parameters::unknown_everywhere(&DECLARATION, parameters, OBJECTS, objects::unknown)
}

#[derive(Clone, Copy)]
struct Class<'a> {
    parameters: &'a Parameters,
    config: &'a AwsConfig,
}

impl<'a> Class<'a> {
    fn text(&self, key: &str) -> Option<&'a str> {
        parameters::text(&DECLARATION, self.parameters, key)
    }

    fn regions(&self) -> Result<Regions, Vec<Invalid>> {
        const REMEDY: &str = "write it as eu-west-1";
        let Some(raw) = self.text("region").or(self.config.region.as_deref()) else {
            return Err(invalid(
                "region",
                "it is missing and secretfs has no default (--aws-region)",
                REMEDY,
            ));
        };
        let region =
            |key, raw| Region::new(raw).ok_or_else(|| invalid(key, "it is no name of a region", REMEDY));
        let first = region("region", raw)?;
        let failover = self.text("failoverRegion").map(|raw| region("failoverRegion", raw)).transpose()?;
        if failover.as_ref() == Some(&first) {
            return Err(invalid(
                "failoverRegion",
                "it is the region itself",
                "name another region, or remove it",
            ));
        }
        Ok(Regions { first, failover })
    }

    fn endpoints(&self) -> Result<Endpoints, Vec<Invalid>> {
        const REMEDY: &str = "write it as https://{service}.{region}.example.com";
        let custom = match self.text("endpoint") {
            Some(raw) => Some(endpoint(raw).map_err(|reason| invalid("endpoint", reason, REMEDY))?),
            None => self.config.endpoint.clone(),
        };
        let fips = self.boolean("useFIPSEndpoint")?.unwrap_or(self.config.fips);
        let ca = self.authorities()?.or_else(|| self.config.ca.clone().map(CertificatePath::Own));
        Ok(Endpoints { custom, fips, tls: Tls { ca, ..Tls::default() } })
    }

    fn authorities(&self) -> Result<Option<CertificatePath>, Vec<Invalid>> {
        const KEY: &str = "caCertPath";
        let path = |raw| CertificatePath::of_class(KEY, raw, self.config.network.tls_dir.as_deref());
        self.text(KEY).map(path).transpose().map_err(|error| vec![error])
    }

    fn auth(&self) -> Result<Auth, Vec<Invalid>> {
        let mut errors = Vec::new();
        let method = kept(&mut errors, self.method());
        let role = kept(&mut errors, self.role("roleArn"));
        let second = kept(&mut errors, self.second());
        let share = kept(&mut errors, self.share());
        match (method, role, second, share) {
            (Some(method), Some(role), Some(second), Some(share)) => {
                Ok(Auth { method, role, second, share, family: self.family() })
            }
            _ => Err(errors),
        }
    }

    fn method(&self) -> Result<Option<Method>, Vec<Invalid>> {
        let of_pod_identity = self.boolean("usePodIdentity")?;
        let said = match self.text(AUTH) {
            None => None,
            Some("irsa") => Some(Method::WebIdentity),
            Some("pod-identity") => Some(Method::PodIdentity),
            Some("keys") => Some(Method::Keys),
            Some("node") => Some(Method::Node),
            Some(_) => {
                return Err(invalid(
                    AUTH,
                    "it is no login method we know",
                    "write irsa, pod-identity, keys or node",
                ));
            }
        };
        match (said, of_pod_identity) {
            (Some(Method::WebIdentity | Method::Keys | Method::Node), Some(true)) => {
                Err(invalid("usePodIdentity", "secretfs.dev/auth says another method", "keep one of them"))
            }
            (None, Some(true)) => Ok(Some(Method::PodIdentity)),
            (said, _) => Ok(said),
        }
    }

    fn role(&self, key: &str) -> Result<Option<String>, Vec<Invalid>> {
        match self.text(key) {
            Some(raw) if !arn::is_role(raw) => {
                Err(invalid(key, "it is no ARN of a role", "write it as arn:aws:iam::111122223333:role/shop"))
            }
            role => Ok(role.map(str::to_owned)),
        }
    }

    fn second(&self) -> Result<Option<SecondRole>, Vec<Invalid>> {
        let (external_id, tags) = (self.text("externalId").map(str::to_owned), self.tags()?);
        match self.role("assumeRoleArn")? {
            Some(arn) => Ok(Some(SecondRole { arn, external_id, tags })),
            None if external_id.is_some() => Err(alone("externalId")),
            None if !tags.is_empty() => Err(alone("sessionTags")),
            None => Ok(None),
        }
    }

    /// `key=value` pairs, separated by commas.
    fn tags(&self) -> Result<BTreeMap<String, String>, Vec<Invalid>> {
        let refuse = |reason| Err(invalid("sessionTags", reason, "write it as team=shop,stage=prod"));
        let mut tags = BTreeMap::new();
        for pair in
            self.text("sessionTags").unwrap_or_default().split(',').filter(|pair| !pair.trim().is_empty())
        {
            match pair.split_once('=').map(|(key, value)| (key.trim(), value.trim())) {
                Some((key, value)) if !key.is_empty() && key.len() <= 128 && value.len() <= 256 => {
                    if tags.insert(key.to_owned(), value.to_owned()).is_some() {
                        return refuse("a tag is there twice");
                    }
                }
                _ => return refuse("it is no list of tags"),
            }
        }
        if tags.len() > MAX_TAGS { refuse("STS takes no more than 50 tags") } else { Ok(tags) }
    }

    fn share(&self) -> Result<Option<Share>, Vec<Invalid>> {
        match self.text(SHARE) {
            None => Ok(None),
            Some("service-account") => Ok(Some(Share::ServiceAccount)),
            Some("pod") => Ok(Some(Share::Pod)),
            Some(_) => Err(invalid(SHARE, "it is neither", "write service-account or pod")),
        }
    }

    /// What upstream does not know is as good as none.
    fn family(&self) -> Family {
        match self.text("preferredAddressType").map(str::to_ascii_lowercase).as_deref() {
            Some("ipv4") => Family::V4,
            Some("ipv6") => Family::V6,
            _ => Family::Either,
        }
    }

    fn boolean(&self, key: &str) -> Result<Option<bool>, Vec<Invalid>> {
        self.text(key).map(|raw| go_boolean(key, raw)).transpose().map_err(|error| vec![error])
    }

    fn probe(&self) -> Result<bool, Vec<Invalid>> {
        match self.text(PROBE) {
            None | Some("batch") => Ok(false),
            Some("describe") => Ok(true),
            Some(_) => Err(invalid(PROBE, "it is neither", "write batch or describe")),
        }
    }

    fn objects(&self, regions: &Regions) -> Result<(Vec<ObjectRef>, Vec<Tree>), Vec<Invalid>> {
        let translation = Translation::new(self.text("pathTranslation")).map_err(|reason| {
            invalid("pathTranslation", reason, "write one character, or \"False\" to keep slashes")
        })?;
        let around = Around { regions, translation, probe: self.probe()? };
        match self.text(OBJECTS) {
            Some(text) => objects::read(text, &around),
            None => Err(invalid(OBJECTS, "it is missing", "list at least one object")),
        }
    }
}

/// An address whose placeholders are those we know.
pub(crate) fn endpoint(raw: &str) -> Result<String, &'static str> {
    let filled = raw.replace("{service}", "service").replace("{region}", "region");
    if filled.contains(['{', '}']) {
        return Err("it has a placeholder that is neither {service} nor {region}");
    }
    plain_address(&filled)?;
    Ok(raw.trim().trim_end_matches('/').to_owned())
}

fn alone(key: &str) -> Vec<Invalid> {
    invalid(key, "it is for assumeRoleArn, which is missing", "set assumeRoleArn, or remove it")
}

fn invalid(key: &str, reason: &str, remedy: &str) -> Vec<Invalid> {
    vec![Invalid::new(key, reason, remedy)]
}

#[cfg(test)]
mod tests;
