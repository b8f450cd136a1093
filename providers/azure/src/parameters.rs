use std::collections::BTreeSet;

use manifest::go_boolean;
use manifest::parameters::{self, kept};
use provider::{Exposure, Invalid, ObjectRef, Parameters, Tree};
use provider_client::{CertificatePath, Tls, is_near, plain_address};
use url::Url;

use crate::call::Call;
use crate::cloud::Cloud;
use crate::config::AzureConfig;
use crate::declaration::DECLARATION;
use crate::objects::{self, Around, Named, NoVault, Part, Read};

/// Key under which the class's `share` setting arrives.
pub(crate) const SHARE: &str = "secretfs.dev/share";
/// Key under which the class's `on-expired` setting arrives.
pub(crate) const ON_EXPIRED: &str = "secretfs.dev/on-expired";
/// The one parameter of several lines.
const OBJECTS: &str = objects::LISTING.parameter;
/// What the pod's token is for where a class does not say.
const AUDIENCE: &str = "api://AzureADTokenExchange";
/// Most vaults of one class: all of them together are its store.
const MOST_VAULTS: usize = 16;
/// Longest URL of a vault, in bytes.
const LONGEST_URL: usize = 300;
/// The flags of which at most one may be set.
const IDENTITIES: [&str; 3] = ["usePodIdentity", "useVMManagedIdentity", "useAzureTokenProxy"];

/// A class's parameters, understood.
#[derive(Debug)]
pub struct Plan {
    pub(crate) account: Account,
    pub(crate) audience: String,
    pub(crate) shares: bool,
    pub(crate) on_expired: OnExpired,
    pub(crate) exposure: Option<Exposure>,
    /// Every vault that is read, in order.
    pub(crate) vaults: Vec<String>,
    pub(crate) objects: Vec<ObjectRef>,
    pub(crate) parts: Vec<Part>,
    /// What the class lists.
    pub(crate) trees: Vec<Tree>,
}

/// What a login is for, and how to be sure of the servers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Account {
    /// URL of Entra ID.
    pub(crate) authority: String,
    /// What tokens are for.
    pub(crate) resource: String,
    pub(crate) scope: String,
    pub(crate) auth: Auth,
    pub(crate) tls: Tls,
}

/// How to log in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Auth {
    /// With the pod's token, as the application `client`.
    Federated { tenant: String, client: String },
    /// With an application's secret that came with the volume.
    Secret { tenant: String },
    /// As the machine, by one of its managed identities.
    Machine { client: Option<String> },
}

/// What becomes of files whose object has passed its expiry date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnExpired {
    Keep,
    Remove,
}

impl Plan {
    /// Understands `parameters`, offline.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with them. Never empty.
    pub fn new(parameters: &Parameters, config: &AzureConfig) -> Result<Self, Vec<Invalid>> {
        let class = Class { parameters, config };
        let mut errors: Vec<Invalid> =
            parameters::odd(parameters, OBJECTS, str::trim).into_iter().chain(class.refused()).collect();
        let auth = kept(&mut errors, class.auth());
        let tls = kept(&mut errors, class.tls());
        let shares = kept(&mut errors, class.shares());
        let on_expired = kept(&mut errors, class.on_expired());
        let cloud = kept(&mut errors, class.cloud());
        let read = cloud.as_ref().and_then(|cloud| kept(&mut errors, class.objects(cloud)));
        let (Some(auth), Some(tls), Some(shares), Some(on_expired), Some(cloud), Some(read)) =
            (auth, tls, shares, on_expired, cloud, read)
        else {
            return Err(errors);
        };
        if !errors.is_empty() {
            return Err(errors);
        }
        let (scope, Cloud { authority, resource, .. }) = (cloud.scope(), cloud);
        let account = Account { authority, resource, scope, auth, tls };
        let audience = class.text("audience").unwrap_or(AUDIENCE).to_owned();
        let Read { objects, parts, trees } = read;
        let vaults = vaults(&objects, &trees);
        if vaults.len() > MOST_VAULTS {
            let reason = format!("its objects are in {} vaults, more than {MOST_VAULTS}", vaults.len());
            return Err(vec![Invalid::new(OBJECTS, reason, "spread them over several classes")]);
        }
        let exposure = class.exposure(&vaults);
        Ok(Self { account, audience, shares, on_expired, exposure, vaults, objects, parts, trees })
    }
}

fn vaults(objects: &[ObjectRef], trees: &[Tree]) -> Vec<String> {
    let requests = objects.iter().map(|object| &object.request).chain(trees.iter().map(|tree| &tree.request));
    let calls = requests.filter_map(Call::of_request);
    calls.map(|call| call.vault).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Keys of a class and of its objects that nobody reads: they may be others, misspelt.
pub(crate) fn unknown(parameters: &Parameters) -> Vec<Invalid> {
    parameters::unknown_everywhere(&DECLARATION, parameters, OBJECTS, objects::unknown)
}

struct Class<'a> {
    parameters: &'a Parameters,
    config: &'a AzureConfig,
}

impl<'a> Class<'a> {
    /// A parameter that is there and not blank.
    fn text(&self, key: &str) -> Option<&'a str> {
        parameters::text(&DECLARATION, self.parameters, key).map(str::trim).filter(|text| !text.is_empty())
    }

    /// What upstream has and this version has not.
    fn refused(&self) -> impl Iterator<Item = Invalid> {
        let is_set = |key: &str| matches!(self.is(key), Ok(true));
        let told = [
            (
                is_set("usePodIdentity"),
                "usePodIdentity",
                "AAD Pod Identity is not supported: Microsoft has ended it",
                "use workload identity: remove it, and set clientID",
            ),
            (
                is_set("useAzureTokenProxy"),
                "useAzureTokenProxy",
                "identity bindings by the token proxy of AKS are not in this version",
                "use workload identity: remove it, and give the application a federated credential",
            ),
            (
                self.text("cloudEnvFileName").is_some(),
                "cloudEnvFileName",
                "a class names no file of the node",
                "have the administrator set --azure-authority, --azure-vault-url and --azure-vault-audience",
            ),
        ];
        let several = IDENTITIES.iter().filter(|key| is_set(key)).count() > 1;
        let several = several.then(|| {
            Invalid::new(
                IDENTITIES[1],
                "more than one identity is asked for",
                "keep one of the three use… flags",
            )
        });
        let wrong = IDENTITIES.iter().filter_map(|key| self.is(key).err());
        let told = told.into_iter().filter(|(asked, ..)| *asked);
        let told: Vec<_> = told.map(|(_, key, reason, remedy)| Invalid::new(key, reason, remedy)).collect();
        wrong.chain(told).chain(several)
    }

    fn is(&self, key: &str) -> Result<bool, Invalid> {
        self.text(key).map_or(Ok(false), |raw| go_boolean(key, raw))
    }

    fn cloud(&self) -> Result<Cloud, Invalid> {
        Cloud::of(self.text("cloudName"), self.config)
            .map_err(|(reason, remedy)| Invalid::new("cloudName", reason, remedy))
    }

    fn auth(&self) -> Result<Auth, Invalid> {
        if self.is("useVMManagedIdentity").unwrap_or(false) {
            return Ok(Auth::Machine { client: self.id("userAssignedIdentityID")? });
        }
        let tenant = self.tenant()?;
        Ok(match self.id("clientID")? {
            Some(client) => Auth::Federated { tenant, client },
            None => Auth::Secret { tenant },
        })
    }

    fn tenant(&self) -> Result<String, Invalid> {
        let key = if self.text("tenantID").is_some() { "tenantID" } else { "tenantId" };
        match self.id(key)? {
            None => Err(Invalid::new("tenantID", "it is missing", "write the id of the tenant")),
            Some(adfs) if adfs.eq_ignore_ascii_case("adfs") => {
                Err(Invalid::new(key, "AD FS is not supported", "use a tenant of Entra ID"))
            }
            tenant => Ok(tenant.unwrap_or_default()),
        }
    }

    /// An id: it becomes a part of paths and forms.
    fn id(&self, key: &str) -> Result<Option<String>, Invalid> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        let is_id = |text: &str| text.len() <= 128 && text.bytes().all(plain) && !text.contains("..");
        match self.text(key) {
            Some(text) if !is_id(text) => {
                Err(Invalid::new(key, "it is no id", "write it as 00000000-0000-0000-0000-000000000001"))
            }
            text => Ok(text.map(str::to_owned)),
        }
    }

    fn tls(&self) -> Result<Tls, Invalid> {
        const KEY: &str = "keyvaultCACertPath";
        let ca = match self.text(KEY) {
            Some(raw) => Some(CertificatePath::of_class(KEY, raw, self.config.network.tls_dir.as_deref())?),
            None => self.config.ca.clone().map(CertificatePath::Own),
        };
        Ok(Tls { ca, ..Tls::default() })
    }

    fn shares(&self) -> Result<bool, Invalid> {
        match self.text(SHARE) {
            None | Some("service-account") => Ok(true),
            Some("pod") => Ok(false),
            Some(_) => Err(Invalid::new(SHARE, "it is neither", "write service-account or pod")),
        }
    }

    fn on_expired(&self) -> Result<OnExpired, Invalid> {
        match self.text(ON_EXPIRED) {
            None | Some("keep") => Ok(OnExpired::Keep),
            Some("remove") => Ok(OnExpired::Remove),
            Some(_) => Err(Invalid::new(ON_EXPIRED, "it is neither", "write keep or remove")),
        }
    }

    fn objects(&self, cloud: &Cloud) -> Result<Read, Vec<Invalid>> {
        let separate_files = match self.text("certAndKeyInSeparateFiles") {
            None => self.config.separate_files,
            Some(_) => self.is("certAndKeyInSeparateFiles").map_err(|fault| vec![fault])?,
        };
        let own = self.own_vault(cloud).map_err(|fault| vec![fault])?;
        // What is wrong with it is told elsewhere.
        let on_expired = self.on_expired().unwrap_or(OnExpired::Keep);
        let vault = |named: Named<'_>| match (named, &own) {
            (Named::Name(name), _) => self.vault(cloud, name),
            (Named::Url(url), _) => self.url(url),
            (Named::Nothing, Some(own)) => Ok(own.clone()),
            (Named::Nothing, None) => {
                let reason = "neither the class nor the object names a vault".to_owned();
                Err(("keyvaultName", reason, "set keyvaultName among the parameters"))
            }
        };
        match self.text(OBJECTS) {
            Some(text) => objects::read(text, &Around { vault, separate_files, on_expired }),
            None => Err(vec![Invalid::new(OBJECTS, "it is missing", "list at least one object")]),
        }
    }

    /// The vault of the class, if it names one.
    fn own_vault(&self, cloud: &Cloud) -> Result<Option<String>, Invalid> {
        let vault = match (self.text("keyvaultURL"), self.text("keyvaultName")) {
            (Some(url), _) => self.url(url),
            (None, Some(name)) => self.vault(cloud, name),
            (None, None) => return Ok(None),
        };
        vault.map(Some).map_err(|(key, reason, remedy)| Invalid::new(key, reason, remedy))
    }

    #[expect(clippy::unused_self, reason = "it stands beside the other way to name a vault")]
    fn vault(&self, cloud: &Cloud, name: &str) -> Result<String, NoVault> {
        let remedy = "write the name alone, such as shop-kv";
        cloud.vault(name).map_err(|reason| ("keyvaultName", reason.to_owned(), remedy))
    }

    /// The machine's token opens whatever the machine may open: it goes where the administrator says, and not where a
    /// class says.
    fn url(&self, raw: &str) -> Result<String, NoVault> {
        if self.is("useVMManagedIdentity").unwrap_or(false) {
            let reason = "the machine's identity is shown to the cloud's own vaults only".to_owned();
            return Err((
                "keyvaultURL",
                reason,
                "write keyvaultName; --azure-vault-url of the node says where vaults are",
            ));
        }
        let remedy = "write it as https://vault.example.com";
        match plain_address(raw) {
            Ok(url) if url.len() > LONGEST_URL => {
                Err(("keyvaultURL", format!("it is longer than {LONGEST_URL} bytes"), remedy))
            }
            url => url.map_err(|reason| ("keyvaultURL", reason.to_owned(), remedy)),
        }
    }

    /// The first vault on whose way others could read. The administrator's own addresses need no leave: the author of
    /// a class could as well send the same tokens to a server of their own, whose certificate verifies.
    fn exposure(&self, vaults: &[String]) -> Option<Exposure> {
        let is_own = |vault: &str| {
            self.config
                .vault_url
                .as_deref()
                .is_some_and(|own| own.starts_with("http://") && is_made_of(vault, own))
        };
        let is_open = |vault: &&String| {
            vault.starts_with("http://")
                && !Url::parse(vault).is_ok_and(|url| url.host().is_some_and(|host| is_near(&host)))
                && !is_own(vault)
        };
        vaults.iter().find(is_open).map(|vault| Exposure {
            asked: Invalid::new(
                "keyvaultURL",
                format!("{vault} is http: whoever is on the way reads the access token and the secrets"),
                "write https://, and the server's authority in keyvaultCACertPath",
            ),
            is_allowed: self.config.network.allow_insecure,
        })
    }
}

/// Whether `vault` is what the administrator's address makes of some name.
fn is_made_of(vault: &str, own: &str) -> bool {
    let (begin, end) = own.trim_end_matches('/').split_once(crate::cloud::NAME).unwrap_or((own, ""));
    let name = vault.strip_prefix(begin).and_then(|rest| rest.strip_suffix(end));
    name.is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'))
}

#[cfg(test)]
mod tests {
    use provider::Network;

    use super::*;

    const ONE: &str = "array:\n- |\n  objectName: a\n  objectType: secret\n";

    fn parameters(more: &[(&str, &str)]) -> Parameters {
        let sound = [("keyvaultName", "shop-kv"), ("tenantID", "t-1"), ("clientID", "c-1"), ("objects", ONE)];
        sound.iter().chain(more).map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect()
    }

    fn plan(more: &[(&str, &str)]) -> Result<Plan, Vec<Invalid>> {
        Plan::new(&parameters(more), &AzureConfig::default())
    }

    fn faults(more: &[(&str, &str)]) -> Vec<String> {
        plan(more).unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn trap_token_audience_looked_up_is_that_of_entras_token_exchange() {
        assert_eq!(plan(&[]).unwrap().audience, "api://AzureADTokenExchange");
        assert_eq!(plan(&[("audience", "api://Gov")]).unwrap().audience, "api://Gov");
    }

    #[test]
    fn trap_uses_node_publish_secret_ref_where_no_client_id_asks_for_the_pods_token() {
        let auth = |more| plan(more).unwrap().account.auth;
        assert_eq!(auth(&[]), Auth::Federated { tenant: "t-1".to_owned(), client: "c-1".to_owned() });
        assert_eq!(auth(&[("clientID", " ")]), Auth::Secret { tenant: "t-1".to_owned() });
    }

    #[test]
    fn the_older_name_of_the_tenant_is_read_where_the_newer_is_blank() {
        for (tenant, expected) in [("", "t-old"), ("t-2", "t-2")] {
            let auth = plan(&[("tenantID", tenant), ("tenantId", "t-old")]).unwrap().account.auth;
            assert_eq!(auth, Auth::Federated { tenant: expected.to_owned(), client: "c-1".to_owned() });
        }
        assert!(faults(&[("tenantID", "")])[0].contains("tenantID: it is missing"));
        assert!(faults(&[("tenantID", "adfs")])[0].contains("AD FS"));
        assert!(faults(&[("tenantID", "a/../b")])[0].contains("it is no id"));
    }

    #[test]
    fn identities_that_are_gone_are_refused_with_what_to_use_instead() {
        for flag in ["usePodIdentity", "useAzureTokenProxy"] {
            assert!(faults(&[(flag, "true")])[0].contains("workload identity"), "{flag}");
            plan(&[(flag, "false")]).unwrap();
            assert!(faults(&[(flag, "yes")])[0].contains("no boolean"), "{flag}");
        }
        let both = faults(&[("usePodIdentity", "true"), ("useVMManagedIdentity", "true")]);
        assert!(both.iter().any(|fault| fault.contains("more than one")), "{both:?}");
    }

    #[test]
    fn the_machines_identity_is_shown_to_no_vault_that_a_class_says_where_it_is() {
        let machine = ("useVMManagedIdentity", "true");
        let auth =
            plan(&[machine, ("tenantID", ""), ("userAssignedIdentityID", "m-1")]).unwrap().account.auth;
        assert_eq!(auth, Auth::Machine { client: Some("m-1".to_owned()) });

        let told = faults(&[machine, ("keyvaultURL", "https://evil.example.com")]);
        assert!(told[0].contains("keyvaultURL"), "{told:?}");
        let inner =
            "array:\n- |\n  objectName: a\n  objectType: secret\n  keyvaultURL: https://evil.example.com\n";
        assert!(faults(&[machine, ("objects", inner)])[0].contains("objects[0].keyvaultURL"));
    }

    #[test]
    fn a_vault_over_http_is_told_and_needs_leave_unless_it_is_near_or_the_administrators() {
        let is_allowed = |url: &str, config: &AzureConfig| {
            let plan = Plan::new(&parameters(&[("keyvaultURL", url)]), config).unwrap();
            plan.exposure.map(|exposure| exposure.is_allowed)
        };
        let own = AzureConfig { vault_url: Some("http://kv/NAME".to_owned()), ..AzureConfig::default() };
        let network = Network { allow_insecure: true, ..Network::default() };
        let open = AzureConfig { network, ..AzureConfig::default() };

        assert_eq!(is_allowed("http://kv/shop", &AzureConfig::default()), Some(false));
        assert_eq!(is_allowed("http://kv/shop", &open), Some(true));
        assert_eq!(is_allowed("http://kv/shop", &own), None);
        assert_eq!(is_allowed("http://kv/shop/x", &own), Some(false));
        assert_eq!(is_allowed("http://127.0.0.1:1", &AzureConfig::default()), None);
        assert_eq!(is_allowed("https://kv", &AzureConfig::default()), None);
    }

    #[test]
    fn a_class_without_a_vault_is_refused_unless_each_object_names_one() {
        assert!(faults(&[("keyvaultName", "")])[0].contains("names a vault"));
        let own = "array:\n- |\n  objectName: a\n  objectType: secret\n  keyvaultName: billing-kv\n";
        let plan = plan(&[("keyvaultName", ""), ("objects", own)]).unwrap();
        assert_eq!(plan.vaults, ["https://billing-kv.vault.azure.net"]);
        assert!(faults(&[("keyvaultName", "evil.example.com/")])[0].contains("keyvaultName"));
    }

    #[test]
    fn a_class_names_few_vaults_and_none_at_length() {
        let item = |n: usize| {
            format!("- '{{objectName: a, objectType: secret, objectAlias: x{n}, keyvaultName: kv-{n}}}'\n")
        };
        let many = |count| format!("array:\n{}", (0..count).map(item).collect::<String>());

        plan(&[("objects", &many(MOST_VAULTS))]).unwrap();
        assert!(faults(&[("objects", &many(MOST_VAULTS + 1))])[0].contains("more than 16"));
        let long = format!("https://{}.example.com/{}", "a".repeat(60), "b".repeat(LONGEST_URL));
        assert!(faults(&[("keyvaultURL", &long)])[0].contains("longer than 300 bytes"));
    }

    #[test]
    fn a_control_character_in_a_parameter_is_refused_and_the_parameter_named() {
        for key in ["clientID", "tenantID", "keyvaultURL", "whatever"] {
            let told = faults(&[(key, "web\n{\"class_uid\":6003}")]);
            assert!(told.iter().any(|fault| fault.contains(&format!("parameter {key}:"))), "{key}: {told:?}");
        }
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let told =
            faults(&[("cloudName", "Mars"), ("tenantID", "a b"), (ON_EXPIRED, "burn"), (SHARE, "all")]);
        assert_eq!(told.len(), 4, "{told:?}");
    }
}
