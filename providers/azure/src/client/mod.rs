//! Talking to vaults, and to who gives out tokens for them.

mod listed;
mod login;
mod servers;
mod session;
mod settings;

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use provider::{
    Error, ErrorKind, Exposure, Invalid, Object, ObjectRef, Origin, Parameters, Provider, Reading, Result,
    Scope, Session, Source, Tenure, Tree, Workload,
};
use provider_client::{Fingerprints, Logins, Term, Whom, plain_address, refuse_exposure};

use crate::answer;
use crate::call::Call;
use crate::client::login::Applicant;
use crate::client::servers::Servers;
use crate::client::session::{AzureSession, Owner, Parts};
use crate::cloud::{Cloud, NAME};
use crate::config::AzureConfig;
use crate::declaration::DECLARATION;
use crate::parameters::{self, Auth, Plan};

pub use settings::AzureSettings;

/// Secrets, keys and certificates from Azure Key Vault.
#[derive(Debug)]
pub struct Azure(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    servers: Servers,
    logins: Arc<Logins<AzureSession>>,
    fingerprints: Fingerprints,
}

/// Whose a login is, and for whom.
type Key = provider_client::Key<Owner>;

impl Azure {
    /// A provider with the administrator's settings. It connects when it is asked to.
    ///
    /// # Errors
    ///
    /// An address of the settings is none, the cloud is none, or the system gives no random numbers.
    pub fn new(config: AzureConfig) -> Result<Self> {
        verify(&config)?;
        let (servers, fingerprints) = (Servers::new(config), Fingerprints::new()?);
        Ok(Self(Arc::new(Inner { servers, logins: Arc::default(), fingerprints })))
    }
}

/// Whether the settings could work. A private cloud that is not described yet is a fault of the class that reads there.
fn verify(config: &AzureConfig) -> Result<()> {
    let wrong = |what: &str, why: &str| Err(Error::new(ErrorKind::Invalid, format!("{what}: {why}")));
    let vault = config.vault_url.as_ref().map(|url| url.replace(NAME, "name"));
    let addresses = [
        ("--azure-authority", config.authority.as_deref()),
        ("--azure-vault-url", vault.as_deref()),
        ("--azure-metadata-endpoint", Some(config.metadata_endpoint.as_str())),
    ];
    for (setting, address) in addresses {
        if let Some(Err(why)) = address.map(plain_address) {
            return wrong(setting, why);
        }
    }
    if config.vault_url.as_ref().is_some_and(|url| !url.contains(NAME)) {
        return wrong("--azure-vault-url", "it has no NAME in it, where the name of the vault goes");
    }
    match Cloud::of(None, config) {
        Err((why, remedy)) if !config.cloud.eq_ignore_ascii_case(crate::cloud::PRIVATE) => {
            Err(Error::new(ErrorKind::Invalid, format!("--azure-cloud: {why}")).remedy(remedy))
        }
        _ => Ok(()),
    }
}

impl Provider for Azure {
    provider::as_declared!(DECLARATION);

    fn source(
        &self,
        _namespace: &str,
        parameters: &Parameters,
    ) -> std::result::Result<Arc<dyn Source>, Vec<Invalid>> {
        let plan = Plan::new(parameters, self.0.servers.config())?;
        // Those of another class with the same vaults are the same store, and whoever is trusted there is a part of it.
        let store = format!("{}{}", plan.vaults.join(" "), plan.account.tls);
        Ok(Arc::new(AzureSource { store, plan, provider: Arc::clone(&self.0) }))
    }

    fn remarks(&self, parameters: &Parameters) -> Vec<Invalid> {
        parameters::unknown(parameters)
    }
}

/// What one class asks.
#[derive(Debug)]
struct AzureSource {
    plan: Plan,
    store: String,
    provider: Arc<Inner>,
}

#[async_trait]
impl Source for AzureSource {
    fn store(&self) -> &str {
        &self.store
    }

    fn audience(&self) -> Option<&str> {
        matches!(self.plan.account.auth, Auth::Federated { .. }).then_some(&self.plan.audience)
    }

    fn needs_credentials(&self) -> bool {
        !matches!(self.plan.account.auth, Auth::Machine { .. })
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
        refuse_exposure(self.plan.exposure.as_ref(), None)?;
        let Plan { account, audience, .. } = &self.plan;
        let applicant = Applicant { account, audience, workload };
        let key = self.key(applicant, tenure);
        let login = self.new_session(applicant, key.clone());
        let session = self.provider.logins.get(&key, &workload.volume, login).await?;
        Ok(session)
    }

    fn extract(&self, index: usize, reading: &Reading) -> Result<Object> {
        answer::extract(&self.plan, index, reading, Timestamp::now())
    }

    fn expires(&self, _index: usize, reading: &Reading) -> Option<i64> {
        answer::expires(reading)
    }

    fn origin(&self, index: usize) -> Origin {
        let call = self.plan.objects.get(index).and_then(|object| Call::of_request(&object.request));
        let (address, path) = call.map_or_else(Default::default, |call| {
            (call.vault, format!("{}/{}", call.kind.collection(), call.name))
        });
        Origin { address, scope: Scope::Whole, path, key: None }
    }
}

impl AzureSource {
    async fn new_session(&self, applicant: Applicant<'_>, key: Key) -> Result<Arc<AzureSession>> {
        let inner = &self.provider;
        let granted = applicant.log_in(&inner.servers).await?;
        let term = Term::from_now(Some(granted.lasts), false);
        let parts = Parts {
            identity: identity(&key.whose),
            tenant: applicant.workload.identity.namespace.clone(),
            account: self.plan.account.clone(),
            token: granted.token,
            inner: Arc::clone(inner),
        };
        Ok(inner.logins.seat(key, &applicant.workload.volume, term, |place| AzureSession::new(parts, place)))
    }

    fn key(&self, applicant: Applicant<'_>, tenure: Tenure) -> Key {
        let owner = Owner {
            account: self.plan.account.clone(),
            whom: self.whom(applicant.workload),
            fingerprint: applicant.fingerprint(&self.provider.fingerprints),
        };
        let volume = (tenure == Tenure::Volume).then(|| applicant.workload.volume.clone());
        Key { whose: owner, volume }
    }

    /// Entra ID judges a service account, and kubelet vouches for a pod's. Nobody vouches for whose token a host gives.
    fn whom(&self, workload: &Workload) -> Whom {
        match &workload.pod {
            Some(_) if self.plan.shares => Whom::account(workload),
            Some(_) | None => Whom::alone(workload),
        }
    }
}

/// Whom vaults judge, for people and for sharing what was read: everything in `owner`.
fn identity(owner: &Owner) -> String {
    let mut text = owner.whom.to_string();
    text.push_str(&format!(" {}", owner.account));
    if let Some(fingerprint) = owner.fingerprint {
        text.push_str(&format!(" by credential {:032x}", u128::from_be_bytes(fingerprint)));
    }
    text
}
