use std::sync::Arc;

use async_trait::async_trait;
use provider::{
    Error, ErrorKind, Invalid, Object, ObjectRef, Origin, Parameters, Provider, Reading, Result, Scope,
    Session, Source, Tenure, Workload,
};
use provider_client::{ClientPair, Fingerprints, Whom, credential, plain_address};

use crate::answer;
use crate::config::CyberArkConfig;
use crate::declaration::DECLARATION;
use crate::parameters::Plan;
use crate::query::Search;
use crate::servers::Servers;
use crate::session::CyberArkSession;

const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";

/// Accounts from CyberArk's Central Credential Provider.
#[derive(Debug)]
pub struct CyberArk(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    servers: Servers,
    fingerprints: Fingerprints,
}

impl CyberArk {
    /// A provider with the administrator's settings. It connects when it is asked to.
    ///
    /// # Errors
    ///
    /// The address of the settings is none, or the system gives no random numbers.
    pub fn new(config: CyberArkConfig) -> Result<Self> {
        if let Some(Err(why)) = config.url.as_deref().map(plain_address) {
            return Err(Error::new(ErrorKind::Invalid, format!("--cyberark-url: {why}")));
        }
        Ok(Self(Arc::new(Inner { servers: Servers::new(config), fingerprints: Fingerprints::new()? })))
    }
}

impl Provider for CyberArk {
    provider::as_declared!(DECLARATION);

    fn source(
        &self,
        namespace: &str,
        parameters: &Parameters,
    ) -> std::result::Result<Arc<dyn Source>, Vec<Invalid>> {
        let plan = Plan::new(namespace, parameters, self.0.servers.config())?;
        Ok(Arc::new(CyberArkSource { store: plan.server.name(), plan, provider: Arc::clone(&self.0) }))
    }
}

/// What one class asks.
#[derive(Debug)]
struct CyberArkSource {
    plan: Plan,
    store: String,
    provider: Arc<Inner>,
}

#[async_trait]
impl Source for CyberArkSource {
    fn store(&self) -> &str {
        &self.store
    }

    fn needs_credentials(&self) -> bool {
        !self.plan.server.has_certificate()
    }

    fn objects(&self) -> &[ObjectRef] {
        &self.plan.objects
    }

    async fn session(&self, workload: &Workload, _tenure: Tenure) -> Result<Arc<dyn Session>> {
        let Inner { servers, .. } = &*self.provider;
        let own = if self.plan.server.has_certificate() { None } else { Some(self.own(workload)?) };
        let identity = self.identity(workload, own.as_ref());
        let connection = servers.to(&workload.identity.namespace, &self.plan.server, own).await?;
        Ok(Arc::new(CyberArkSession {
            identity,
            application: self.plan.application.clone(),
            web_service: self.plan.server.web_service.clone(),
            connection,
            pause: servers.config().pause,
        }))
    }

    fn extract(&self, index: usize, reading: &Reading) -> Result<Object> {
        let foreign = || Error::new(ErrorKind::Invalid, "there is no such object");
        answer::extract(reading, self.plan.properties.get(index).ok_or_else(foreign)?)
    }

    fn origin(&self, index: usize) -> Origin {
        let search = self.plan.objects.get(index).and_then(|object| Search::of_request(&object.request));
        let search = search.unwrap_or_default();
        let scope = search.get("Safe").map_or(Scope::Whole, |safe| Scope::Named(safe.to_owned()));
        let path = search.get("Object").map_or_else(|| search.to_string(), str::to_owned);
        let address = format!("{}/{}", self.plan.server.address, self.plan.server.web_service);
        Origin { address, scope, path, key: self.plan.properties.get(index).cloned() }
    }
}

impl CyberArkSource {
    /// The certificate that came with the volume.
    fn own(&self, workload: &Workload) -> Result<ClientPair> {
        let whose = &workload.identity;
        let who = format!("application {} of {}/{}", self.plan.application, whose.namespace, whose.name);
        let certificate = credential(workload, CERTIFICATE, &who)?.clone();
        Ok(ClientPair { certificate, key: credential(workload, KEY, &who)?.clone() })
    }

    /// Whom CCP judges, for people and for sharing what was read.
    fn identity(&self, workload: &Workload, own: Option<&ClientPair>) -> String {
        // Kubelet vouches for the service account of a pod. Nobody vouches for whose volume a host mounts.
        let whom = match &workload.pod {
            Some(_) => Whom::account(workload),
            None => Whom::alone(workload),
        };
        let mut text = format!("{whom} as application {} at {}", self.plan.application, self.store);
        if let Some(ClientPair { certificate, key }) = own {
            let fingerprint = self.provider.fingerprints.of([certificate, key]);
            text.push_str(&format!(" by certificate {:032x}", u128::from_be_bytes(fingerprint)));
        }
        text
    }
}
