//! Logging in: keys of AWS, and a token for them.

use std::fmt;

use provider::{Error, ErrorKind, Identity, Result, SecretBytes, Workload};
use provider_client::{Fingerprint, Fingerprints, credential, service_account_token, text};

use crate::aws::{self, Keys};
use crate::kmsauth;
use crate::meaning::Asked;
use crate::parameters::Plan;
use crate::servers::Servers;

/// Of the token for STS.
pub(crate) const AUDIENCE: &str = "sts.amazonaws.com";
/// The keys of an access key that comes with a volume, as for AWS's own stores.
const KEY_ID: &str = "access-key-id";
const SECRET_KEY: &str = "secret-access-key";
const SESSION_TOKEN: &str = "session-token";

/// A workload on its way in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Applicant<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) workload: &'a Workload,
}

impl Applicant<'_> {
    /// Logs in: what is shown to Confidant from then on.
    ///
    /// # Errors
    ///
    /// `Unauthenticated` or `Denied` if AWS refuses; `NoCredential` if something is missing, which the message names.
    pub(crate) async fn log_in(self, servers: &Servers) -> Result<SecretBytes> {
        let (what, account) = (self.to_string(), &self.plan.account);
        let tenant = &self.workload.identity.namespace;
        let keys = match &account.role {
            Some(role) => {
                let token = service_account_token(self.workload, AUDIENCE, &self)?;
                let connection = servers.aws(tenant, Asked::Sts, &account.region).await?;
                aws::keys_of_role(&connection, &what, role, &self.session_name(), token).await?
            }
            None => self.own_keys()?,
        };
        let connection = servers.aws(tenant, Asked::Kms, &account.region).await?;
        let token = aws::token_of_service(&connection, &what, account, &keys).await?;
        Ok(kmsauth::shown(account, &token))
    }

    fn own_keys(&self) -> Result<Keys> {
        let id = self.text(credential(self.workload, KEY_ID, self)?)?.to_owned();
        let secret = self.text(credential(self.workload, SECRET_KEY, self)?)?.to_owned().into();
        let token = self.workload.credentials.get(SESSION_TOKEN);
        let token = token.map(|token| self.text(token).map(|text| text.to_owned().into())).transpose()?;
        Ok(Keys { id, secret, token })
    }

    fn text<'s>(&self, secret: &'s SecretBytes) -> Result<&'s str> {
        let no_text = || Error::new(ErrorKind::NoCredential, format!("{self}: a credential is no text"));
        text(secret).ok_or_else(no_text)
    }

    /// Of what the login rests on beside the service account.
    pub(crate) fn fingerprint(&self, fingerprints: &Fingerprints) -> Option<Fingerprint> {
        let keys = [KEY_ID, SECRET_KEY, SESSION_TOKEN];
        let keys = keys.into_iter().filter_map(|key| self.workload.credentials.get(key));
        self.plan.account.role.is_none().then(|| fingerprints.of(keys))
    }

    /// What CloudTrail shows. <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>
    fn session_name(&self) -> String {
        let Identity { namespace, name, .. } = &self.workload.identity;
        let fits = |c: &char| c.is_ascii_alphanumeric() || "=,.@-_".contains(*c);
        format!("secretfs-{namespace}-{name}").chars().filter(fits).take(64).collect()
    }
}

/// Who logs in and as which service, for messages.
impl fmt::Display for Applicant<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Identity { namespace, name, .. } = &self.workload.identity;
        let account = &self.plan.account;
        write!(f, "login of {namespace}/{name} as service {}", account.service)?;
        account.role.as_ref().map_or(Ok(()), |role| write!(f, " by {role}"))
    }
}
