use std::sync::Arc;

use async_trait::async_trait;
use provider::{
    Error, ErrorKind, Exposure, Invalid, Object, ObjectRef, Origin, Parameters, Provider, Reading, Result,
    Scope, Session, Source, Tenure, Workload,
};
use provider_client::{Fingerprints, Key, Logins, Term, Whom, plain_address, refuse_exposure};

use crate::answer;
use crate::config::ConfidantConfig;
use crate::declaration::DECLARATION;
use crate::kmsauth;
use crate::login::{AUDIENCE, Applicant};
use crate::parameters::Plan;
use crate::servers::Servers;
use crate::session::{ConfidantSession, Owner};

/// Credentials of services from Confidant.
#[derive(Debug)]
pub struct Confidant(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    servers: Servers,
    logins: Arc<Logins<ConfidantSession>>,
    fingerprints: Fingerprints,
}

impl Confidant {
    /// A provider with the administrator's settings. It connects when it is asked to.
    ///
    /// # Errors
    ///
    /// An address of the settings is none, or the system gives no random numbers.
    pub fn new(config: ConfidantConfig) -> Result<Self> {
        let aws =
            config.aws_endpoint.as_ref().map(|url| url.replace("{service}", "kms").replace("{region}", "r"));
        for (setting, address) in
            [("--confidant-url", config.url.as_deref()), ("--confidant-aws-endpoint", aws.as_deref())]
        {
            if let Some(Err(why)) = address.map(plain_address) {
                return Err(Error::new(ErrorKind::Invalid, format!("{setting}: {why}")));
            }
        }
        let (servers, fingerprints) = (Servers::new(config), Fingerprints::new()?);
        Ok(Self(Arc::new(Inner { servers, logins: Arc::default(), fingerprints })))
    }
}

impl Provider for Confidant {
    provider::as_declared!(DECLARATION);

    fn source(
        &self,
        _namespace: &str,
        parameters: &Parameters,
    ) -> std::result::Result<Arc<dyn Source>, Vec<Invalid>> {
        let plan = Plan::new(parameters, self.0.servers.config())?;
        Ok(Arc::new(ConfidantSource { store: plan.server.name(), plan, provider: Arc::clone(&self.0) }))
    }
}

/// What one class asks.
#[derive(Debug)]
struct ConfidantSource {
    plan: Plan,
    store: String,
    provider: Arc<Inner>,
}

#[async_trait]
impl Source for ConfidantSource {
    fn store(&self) -> &str {
        &self.store
    }

    fn audience(&self) -> Option<&str> {
        self.plan.account.role.is_some().then_some(AUDIENCE)
    }

    fn needs_credentials(&self) -> bool {
        true
    }

    fn objects(&self) -> &[ObjectRef] {
        &self.plan.objects
    }

    fn exposure(&self) -> Option<&Exposure> {
        self.plan.exposure.as_ref()
    }

    async fn session(&self, workload: &Workload, tenure: Tenure) -> Result<Arc<dyn Session>> {
        refuse_exposure(self.plan.exposure.as_ref(), None)?;
        let applicant = Applicant { plan: &self.plan, workload };
        let volume = (tenure == Tenure::Volume).then(|| workload.volume.clone());
        let key = Key { whose: self.owner(applicant), volume };
        let login = self.log_in(applicant, key.clone());
        let session = self.provider.logins.get(&key, &workload.volume, login).await?;
        Ok(session)
    }

    fn extract(&self, index: usize, reading: &Reading) -> Result<Object> {
        let foreign = || Error::new(ErrorKind::Invalid, "there is no such object");
        answer::extract(reading, self.plan.parts.get(index).ok_or_else(foreign)?)
    }

    fn origin(&self, index: usize) -> Origin {
        let part = self.plan.parts.get(index);
        let credential = part.and_then(|part| part.credential.clone()).unwrap_or_default();
        Origin {
            address: self.plan.server.address.clone(),
            scope: Scope::Named(self.plan.account.service.clone()),
            path: credential,
            key: part.map(|part| part.key.clone()),
        }
    }
}

impl ConfidantSource {
    async fn log_in(&self, applicant: Applicant<'_>, key: Key<Owner>) -> Result<Arc<ConfidantSession>> {
        let Inner { servers, logins, .. } = &*self.provider;
        let token = applicant.log_in(servers).await?;
        let Workload { volume, identity: account, .. } = applicant.workload;
        let connection = servers.confidant(&account.namespace, &self.plan.server).await?;
        let (identity, term) = (identity(&key.whose), Term::from_now(Some(kmsauth::used_for()), false));
        Ok(logins.seat(key, volume, term, |place| ConfidantSession { identity, token, connection, place }))
    }

    fn owner(&self, applicant: Applicant<'_>) -> Owner {
        Owner {
            server: self.plan.server.clone(),
            account: self.plan.account.clone(),
            whom: self.whom(applicant.workload),
            fingerprint: applicant.fingerprint(&self.provider.fingerprints),
        }
    }

    /// Kubelet vouches for the service account of a pod. Nobody vouches for whose token a host gives.
    fn whom(&self, workload: &Workload) -> Whom {
        match &workload.pod {
            Some(_) if self.plan.shares => Whom::account(workload),
            Some(_) | None => Whom::alone(workload),
        }
    }
}

/// Whom the servers judge, for people and for sharing what was read: everything in `owner`.
fn identity(owner: &Owner) -> String {
    let Owner { server, account, whom, fingerprint } = owner;
    let mut text = format!(
        "{whom} as service {} by {} in {} for {} at {}",
        account.service,
        account.key,
        account.region,
        account.context,
        server.name()
    );
    if let Some(role) = &account.role {
        text.push_str(&format!(" as {role}"));
    }
    if let Some(fingerprint) = fingerprint {
        text.push_str(&format!(" by credential {:032x}", u128::from_be_bytes(*fingerprint)));
    }
    text
}
