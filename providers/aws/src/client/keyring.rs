//! Keys of KMS as a keyring.

use std::sync::Arc;

use async_trait::async_trait;
use provider::{
    Ciphertext, Context, Encrypted, Error, ErrorKind, Invalid, Keyring, Keys, Parameters, Result,
    SecretBytes, Tenure, Workload,
};

use crate::client::{Aws, AwsSource, store};
use crate::opened;
use crate::parameters::Plan;

impl Keys for Aws {
    fn keyring(
        &self,
        _namespace: &str,
        parameters: &Parameters,
        ciphertexts: &[Ciphertext],
    ) -> std::result::Result<Arc<dyn Keyring>, Vec<Invalid>> {
        let plan = Plan::of_keys(parameters, self.0.servers.config(), ciphertexts)?;
        Ok(Arc::new(AwsSource { store: store(&plan), plan, provider: Arc::clone(&self.0) }))
    }
}

#[async_trait]
impl Keyring for AwsSource {
    async fn encrypt(
        &self,
        workload: &Workload,
        key: &str,
        plain: &SecretBytes,
        context: &Context,
    ) -> Result<Encrypted> {
        let key = opened::key(key, self.plan.regions.first.as_str())
            .map_err(|fault| Error::new(ErrorKind::Invalid, fault.to_string()))?;
        let session = self.log_in(workload, Tenure::Shared).await?;
        session.encrypt(&key, plain, context).await
    }
}
