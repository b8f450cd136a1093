//! Talking to Google.

mod keyring;
mod kms;
mod listed;
mod login;
mod servers;
mod session;
mod settings;
mod signature;

use std::sync::Arc;

use async_trait::async_trait;
use provider::{
    Exposure, Invalid, Object, ObjectRef, Origin, Parameters, Provider, Reading, Result, Scope, Session,
    Source, Tenure, Tree, Workload, unfit_annotation,
};
use provider_client::{Fingerprints, Key, Logins, Term, Whom, refuse_exposure};

use crate::client::login::{Applicant, KEY, Method};
use crate::client::servers::Servers;
use crate::client::session::{GcpSession, Owner};
use crate::config::GcpConfig;
use crate::declaration::{ACCOUNT_ANNOTATION, DECLARATION};
use crate::extract;
use crate::grants::Granted;
use crate::parameters::{self, Auth, Plan, Share};

pub use settings::GcpSettings;

/// Secrets from Google Secret Manager, and parameters from Parameter Manager.
#[derive(Debug)]
pub struct Gcp(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    servers: Arc<Servers>,
    logins: Arc<Logins<GcpSession>>,
    fingerprints: Fingerprints,
}

impl Gcp {
    /// A provider with the administrator's settings. It connects when it is asked to.
    ///
    /// # Errors
    ///
    /// The system gives no random numbers.
    pub fn new(config: GcpConfig) -> Result<Self> {
        let (servers, fingerprints) = (Arc::new(Servers::new(config)), Fingerprints::new()?);
        Ok(Self(Arc::new(Inner { servers, logins: Arc::default(), fingerprints })))
    }
}

impl Provider for Gcp {
    provider::as_declared!(DECLARATION);

    fn source(
        &self,
        _namespace: &str,
        parameters: &Parameters,
    ) -> std::result::Result<Arc<dyn Source>, Vec<Invalid>> {
        let plan = Plan::new(parameters, self.0.servers.config())?;
        Ok(Arc::new(GcpSource { store: plan.store(), plan, provider: Arc::clone(&self.0) }))
    }

    fn keys(&self) -> Option<&dyn provider::Keys> {
        Some(self)
    }

    fn remarks(&self, parameters: &Parameters) -> Vec<Invalid> {
        parameters::unknown(parameters)
    }
}

/// What one class asks.
#[derive(Debug)]
struct GcpSource {
    plan: Plan,
    store: String,
    provider: Arc<Inner>,
}

#[async_trait]
impl Source for GcpSource {
    fn store(&self) -> &str {
        &self.store
    }

    /// A class that says nothing of auth needs no token where a key comes with the volume.
    fn audience(&self) -> Option<&str> {
        match &self.plan.auth {
            Auth::Unsaid(federation) => federation.as_ref().map(|federation| &*federation.audience),
            Auth::Pod(federation) => Some(&federation.audience),
            Auth::Machine => None,
        }
    }

    fn needs_credentials(&self) -> bool {
        self.plan.auth != Auth::Machine
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
        let session = self.seated(workload, tenure).await?;
        Ok(session)
    }

    fn extract(&self, index: usize, reading: &Reading) -> Result<Object> {
        extract::extract(&self.plan, index, reading)
    }

    fn origin(&self, index: usize) -> Origin {
        let Plan { endpoints, objects, parts, .. } = &self.plan;
        let request = objects.get(index).map(|object| &object.request);
        let apis = request.map(parameters::apis).unwrap_or_default();
        let path = request.map(parameters::name).unwrap_or_default();
        Origin {
            address: apis.first().map(|api| endpoints.address(api)).unwrap_or_default(),
            scope: Scope::Whole,
            path,
            key: parts.get(index).and_then(|part| part.extract.key()).map(str::to_owned),
        }
    }
}

impl GcpSource {
    /// The login for `workload`.
    async fn seated(&self, workload: &Workload, tenure: Tenure) -> Result<Arc<GcpSession>> {
        refuse_exposure(self.plan.exposure.as_ref(), Some(&self.store))?;
        let Inner { servers, logins, .. } = &*self.provider;
        let method = Method::of(&self.plan.auth, workload, servers)?;
        let account = self.account(&method, workload).await?;
        let applicant =
            Applicant { plan: &self.plan, method: &method, account: account.as_deref(), workload };
        let volume = (tenure == Tenure::Volume).then(|| workload.volume.clone());
        let key = Key { whose: self.owner(applicant), volume };
        logins.get(&key, &workload.volume, self.log_in(applicant, key.clone())).await
    }

    /// The service account to read as: the class's, else what the pod's own is annotated with.
    async fn account(&self, method: &Method, workload: &Workload) -> Result<Option<String>> {
        if self.plan.account.is_some() || !matches!(method, Method::Pod(_)) {
            return Ok(self.plan.account.clone());
        }
        let network = &self.provider.servers.config().network;
        match network.annotation(workload, &ACCOUNT_ANNOTATION).await? {
            Some(account) if !parameters::is_account(&account) => {
                let reason = "it is no address of a service account";
                Err(unfit_annotation(&workload.identity, &ACCOUNT_ANNOTATION, reason))
            }
            account => Ok(account),
        }
    }

    async fn log_in(&self, applicant: Applicant<'_>, key: Key<Owner>) -> Result<Arc<GcpSession>> {
        let Inner { servers, logins, .. } = &*self.provider;
        let Granted { token, lasts } = applicant.log_in(servers).await?;
        let (identity, term) = (identity(&key.whose), Term::from_now(Some(lasts), false));
        let Workload { volume, identity: account, .. } = applicant.workload;
        Ok(logins.seat(key, volume, term, |place| GcpSession {
            identity,
            tenant: account.namespace.clone(),
            endpoints: self.plan.endpoints.clone(),
            servers: Arc::clone(servers),
            token,
            place,
        }))
    }

    fn owner(&self, applicant: Applicant<'_>) -> Owner {
        let Applicant { method, account, workload, .. } = applicant;
        let whom = if self.is_shared(method) { Whom::account(workload) } else { Whom::alone(workload) };
        let key = workload.credentials.get(KEY).filter(|_| *method == Method::Key);
        Owner {
            endpoints: self.plan.endpoints.clone(),
            method: method.clone(),
            account: account.map(str::to_owned),
            whom,
            fingerprint: key.map(|key| self.provider.fingerprints.of([key])),
        }
    }

    fn is_shared(&self, method: &Method) -> bool {
        match (self.plan.share, method) {
            (Some(share), _) => share == Share::ServiceAccount,
            (None, Method::Pod(federation)) => federation.judges_accounts,
            (None, Method::Key | Method::Machine) => true,
        }
    }
}

/// Whom Google judges, for people and for sharing what was read: everything in `owner`.
fn identity(owner: &Owner) -> String {
    let mut text = owner.whom.to_string();
    match &owner.method {
        Method::Pod(federation) => {
            text.push_str(&format!(" at {} for {}", federation.exchange, federation.audience));
        }
        Method::Machine => text.push_str(" as this machine"),
        Method::Key => {}
    }
    if let Some(account) = &owner.account {
        text.push_str(&format!(" as {account}"));
    }
    if let Some(fingerprint) = owner.fingerprint {
        text.push_str(&format!(" by credential {:032x}", u128::from_be_bytes(fingerprint)));
    }
    text
}
