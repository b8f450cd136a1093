//! Talking to AWS.

mod keyring;
mod kms;
mod listed;
mod login;
mod one_by_one;
mod parameters;
mod secrets;
mod session;
mod settings;
mod wire;

use std::num::NonZeroUsize;
use std::sync::Arc;

use async_trait::async_trait;
use provider::{
    Error, ErrorKind, Exposure, Invalid, ObjectRef, Origin, Parameters, Provider, Result, Scope, Session,
    Source, Tenure, Tree, Workload, unfit_annotation,
};
use provider_client::{Fingerprints, Key, Logins, Term, Whom, refuse_exposure};

use crate::arn;
use crate::call::Call;
use crate::client::login::{Applicant, KEY_ID, OF_POD_IDENTITY, OF_STS, STATIC_KEYS};
use crate::client::one_by_one::OneByOne;
use crate::client::session::{AwsSession, Owner, Parts, Ways};
use crate::client::wire::Servers;
use crate::config::AwsConfig;
use crate::declaration::{DECLARATION, ROLE_ANNOTATION};
use crate::parameters::{Method, Plan, Share, endpoint, unknown};
use crate::region::{Region, Service};

pub use settings::AwsSettings;

/// Secrets from AWS Secrets Manager and the Parameter Store.
#[derive(Debug)]
pub struct Aws(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    servers: Servers,
    logins: Arc<Logins<AwsSession>>,
    one_by_one: Arc<OneByOne>,
    fingerprints: Fingerprints,
}

impl Aws {
    /// A provider with the administrator's settings. It connects when it is asked to.
    ///
    /// # Errors
    ///
    /// `Invalid` if the role or the endpoint is none; `Unavailable`: the system gives no random numbers.
    pub fn new(config: AwsConfig) -> Result<Self> {
        verify(&config)?;
        let (servers, fingerprints) = (Servers::new(config), Fingerprints::new()?);
        let (logins, one_by_one) = (Arc::default(), Arc::default());
        Ok(Self(Arc::new(Inner { servers, logins, one_by_one, fingerprints })))
    }
}

fn verify(config: &AwsConfig) -> Result<()> {
    let refuse = |text: &str| Err(Error::new(ErrorKind::Invalid, text));
    if config.role_arn.as_ref().is_some_and(|role| !arn::is_role(&filled(role, "n", "s"))) {
        return refuse("--aws-role-arn is no ARN of a role");
    }
    if config.region.as_ref().is_some_and(|region| Region::new(region).is_none()) {
        return refuse("--aws-region is no name of a region");
    }
    match config.endpoint.as_deref().map(endpoint) {
        Some(Err(reason)) => refuse(&format!("--aws-endpoint: {reason}")),
        Some(Ok(_)) | None => Ok(()),
    }
}

/// The role of a service account by the administrator's pattern.
fn filled(pattern: &str, namespace: &str, account: &str) -> String {
    pattern.replace("{namespace}", namespace).replace("{serviceAccount}", account)
}

impl Provider for Aws {
    provider::as_declared!(DECLARATION);

    fn source(
        &self,
        _namespace: &str,
        parameters: &Parameters,
    ) -> std::result::Result<Arc<dyn Source>, Vec<Invalid>> {
        let plan = Plan::new(parameters, self.0.servers.config())?;
        Ok(Arc::new(AwsSource { store: store(&plan), plan, provider: Arc::clone(&self.0) }))
    }

    fn keys(&self) -> Option<&dyn provider::Keys> {
        Some(self)
    }

    fn remarks(&self, parameters: &Parameters) -> Vec<Invalid> {
        unknown(parameters)
    }
}

/// Everything that decides who answers, for people too.
fn store(plan: &Plan) -> String {
    let Plan { regions, endpoints, .. } = plan;
    let mut text = format!("aws {}", regions.first);
    if let Some(other) = &regions.failover {
        text.push_str(&format!(" or {other}"));
    }
    if let Some(custom) = &endpoints.custom {
        text.push_str(&format!(" at {custom}"));
    }
    if endpoints.fips {
        text.push_str(" by FIPS endpoints");
    }
    text.push_str(&endpoints.tls.to_string());
    text
}

/// What one class asks.
#[derive(Debug)]
struct AwsSource {
    plan: Plan,
    store: String,
    provider: Arc<Inner>,
}

#[async_trait]
impl Source for AwsSource {
    fn store(&self) -> &str {
        &self.store
    }

    /// A class that names no method may also be read with an access key of the volume, or as a host: it needs no token.
    fn audience(&self) -> Option<&str> {
        match self.plan.auth.method {
            Some(Method::WebIdentity) | None => Some(OF_STS),
            Some(Method::PodIdentity) => Some(OF_POD_IDENTITY),
            Some(Method::Keys | Method::Node) => None,
        }
    }

    fn needs_credentials(&self) -> bool {
        self.plan.auth.method != Some(Method::Node)
    }

    fn objects(&self) -> &[ObjectRef] {
        &self.plan.objects
    }

    fn trees(&self) -> &[Tree] {
        &self.plan.trees
    }

    fn exposure(&self) -> Option<&Exposure> {
        self.plan.exposure.as_ref()
    }

    async fn session(&self, workload: &Workload, tenure: Tenure) -> Result<Arc<dyn Session>> {
        let session = self.log_in(workload, tenure).await?;
        Ok(session)
    }

    fn requests_per_call(&self, index: usize) -> Option<NonZeroUsize> {
        let call = self.plan.objects.get(index).and_then(|object| Call::of_request(&object.request));
        Some(call.map_or(NonZeroUsize::MIN, |call| call.most_together()))
    }

    fn origin(&self, index: usize) -> Origin {
        let Plan { regions, endpoints, objects, .. } = &self.plan;
        let call = objects.get(index).and_then(|object| Call::of_request(&object.request));
        let address = call.as_ref().map(|call| endpoints.address(call.service, &regions.first));
        Origin {
            address: address.unwrap_or_default(),
            scope: Scope::Whole,
            path: call.map(|call| call.first.id).unwrap_or_default(),
            key: objects.get(index).and_then(|object| object.jmes_path.clone()),
        }
    }
}

impl AwsSource {
    async fn log_in(&self, workload: &Workload, tenure: Tenure) -> Result<Arc<AwsSession>> {
        refuse_exposure(self.plan.exposure.as_ref(), Some(&self.store))?;
        let method = self.method(workload);
        let role = self.role(method, workload).await?;
        let owner = self.owner(method, role, workload);
        let key = Key { volume: (tenure == Tenure::Volume).then(|| workload.volume.clone()), whose: owner };
        let make = self.new_session(key.clone(), workload);
        self.provider.logins.get(&key, &workload.volume, make).await
    }

    /// The class's; else what the volume came with, and on a host that may be acted as, the host.
    fn method(&self, workload: &Workload) -> Method {
        let may_be_host =
            workload.pod.is_none() && self.provider.servers.config().network.machine.is_for(workload);
        match self.plan.auth.method {
            Some(method) => method,
            None if workload.credentials.contains_key(KEY_ID) => Method::Keys,
            None if may_be_host && !workload.tokens.contains_key(OF_STS) => Method::Node,
            None => Method::WebIdentity,
        }
    }

    /// The class's, else the service account's, else the administrator's.
    async fn role(&self, method: Method, workload: &Workload) -> Result<Option<String>> {
        let (own, identity, config) =
            (&self.plan.auth.role, &workload.identity, self.provider.servers.config());
        if method != Method::WebIdentity || own.is_some() {
            return Ok(own.clone().filter(|_| method == Method::WebIdentity));
        }
        match config.network.annotation(workload, &ROLE_ANNOTATION).await? {
            Some(role) if !arn::is_role(&role) => {
                Err(unfit_annotation(identity, &ROLE_ANNOTATION, "it is no ARN of a role"))
            }
            Some(role) => Ok(Some(role)),
            None => {
                let filled = |pattern: &String| filled(pattern, &identity.namespace, &identity.name);
                Ok(config.role_arn.as_ref().map(filled))
            }
        }
    }

    fn owner(&self, method: Method, role: Option<String>, workload: &Workload) -> Owner {
        // The agent of Pod Identity tags a session with the pod, and policies may look at that.
        let tells_pods_apart = match self.plan.auth.share {
            Some(share) => share == Share::Pod,
            None => method == Method::PodIdentity,
        };
        let whom = match &workload.pod {
            // Nobody vouches for whom a host reads: there each volume is for itself.
            Some(_) if !tells_pods_apart => Whom::account(workload),
            Some(_) | None => Whom::alone(workload),
        };
        let secrets = STATIC_KEYS.iter().filter_map(|name| workload.credentials.get(*name));
        Owner {
            store: self.store.clone(),
            method,
            role,
            second: self.plan.auth.second.clone(),
            decrypts: self.plan.decrypts(),
            whom,
            fingerprint: (method == Method::Keys).then(|| self.provider.fingerprints.of(secrets)),
        }
    }

    async fn new_session(&self, key: Key<Owner>, workload: &Workload) -> Result<Arc<AwsSession>> {
        let Inner { servers, logins, one_by_one, .. } = &*self.provider;
        let Owner { method, role, .. } = &key.whose;
        let applicant =
            Applicant { servers, plan: &self.plan, method: *method, role: role.as_deref(), workload };
        let keys = applicant.log_in().await?;
        let namespace = workload.identity.namespace.clone();
        let regions = std::iter::once(&self.plan.regions.first).chain(&self.plan.regions.failover);
        let mut ways = Vec::new();
        for region in regions {
            ways.push(self.ways(&namespace, region).await?);
        }
        let term = Term::from_now(keys.lasts, false);
        let identity = identity(&key.whose);
        let parts = Parts { identity, namespace, keys, ways, one_by_one: Arc::clone(one_by_one) };
        Ok(logins.seat(key, &workload.volume, term, |place| AwsSession::new(parts, place)))
    }

    async fn ways(&self, tenant: &str, region: &Region) -> Result<Ways> {
        let to = |service| self.provider.servers.to(tenant, &self.plan.endpoints, service, region);
        let kms = if self.plan.decrypts() { Some(to(Service::Kms).await?) } else { None };
        Ok(Ways { secrets: to(Service::SecretsManager).await?, parameters: to(Service::Ssm).await?, kms })
    }
}

/// Whom AWS judges, for people and for sharing what was read: everything in `owner`.
fn identity(owner: &Owner) -> String {
    let mut text = owner.whom.to_string();
    match owner.method {
        Method::WebIdentity => {}
        Method::PodIdentity => text.push_str(" by Pod Identity"),
        Method::Keys => text.push_str(" by its access key"),
        Method::Node => text.push_str(" as this machine"),
    }
    if let Some(role) = &owner.role {
        text.push_str(&format!(" as {role}"));
    }
    if let Some(second) = &owner.second {
        text.push_str(&format!(", then {}", second.arn));
        second.external_id.iter().for_each(|id| text.push_str(&format!(" by id {id}")));
        second.tags.iter().for_each(|(key, value)| text.push_str(&format!(" with {key}={value}")));
    }
    if let Some(fingerprint) = owner.fingerprint {
        text.push_str(&format!(" {:032x}", u128::from_be_bytes(fingerprint)));
    }
    text
}
