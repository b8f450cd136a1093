use std::num::NonZeroUsize;
use std::sync::Arc;

use async_trait::async_trait;
use provider::{
    Error, ErrorKind, Exposure, Invalid, ObjectRef, Origin, Parameters, Provider, Result, Scope, Session,
    Source, Tenure, Workload,
};
use provider_client::{Fingerprints, Key, Logins, Term, Whom, plain_address, refuse_exposure};

use crate::answer::Granted;
use crate::call::Call;
use crate::config::ConjurConfig;
use crate::declaration::DECLARATION;
use crate::login::Applicant;
use crate::parameters::{self, Auth, Plan};
use crate::servers::Servers;
use crate::session::{ConjurSession, MOST, Owner};

/// Variables from Conjur.
#[derive(Debug)]
pub struct Conjur(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    servers: Servers,
    logins: Arc<Logins<ConjurSession>>,
    fingerprints: Fingerprints,
}

impl Conjur {
    /// A provider with the administrator's settings. It connects when it is asked to.
    ///
    /// # Errors
    ///
    /// The address of the settings is none, or the system gives no random numbers.
    pub fn new(config: ConjurConfig) -> Result<Self> {
        if let Some(Err(why)) = config.url.as_deref().map(plain_address) {
            return Err(Error::new(ErrorKind::Invalid, format!("--conjur-url: {why}")));
        }
        let (servers, fingerprints) = (Servers::new(config), Fingerprints::new()?);
        Ok(Self(Arc::new(Inner { servers, logins: Arc::default(), fingerprints })))
    }
}

impl Provider for Conjur {
    provider::as_declared!(DECLARATION);

    fn source(
        &self,
        _namespace: &str,
        parameters: &Parameters,
    ) -> std::result::Result<Arc<dyn Source>, Vec<Invalid>> {
        let plan = Plan::new(parameters, self.0.servers.config())?;
        Ok(Arc::new(ConjurSource { store: plan.server.name(), plan, provider: Arc::clone(&self.0) }))
    }

    fn remarks(&self, parameters: &Parameters) -> Vec<Invalid> {
        parameters::unknown(parameters)
    }
}

/// What one class asks.
#[derive(Debug)]
struct ConjurSource {
    plan: Plan,
    store: String,
    provider: Arc<Inner>,
}

#[async_trait]
impl Source for ConjurSource {
    fn store(&self) -> &str {
        &self.store
    }

    fn audience(&self) -> Option<&str> {
        matches!(self.plan.auth, Auth::Jwt { .. }).then_some(&self.plan.audience)
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

    fn origin(&self, index: usize) -> Origin {
        let call = self.plan.objects.get(index).and_then(|object| Call::of_request(&object.request));
        let path = call.map(|call| call.variable).unwrap_or_default();
        let scope = Scope::Named(self.plan.server.account.clone());
        Origin { address: self.plan.server.address.clone(), scope, path, key: None }
    }

    fn requests_per_call(&self, index: usize) -> Option<NonZeroUsize> {
        let call = self.plan.objects.get(index).and_then(|object| Call::of_request(&object.request));
        let goes_with_others = call.is_some_and(|call| call.goes_with_others());
        NonZeroUsize::new(if goes_with_others { MOST } else { 1 })
    }
}

impl ConjurSource {
    async fn log_in(&self, applicant: Applicant<'_>, key: Key<Owner>) -> Result<Arc<ConjurSession>> {
        let Inner { servers, logins, .. } = &*self.provider;
        let Granted { token, lasts } = applicant.log_in(servers).await?;
        let Workload { volume, identity: account, .. } = applicant.workload;
        let connection = servers.to(&account.namespace, &self.plan.server).await?;
        let (identity, term) = (identity(&key.whose), Term::from_now(Some(lasts), false));
        let account = self.plan.server.account.clone();
        Ok(logins.seat(key, volume, term, |place| ConjurSession {
            identity,
            account,
            token,
            connection,
            place,
        }))
    }

    fn owner(&self, applicant: Applicant<'_>) -> Owner {
        let Plan { server, auth, audience, .. } = &self.plan;
        Owner {
            server: server.clone(),
            auth: auth.clone(),
            audience: audience.clone(),
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

/// Whom Conjur judges, for people and for sharing what was read: everything in `owner`.
fn identity(owner: &Owner) -> String {
    let Owner { server, auth, audience, whom, fingerprint } = owner;
    let mut text = format!("{whom} {auth} for {audience} at {}", server.name());
    if let Some(fingerprint) = fingerprint {
        text.push_str(&format!(" by credential {:032x}", u128::from_be_bytes(*fingerprint)));
    }
    text
}
