use std::collections::BTreeSet;

use manifest::objects::Read;
use manifest::parameters::{self, kept};
use provider::{Ciphertext, Exposure, Invalid, ObjectRef, Parameters, Request, Tree};
use provider_client::{CertificatePath, Tls};

use crate::config::GcpConfig;
use crate::declaration::DECLARATION;
use crate::endpoints::{Api, Endpoints};
use crate::exposure;
use crate::federation::{Federation, is_pool};
use crate::listed::Sought;
use crate::objects::{self, Part, SECRETS};
use crate::opened::{self, Opened};
use crate::resource::Resource;

/// Key under which the class's `share` setting arrives.
pub(crate) const SHARE: &str = "secretfs.dev/share";
/// Longest address of a service account.
const MAX_ACCOUNT: usize = 254;

/// A class's parameters, understood.
#[derive(Debug)]
#[cfg_attr(not(feature = "client"), expect(dead_code, reason = "only the client connects"))]
pub struct Plan {
    pub(crate) endpoints: Endpoints,
    pub(crate) exposure: Option<Exposure>,
    pub(crate) auth: Auth,
    /// The service account to read as.
    pub(crate) account: Option<String>,
    pub(crate) share: Option<Share>,
    pub(crate) objects: Vec<ObjectRef>,
    pub(crate) parts: Vec<Part>,
    /// What the class lists.
    pub(crate) trees: Vec<Tree>,
    /// Whether it is for keys, and not for objects of a class.
    keyring: bool,
}

/// Whose identity reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Auth {
    /// The key that came with the volume if there is one, else the pod's.
    Unsaid(Option<Federation>),
    /// The pod's.
    Pod(Federation),
    /// The machine's.
    Machine,
}

/// Who may share a login, where the class says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Share {
    ServiceAccount,
    Pod,
}

impl Plan {
    /// Understands `parameters` of a class, offline.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with them. Never empty.
    pub fn new(parameters: &Parameters, config: &GcpConfig) -> Result<Self, Vec<Invalid>> {
        let class = Class { parameters, config };
        Self::with(class, || class.objects())
    }

    /// The same for a class that reads what `ciphertexts` of Cloud KMS hold.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    #[cfg_attr(not(feature = "client"), expect(dead_code, reason = "only a provider decrypts"))]
    pub(crate) fn of_keys(
        parameters: &Parameters,
        config: &GcpConfig,
        ciphertexts: &[Ciphertext],
    ) -> Result<Self, Vec<Invalid>> {
        let plan = Self::with(Class { parameters, config }, || opened::objects(ciphertexts))?;
        Ok(Self { keyring: true, ..plan })
    }

    fn with(
        class: Class<'_>,
        objects: impl FnOnce() -> Result<Read<Part>, Vec<Invalid>>,
    ) -> Result<Self, Vec<Invalid>> {
        let mut errors = Vec::new();
        let Class { parameters, config } = class;
        let endpoints = kept(&mut errors, class.endpoints());
        let auth = kept(&mut errors, class.auth());
        let account = kept(&mut errors, class.account());
        let share = kept(&mut errors, class.share());
        let objects = kept(&mut errors, objects());
        errors.extend(parameters::odd(parameters, SECRETS.parameter, |text| text));
        match (endpoints, auth, account, share, objects) {
            (
                Some(endpoints),
                Some(auth),
                Some(account),
                Some(share),
                Some(Read { objects, kept: parts, mut trees }),
            ) if errors.is_empty() => {
                let exposure = exposure::of(&endpoints, config);
                for tree in &mut trees {
                    let apis = apis(&tree.request);
                    tree.address = apis.first().map(|api| endpoints.address(api)).unwrap_or_default();
                }
                Ok(Self { endpoints, exposure, auth, account, share, objects, parts, trees, keyring: false })
            }
            _ => Err(errors),
        }
    }

    /// Which store this is: the addresses that its objects are read from, and whom to believe there. A region that is
    /// away counts for those only who read there.
    #[cfg_attr(not(feature = "client"), expect(dead_code, reason = "only the client connects"))]
    pub(crate) fn store(&self) -> String {
        let objects = self.objects.iter().map(|object| &object.request);
        let requests = objects.chain(self.trees.iter().map(|tree| &tree.request));
        let apis = requests.flat_map(apis).chain(self.keyring.then_some(Api::Kms));
        let addresses: BTreeSet<String> = apis.map(|api| self.endpoints.address(&api)).collect();
        let addresses: Vec<_> = addresses.into_iter().collect();
        format!("{}{}", addresses.join(" "), self.endpoints.tls)
    }
}

/// Who are asked for it; first who has the value.
pub(crate) fn apis(request: &Request) -> Vec<Api> {
    if let Some(opened) = Opened::of_request(&request.text) {
        let holder = opened.holder().map(|holder| holder.api());
        return std::iter::once(Api::Kms).chain(holder).collect();
    }
    let resource = match Sought::of_request(&request.text) {
        Some(sought) => sought.secret("a"),
        None => Resource::parse(&request.text).ok(),
    };
    resource.map(|resource| resource.api()).into_iter().collect()
}

/// What people call it.
pub(crate) fn name(request: &Request) -> String {
    Opened::of_request(&request.text).map_or_else(|| request.text.to_string(), |opened| opened.key)
}

/// Keys of a class and of its objects that nobody reads: they may be others, misspelt.
#[cfg_attr(not(feature = "client"), expect(dead_code, reason = "only a provider is asked for them"))]
pub(crate) fn unknown(parameters: &Parameters) -> Vec<Invalid> {
    parameters::unknown_everywhere(&DECLARATION, parameters, SECRETS.parameter, objects::unknown)
}

#[derive(Clone, Copy)]
struct Class<'a> {
    parameters: &'a Parameters,
    config: &'a GcpConfig,
}

impl<'a> Class<'a> {
    fn text(&self, key: &str) -> Option<&'a str> {
        parameters::text(&DECLARATION, self.parameters, key)
    }

    fn endpoints(&self) -> Result<Endpoints, Invalid> {
        let raw = self.text("endpoint").unwrap_or(&self.config.endpoint);
        let template = Endpoints::template(raw).map_err(|reason| {
            Invalid::new("endpoint", reason, "write it as https://{service}.googleapis.com")
        })?;
        if self.text("auth") == Some("provider-adc") && !self.is_the_administrators(&template) {
            let reason =
                "auth is provider-adc, and the machine's own token goes only where its administrator says";
            return Err(Invalid::new("endpoint", reason, "remove it, or have --gcp-endpoint set"));
        }
        Ok(Endpoints { template, tls: Tls { ca: self.authority()?, ..Tls::default() } })
    }

    fn is_the_administrators(&self, template: &str) -> bool {
        Endpoints::template(&self.config.endpoint).is_ok_and(|own| own == template)
    }

    /// Files of authorities hold nothing secret: any class may name any of them.
    fn authority(&self) -> Result<Option<CertificatePath>, Invalid> {
        const KEY: &str = "caCertPath";
        match self.text(KEY) {
            Some(raw) => {
                CertificatePath::of_class(KEY, raw, self.config.network.tls_dir.as_deref()).map(Some)
            }
            None => Ok(self.config.ca.clone().map(CertificatePath::Own)),
        }
    }

    fn auth(&self) -> Result<Auth, Invalid> {
        match self.text("auth") {
            None => Ok(Auth::Unsaid(self.federation()?)),
            Some("provider-adc") => Ok(Auth::Machine),
            Some("pod-adc") => self.federation()?.map(Auth::Pod).ok_or_else(|| {
                let reason = "it is missing and secretfs has no default";
                let remedy = "name the provider of a workload identity pool, or the URL of the GKE cluster, or have \
                              --gcp-workload-identity-provider set";
                Invalid::new("workloadIdentityProvider", reason, remedy)
            }),
            Some(_) => {
                let remedy = "write pod-adc or provider-adc, or leave it out";
                Err(Invalid::new("auth", "unknown auth configuration", remedy))
            }
        }
    }

    fn federation(&self) -> Result<Option<Federation>, Invalid> {
        let pool = self.text("workloadIdentityPool").or(self.config.identity_pool.as_deref());
        if pool.is_some_and(|pool| !is_pool(pool)) {
            let remedy = "write it as shop-prod.svc.id.goog";
            return Err(Invalid::new("workloadIdentityPool", "it is no identity namespace", remedy));
        }
        let provider = self.text("workloadIdentityProvider").or(self.config.identity_provider.as_deref());
        let Some(provider) = provider else { return Ok(None) };
        let federation = Federation::new(provider, pool).map_err(|reason| {
            let remedy = "write //iam.googleapis.com/projects/N/locations/global/workloadIdentityPools/POOL/providers/\
                          PROVIDER, or https://container.googleapis.com/v1/projects/P/locations/L/clusters/C";
            Invalid::new("workloadIdentityProvider", reason, remedy)
        })?;
        let audience = self.text("audience").map_or(federation.audience, str::to_owned);
        Ok(Some(Federation { audience, ..federation }))
    }

    fn account(&self) -> Result<Option<String>, Invalid> {
        let Some(raw) = self.text("serviceAccount") else { return Ok(None) };
        if is_account(raw) {
            return Ok(Some(raw.to_owned()));
        }
        let remedy = "write it as shop@shop-prod.iam.gserviceaccount.com";
        Err(Invalid::new("serviceAccount", "it is no address of a service account", remedy))
    }

    fn share(&self) -> Result<Option<Share>, Invalid> {
        match self.text(SHARE) {
            None => Ok(None),
            Some("service-account") => Ok(Some(Share::ServiceAccount)),
            Some("pod") => Ok(Some(Share::Pod)),
            Some(_) => Err(Invalid::new(SHARE, "it is neither", "write service-account or pod")),
        }
    }

    fn objects(&self) -> Result<Read<Part>, Vec<Invalid>> {
        match self.text(SECRETS.parameter) {
            Some(text) => objects::read(text),
            None => {
                let remedy = "list at least one object with resourceName and path";
                Err(vec![Invalid::new(SECRETS.parameter, "it is missing", remedy)])
            }
        }
    }
}

/// Whether a text may be the address of a service account.
pub(crate) fn is_account(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._@:".contains(&byte);
    text.len() <= MAX_ACCOUNT && text.contains('@') && text.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROVIDER: &str =
        "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/shop";
    const CLUSTER: &str =
        "https://container.googleapis.com/v1/projects/shop-prod/locations/europe-west3/clusters/c1";
    const SECRETS: &str = "- {resourceName: projects/p1/secrets/api/versions/latest, path: a}";

    fn config() -> GcpConfig {
        GcpConfig { identity_provider: Some(CLUSTER.to_owned()), ..GcpConfig::default() }
    }

    fn plan_of(more: &[(&str, &str)], config: &GcpConfig) -> Result<Plan, Vec<Invalid>> {
        let all = [("secrets", SECRETS)].iter().chain(more).copied();
        Plan::new(&all.map(|(key, text)| (key.to_owned(), text.to_owned())).collect(), config)
    }

    fn plan(more: &[(&str, &str)]) -> Plan {
        plan_of(more, &config()).unwrap()
    }

    fn refusals(more: &[(&str, &str)]) -> Vec<String> {
        plan_of(more, &config()).unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn trap_audience_it_is_the_identity_namespace_or_the_provider_of_the_federation() {
        let audience = |more: &[(&str, &str)]| match plan(more).auth {
            Auth::Unsaid(Some(federation)) | Auth::Pod(federation) => federation.audience,
            other => panic!("{other:?}"),
        };

        assert_eq!(audience(&[]), "shop-prod.svc.id.goog");
        assert_eq!(audience(&[("workloadIdentityPool", "fleet.svc.id.goog")]), "fleet.svc.id.goog");
        assert_eq!(audience(&[("workloadIdentityProvider", PROVIDER), ("auth", "pod-adc")]), PROVIDER);
        assert_eq!(audience(&[("audience", "shop")]), "shop");
    }

    #[test]
    fn auth_is_one_of_upstreams_or_absent() {
        assert!(matches!(plan(&[("auth", "pod-adc")]).auth, Auth::Pod(_)));
        assert!(matches!(plan(&[("auth", "provider-adc")]).auth, Auth::Machine));
        assert!(matches!(plan(&[("auth", "")]).auth, Auth::Unsaid(Some(_))));
        assert!(refusals(&[("auth", "Pod-ADC")])[0].contains("unknown auth configuration"));
    }

    #[test]
    fn who_vouches_for_the_pod_is_named_by_the_class_or_the_administrator() {
        let nobody = GcpConfig::default();
        let told = plan_of(&[("auth", "pod-adc")], &nobody).unwrap_err();
        assert_eq!(told[0].key, "workloadIdentityProvider");
        assert!(told[0].remedy.contains("--gcp-workload-identity-provider"), "{}", told[0]);
        assert!(matches!(plan_of(&[], &nobody).unwrap().auth, Auth::Unsaid(None)), "a key may come");
        assert!(refusals(&[("workloadIdentityProvider", "shop")])[0].contains("workloadIdentityProvider"));
        assert!(refusals(&[("workloadIdentityPool", "a b")])[0].contains("workloadIdentityPool"));
    }

    #[test]
    fn what_is_wrong_is_told_all_at_once() {
        let told = refusals(&[
            ("endpoint", "googleapis.com"),
            ("auth", "no"),
            ("serviceAccount", "shop"),
            (SHARE, "all"),
            ("caCertPath", "../ca"),
            ("secrets", "- {path: a}"),
            ("whatever", "a\nb"),
        ]);
        assert_eq!(told.len(), 6, "{told:#?}");
        let told = plan_of(&[("caCertPath", "../ca")], &config()).unwrap_err();
        assert_eq!(told[0].key, "caCertPath");
        assert!(Plan::new(&Parameters::new(), &config()).unwrap_err()[0].reason.contains("missing"));
    }

    #[test]
    fn the_machines_token_goes_where_the_administrator_says_and_nowhere_else() {
        let told = refusals(&[("auth", "provider-adc"), ("endpoint", "https://evil.example.com")]);
        assert!(told[0].contains("the machine's own token"), "{told:?}");
        plan(&[("auth", "provider-adc"), ("endpoint", "https://{service}.googleapis.com/")]);
    }

    #[test]
    fn a_store_is_where_its_objects_are_read() {
        let regional = "- {resourceName: projects/p1/locations/eu/secrets/api/versions/latest, path: a}";
        assert_eq!(plan(&[]).store(), "https://secretmanager.googleapis.com");
        assert_eq!(
            plan(&[("secrets", regional), ("caCertPath", "ca.crt")]).store(),
            "https://secretmanager.eu.rep.googleapis.com ca ca.crt"
        );
    }

    #[test]
    fn a_parameter_that_nobody_reads_is_told() {
        let parameters = Parameters::from([("serviceAcount".to_owned(), "x".to_owned())]);
        assert!(unknown(&parameters)[0].remedy.contains("serviceAccount"));
    }
}
