//! Keys of Cloud KMS as a keyring.

use std::sync::Arc;

use async_trait::async_trait;
use provider::{
    Ciphertext, Context, Encrypted, Error, ErrorKind, Invalid, Keyring, Keys, Parameters, Result,
    SecretBytes, Tenure, Workload,
};

use crate::client::{Gcp, GcpSource};
use crate::opened;
use crate::parameters::Plan;

impl Keys for Gcp {
    fn keyring(
        &self,
        _namespace: &str,
        parameters: &Parameters,
        ciphertexts: &[Ciphertext],
    ) -> std::result::Result<Arc<dyn Keyring>, Vec<Invalid>> {
        let plan = Plan::of_keys(parameters, self.0.servers.config(), ciphertexts)?;
        Ok(Arc::new(GcpSource { store: plan.store(), plan, provider: Arc::clone(&self.0) }))
    }
}

#[async_trait]
impl Keyring for GcpSource {
    async fn encrypt(
        &self,
        workload: &Workload,
        key: &str,
        plain: &SecretBytes,
        context: &Context,
    ) -> Result<Encrypted> {
        let key = opened::key(key).map_err(|why| Error::new(ErrorKind::Invalid, format!("kmsKey: {why}")))?;
        self.seated(workload, Tenure::Shared).await?.encrypt(&key, plain, context).await
    }
}
