//! Becoming somebody at AWS: where each method gets its keys.

use std::fmt;

use jiff::Timestamp;
use provider::{Error, ErrorKind, Identity, Result, SecretBytes, Workload};
use provider_client::{credential, service_account_token, text};
use reqwest::Method as HttpMethod;
use url::form_urlencoded::Serializer;

use crate::answer::Keys;
use crate::client::wire::{Servers, nonsense, refusal};
use crate::declaration::ROLE_ANNOTATION;
use crate::meaning::Asked;
use crate::parameters::{Endpoints, Family, Method, Plan, Regions, SecondRole};
use crate::region::Service;

/// Of the token for STS.
pub(crate) const OF_STS: &str = "sts.amazonaws.com";
/// Of the token for the agent of Pod Identity.
pub(crate) const OF_POD_IDENTITY: &str = "pods.eks.amazonaws.com";

/// The keys of credentials that came with a volume.
pub(crate) const KEY_ID: &str = "access-key-id";
const SECRET_KEY: &str = "secret-access-key";
const SESSION_TOKEN: &str = "session-token";
pub(crate) const STATIC_KEYS: [&str; 3] = [KEY_ID, SECRET_KEY, SESSION_TOKEN];

/// Where EKS puts the agent of Pod Identity.
/// <https://docs.aws.amazon.com/eks/latest/userguide/pod-id-agent-setup.html>
const AGENT_V4: &str = "http://169.254.170.23";
const AGENT_V6: &str = "http://[fd00:ec2::23]";

/// A workload on its way in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Applicant<'a> {
    pub(crate) servers: &'a Servers,
    pub(crate) plan: &'a Plan,
    pub(crate) method: Method,
    /// For the pod's token, where the method takes one.
    pub(crate) role: Option<&'a str>,
    pub(crate) workload: &'a Workload,
}

impl Applicant<'_> {
    /// Gets keys, and with them those of the second role, where there is one.
    ///
    /// # Errors
    ///
    /// `Unauthenticated` if AWS does not accept it; `NoCredential` if something is missing, which the message names.
    pub(crate) async fn log_in(self) -> Result<Keys> {
        let keys = match self.method {
            Method::WebIdentity => self.web_identity().await?,
            Method::PodIdentity => self.pod_identity().await?,
            Method::Keys => self.own_keys()?,
            Method::Node => self.machine().await?,
        };
        match &self.plan.auth.second {
            Some(second) => self.second_role(second, &keys).await,
            None => Ok(keys),
        }
    }

    async fn web_identity(&self) -> Result<Keys> {
        let role = self.role.ok_or_else(|| self.without_role())?;
        let token =
            service_account_token(self.workload, OF_STS, self).map_err(|error| self.on_a_host(error))?;
        let session = self.session_name();
        let form = form(&[
            ("Action", "AssumeRoleWithWebIdentity"),
            ("Version", "2011-06-15"),
            ("RoleArn", role),
            ("RoleSessionName", &session),
            ("WebIdentityToken", token.expose_str().unwrap_or_default()),
        ]);
        self.ask_sts(&form, None, &[token]).await
    }

    async fn second_role(&self, second: &SecondRole, keys: &Keys) -> Result<Keys> {
        let (session, tags) = (self.session_name(), tag_fields(second));
        let mut fields = vec![
            ("Action", "AssumeRole"),
            ("Version", "2011-06-15"),
            ("RoleArn", second.arn.as_str()),
            ("RoleSessionName", &session),
        ];
        fields.extend(second.external_id.as_deref().map(|id| ("ExternalId", id)));
        fields.extend(tags.iter().map(|(key, value)| (key.as_str(), *value)));
        let secrets: Vec<_> = std::iter::once(&keys.secret).chain(&keys.token).collect();
        self.ask_sts(&form(&fields), Some(keys), &secrets).await
    }

    /// In the first region; while that is out, in the other one. Keys are good for both.
    async fn ask_sts(
        &self,
        form: &SecretBytes,
        keys: Option<&Keys>,
        secrets: &[&SecretBytes],
    ) -> Result<Keys> {
        let Plan { regions: Regions { first, failover }, endpoints, .. } = self.plan;
        let asked = self.ask_sts_in(first, endpoints, form, keys, secrets).await;
        match (asked, failover) {
            (Err(error), Some(other)) if error.kind() == ErrorKind::Unavailable => {
                self.ask_sts_in(other, endpoints, form, keys, secrets).await.map_err(|_| error)
            }
            (asked, _) => asked,
        }
    }

    async fn ask_sts_in(
        &self,
        region: &crate::region::Region,
        endpoints: &Endpoints,
        form: &SecretBytes,
        keys: Option<&Keys>,
        secrets: &[&SecretBytes],
    ) -> Result<Keys> {
        let what = format!("{self} at STS in {region}");
        let way = self.servers.to(self.tenant(), endpoints, Service::Sts, region).await?;
        let answer = way.form(&what, form, keys).await?;
        if !answer.is_success() {
            return Err(refusal(&answer, Asked::Login, &what, secrets));
        }
        Keys::of_xml(&answer.body, Timestamp::now()).ok_or_else(|| nonsense(&what))
    }

    /// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html>
    async fn pod_identity(&self) -> Result<Keys> {
        let token = service_account_token(self.workload, OF_POD_IDENTITY, self)?;
        let agents = match (&self.servers.config().pod_identity, self.plan.auth.family) {
            (Some(agent), _) => vec![agent.as_str()],
            (None, Family::V4) => vec![AGENT_V4],
            (None, Family::V6) => vec![AGENT_V6],
            (None, Family::Either) => vec![AGENT_V4, AGENT_V6],
        };
        let mut outage = None;
        for agent in agents {
            match self.ask_agent(agent, token).await {
                Err(error) if error.kind() == ErrorKind::Unavailable => drop(outage.get_or_insert(error)),
                asked => return asked,
            }
        }
        Err(outage.unwrap_or_else(|| nonsense(&self.to_string())))
    }

    async fn ask_agent(&self, agent: &str, token: &SecretBytes) -> Result<Keys> {
        let what = format!("{self} at the agent of Pod Identity");
        let http = self.servers.agent(self.tenant(), agent).await?;
        let header = provider_client::confidential(&[token.expose()]);
        let header = header.ok_or_else(|| {
            Error::new(ErrorKind::Unauthenticated, format!("{what}: the token is no header"))
        })?;
        let request =
            http.request(HttpMethod::GET, http.url(["v1", "credentials"])?).header("authorization", header);
        let answer = http.call(&what, request).await?;
        match answer.status {
            200..=299 => Keys::of_json(&answer.body, Timestamp::now()).ok_or_else(|| nonsense(&what)),
            400..=499 if answer.status != 429 => {
                let message = format!("{what}: the agent answered {}", answer.status);
                let remedy = "associate a role with the service account in EKS (aws eks create-pod-identity-association)";
                Err(Error::new(ErrorKind::Unauthenticated, message).remedy(remedy))
            }
            status => Err(Error::new(ErrorKind::Unavailable, format!("{what}: the agent answered {status}"))),
        }
    }

    fn own_keys(&self) -> Result<Keys> {
        let trimmed =
            |secret: &SecretBytes| text(secret).map(|text| SecretBytes::new(text.as_bytes().to_vec()));
        let of = |key| {
            credential(self.workload, key, self)
                .and_then(|secret| trimmed(secret).ok_or_else(|| self.unfit(key)))
        };
        let (id, secret) = (of(KEY_ID)?, of(SECRET_KEY)?);
        let token =
            self.workload.credentials.get(SESSION_TOKEN).and_then(trimmed).filter(|token| !token.is_empty());
        let id = id.expose_str().unwrap_or_default().to_owned();
        Keys { id, secret, token, lasts: None }.whole().ok_or_else(|| self.unfit(KEY_ID))
    }

    /// The instance role, by version 2 of the metadata service.
    /// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-security-credentials.html>
    async fn machine(&self) -> Result<Keys> {
        if !self.servers.config().network.machine.is_for(self.workload) {
            return Err(self.not_this_machine());
        }
        const ROLES: [&str; 5] = ["latest", "meta-data", "iam", "security-credentials", ""];
        let put = self.ask_metadata(HttpMethod::PUT, &["latest", "api", "token"], None).await?;
        let role = self.ask_metadata(HttpMethod::GET, &ROLES, Some(&put)).await?;
        let role = text(&role).and_then(|roles| roles.lines().next()).unwrap_or_default().to_owned();
        let path: Vec<_> = ROLES.iter().copied().take(4).chain([role.as_str()]).collect();
        let told = self.ask_metadata(HttpMethod::GET, &path, Some(&put)).await?;
        Keys::of_json(&told, Timestamp::now()).ok_or_else(|| nonsense(&self.to_string()))
    }

    async fn ask_metadata(
        &self,
        method: HttpMethod,
        path: &[&str],
        token: Option<&SecretBytes>,
    ) -> Result<SecretBytes> {
        let what = format!("{self} at the machine's metadata service");
        let http = self.servers.agent(self.tenant(), &self.servers.config().metadata).await?;
        let request = http.request(method, http.url(path.iter().copied())?);
        let request = match token {
            None => request.header("x-aws-ec2-metadata-token-ttl-seconds", "60"),
            Some(token) => {
                let token =
                    provider_client::confidential(&[token.expose()]).ok_or_else(|| nonsense(&what))?;
                request.header("x-aws-ec2-metadata-token", token)
            }
        };
        let answer = http.call(&what, request).await?;
        match answer.status {
            200..=299 => Ok(answer.body),
            404 => Err(Error::new(ErrorKind::Unauthenticated, format!("{what}: the machine has no role"))
                .remedy("give the instance an instance profile")),
            status => Err(Error::new(ErrorKind::Unavailable, format!("{what}: it answered {status}"))),
        }
    }

    /// There no CSIDriver object brings tokens.
    fn on_a_host(&self, error: Error) -> Error {
        match self.workload.pod {
            Some(_) => error,
            None => error.remedy(
                "give --service-account-token sts.amazonaws.com=FILE, or --credential access-key-id=FILE and \
                 secret-access-key=FILE, or --identity host",
            ),
        }
    }

    fn without_role(&self) -> Error {
        let annotation = ROLE_ANNOTATION.name;
        let looked = match (&self.workload.pod, &self.servers.config().network.accounts) {
            (Some(_), Some(_)) => format!(", annotate the service account with {annotation}"),
            // It may be there, and nobody looks at it.
            (Some(_), None) => {
                format!(", let {annotation} of service accounts be read (--service-account-annotations)")
            }
            (None, _) => String::new(),
        };
        Error::new(ErrorKind::Invalid, format!("{self}: there is no IAM role for it"))
            .remedy(format!("set roleArn in the class{looked}, or set --aws-role-arn where secretfs runs"))
    }

    fn unfit(&self, key: &str) -> Error {
        Error::new(ErrorKind::Unauthenticated, format!("{self}: the credential {key:?} is no access key"))
            .remedy("check the Secret that nodePublishSecretRef names, or the file of --credential")
    }

    fn not_this_machine(&self) -> Error {
        let remedy = match self.workload.pod {
            Some(_) => {
                "have the administrator list the namespace in --allow-node-identity, or use the pod's own role"
            }
            None => "mount with --identity host, or give credentials",
        };
        Error::new(ErrorKind::Invalid, format!("{self}: it may not act as this machine")).remedy(remedy)
    }

    fn tenant(&self) -> &str {
        &self.workload.identity.namespace
    }

    /// What CloudTrail shows. <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>
    fn session_name(&self) -> String {
        let Identity { namespace, name, .. } = &self.workload.identity;
        let fits = |c: &char| c.is_ascii_alphanumeric() || "=,.@-_".contains(*c);
        format!("secretfs-{namespace}-{name}").chars().filter(fits).take(64).collect()
    }
}

/// Who logs in and as whom, for messages.
impl fmt::Display for Applicant<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Identity { namespace, name, .. } = &self.workload.identity;
        write!(f, "login of {namespace}/{name}")?;
        self.role.map_or(Ok(()), |role| write!(f, " as {role}"))
    }
}

fn tag_fields(second: &SecondRole) -> Vec<(String, &str)> {
    let tags = second.tags.iter().zip(1_usize..);
    let field = |((key, value), index)| {
        [
            (format!("Tags.member.{index}.Key"), key as &str),
            (format!("Tags.member.{index}.Value"), value as &str),
        ]
    };
    tags.flat_map(|((key, value), index)| field(((key.as_str(), value.as_str()), index))).collect()
}

fn form(fields: &[(&str, &str)]) -> SecretBytes {
    let longest = fields.iter().map(|(key, value)| key.len() + 3 * value.len() + 2).sum();
    Serializer::new(String::with_capacity(longest)).extend_pairs(fields).finish().into()
}
