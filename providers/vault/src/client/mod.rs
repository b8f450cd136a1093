//! Talks to the server.

mod connection;
mod keyring;
mod login;
mod mounts;
mod remains;
mod session;
mod settings;

use std::sync::Arc;

use async_trait::async_trait;
use provider::{
    Endings, Error, ErrorKind, Exposure, Invalid, Keys, Object, ObjectRef, Origin, Parameters, Provider,
    Reading, Result, Scope, SecretBytes, Session, Source, Tenure, Workload,
};
use provider_client::{Fingerprint, Fingerprints, Logins, Term, Whom, refuse_exposure};

use crate::answer;
use crate::call::Call;
use crate::client::connection::Servers;
use crate::client::login::Applicant;
use crate::client::mounts::{Kind, Mount, Mounts};
use crate::client::remains::Remains;
use crate::client::session::{Owner, Parts, VaultSession};
use crate::config::VaultConfig;
use crate::declaration::DECLARATION;
use crate::parameters::{self, Method, Plan, Share};

pub use settings::VaultSettings;

/// Reads secrets from HashiCorp Vault and OpenBao.
#[derive(Debug)]
pub struct Vault(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    servers: Servers,
    logins: Arc<Logins<VaultSession>>,
    mounts: Mounts,
    fingerprints: Fingerprints,
}

/// The owner of a login, and its volume if the login is not shared.
type Key = provider_client::Key<Owner>;

impl Vault {
    /// A provider with the administrator's settings. It connects at the first call.
    ///
    /// # Errors
    ///
    /// The system returns no random numbers.
    pub fn new(config: VaultConfig) -> Result<Self> {
        let (servers, fingerprints) = (Servers::new(config), Fingerprints::new()?);
        Ok(Self(Arc::new(Inner { servers, logins: Arc::default(), mounts: Mounts::default(), fingerprints })))
    }
}

impl Provider for Vault {
    provider::as_declared!(DECLARATION);

    fn source(
        &self,
        namespace: &str,
        parameters: &Parameters,
    ) -> std::result::Result<Arc<dyn Source>, Vec<Invalid>> {
        let plan = Plan::new(namespace, parameters, self.0.servers.config())?;
        Ok(Arc::new(VaultSource::new(plan, &self.0)))
    }

    fn remarks(&self, parameters: &Parameters) -> Vec<Invalid> {
        parameters::unknown(parameters)
    }

    fn endings(&self) -> Option<&dyn Endings> {
        Some(self)
    }

    fn keys(&self) -> Option<&dyn Keys> {
        Some(self)
    }
}

#[async_trait]
impl Endings for Vault {
    fn store_of(&self, remains: &SecretBytes) -> Option<String> {
        Remains::read(remains).map(|remains| remains.server.to_string())
    }

    async fn revoke(&self, remains: &SecretBytes) -> Result<()> {
        let remains = Remains::read(remains)
            .ok_or_else(|| Error::new(ErrorKind::Invalid, "what remains of a login is none of ours"))?;
        // The call is made even if the way is not allowed any more: the token was sent there before, and this call ends
        // it. The namespace of the volume is not known here, so lookups that hang are charged to a tenant without a
        // name.
        let connection = self.0.servers.to("", &remains.server, remains.client()).await?;
        session::revoke(&connection, remains.token(), "a volume that is gone").await
    }
}

/// What one class reads.
#[derive(Debug)]
struct VaultSource {
    plan: Plan,
    store: String,
    provider: Arc<Inner>,
}

/// The outcome for a caller that asked for a login while the kind of its mount was still unknown.
enum Learnt {
    Already,
    By(Arc<VaultSession>),
}

#[async_trait]
impl Source for VaultSource {
    fn store(&self) -> &str {
        &self.store
    }

    fn audience(&self) -> Option<&str> {
        matches!(self.plan.auth.method, Method::Kubernetes | Method::Jwt).then_some(&self.plan.audience)
    }

    /// Every login method needs them: the token of a service account, or credentials of the volume.
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
        let session = self.login(workload, tenure).await?;
        Ok(session)
    }

    fn extract(&self, index: usize, reading: &Reading) -> Result<Object> {
        answer::extract(&self.plan, index, reading)
    }

    fn origin(&self, index: usize) -> Origin {
        let Plan { server, objects, parts, .. } = &self.plan;
        let call = objects.get(index).and_then(|object| Call::of_request(&object.request));
        Origin {
            address: server.address.clone(),
            scope: server.namespace.clone().map_or(Scope::Whole, Scope::Named),
            path: call.map_or_else(String::new, |call| call.path),
            key: parts.get(index).and_then(|part| part.key.clone()),
        }
    }
}

impl VaultSource {
    fn new(plan: Plan, provider: &Arc<Inner>) -> Self {
        Self { store: plan.server.to_string(), plan, provider: Arc::clone(provider) }
    }

    /// A login for `workload`.
    async fn login(&self, workload: &Workload, tenure: Tenure) -> Result<Arc<VaultSession>> {
        refuse_exposure(self.plan.exposure.as_ref(), Some(&self.plan.server.address))?;
        let applicant = Applicant { auth: &self.plan.auth, audience: &self.plan.audience, workload, tenure };
        self.log_in(applicant).await
    }

    async fn log_in(&self, applicant: Applicant<'_>) -> Result<Arc<VaultSession>> {
        let Inner { logins, mounts, .. } = &*self.provider;
        if self.kind(applicant.workload).is_none() {
            // The answer to the first login shows what the mount checks, and so who may share a login. Until then
            // others wait.
            let turn = mounts.learning(&self.mount(applicant.workload));
            let ready = || self.kind(applicant.workload).map(|_| Learnt::Already);
            let make = async { self.new_session(applicant).await.map(Learnt::By) };
            if let Learnt::By(session) = turn.take(ready, make, met_by_another).await? {
                return Ok(session);
            }
        }
        let key = self.key(applicant, self.kind(applicant.workload));
        logins.get(&key, &applicant.workload.volume, self.new_session(applicant)).await
    }

    fn mount(&self, workload: &Workload) -> Mount {
        Mount {
            namespace: workload.identity.namespace.clone(),
            store: self.store.clone(),
            path: self.plan.auth.mount.clone(),
        }
    }

    /// The kind of the mount, which decides who may share a login. `None` while it is unknown.
    fn kind(&self, workload: &Workload) -> Option<Kind> {
        let auth = &self.plan.auth;
        match (auth.share, auth.method) {
            (Some(Share::ServiceAccount), _) => Some(Kind::Kubernetes),
            (Some(Share::Pod), _) => Some(Kind::Other),
            (None, Method::Kubernetes) => self.provider.mounts.kind(&self.mount(workload)),
            (None, Method::Jwt | Method::AppRole | Method::Token | Method::Certificate) => Some(Kind::Other),
        }
    }

    async fn new_session(&self, applicant: Applicant<'_>) -> Result<Arc<VaultSession>> {
        let Inner { servers, logins, mounts, .. } = &*self.provider;
        let client = applicant.client_pair()?;
        let tenant = &applicant.workload.identity.namespace;
        let connection = servers.to(tenant, &self.plan.server, client.clone()).await?;
        let granted = applicant.log_in(&connection).await?;
        if self.plan.auth.method == Method::Kubernetes {
            let judged = granted.account.as_ref() == Some(&applicant.workload.identity);
            let kind = if judged { Kind::Kubernetes } else { Kind::Other };
            mounts.learn(&self.mount(applicant.workload), kind);
        }
        let key = self.key(applicant, self.kind(applicant.workload));
        let identity = identity(&key.whose);
        let (server, term) = (self.plan.server.clone(), Term::from_now(granted.lasts, granted.renewable));
        let parts = Parts { identity, server, connection, client, granted };
        let volume = &applicant.workload.volume;
        Ok(logins.seat(key, volume, term, |place| VaultSession::new(parts, place)))
    }

    fn key(&self, applicant: Applicant<'_>, kind: Option<Kind>) -> Key {
        let workload = applicant.workload;
        let whom = match kind {
            Some(Kind::Kubernetes) => Whom::account(workload),
            Some(Kind::Other) | None => Whom::alone(workload),
        };
        let owner = Owner {
            store: self.store.clone(),
            auth: self.plan.auth.clone(),
            whom,
            fingerprint: self.fingerprint(applicant),
        };
        let volume = (applicant.tenure == Tenure::Volume).then(|| workload.volume.clone());
        Key { whose: owner, volume }
    }

    fn fingerprint(&self, applicant: Applicant<'_>) -> Option<Fingerprint> {
        let names = applicant.credentials();
        let secrets = names.iter().filter_map(|name| applicant.workload.credentials.get(*name));
        (!names.is_empty()).then(|| self.provider.fingerprints.of(secrets))
    }
}

/// The error for callers that waited while another caller met an outage. The other may belong to another account, so
/// its message is not repeated.
fn met_by_another(error: &Error) -> Error {
    Error::new(ErrorKind::Unavailable, "the store did not answer a login that was made just before this one")
        .retry_after(error.wait().map(Into::into))
}

/// The identity that the store checks, for messages and for shared readings. It contains everything in `owner`.
fn identity(owner: &Owner) -> String {
    let mut text = owner.whom.to_string();
    text.push_str(&format!(" at auth/{}", owner.auth.mount));
    if let Some(role) = &owner.auth.role {
        text.push_str(&format!(" as role {role}"));
    }
    if let Some(fingerprint) = owner.fingerprint {
        text.push_str(&format!(" by credential {:032x}", u128::from_be_bytes(fingerprint)));
    }
    text
}
