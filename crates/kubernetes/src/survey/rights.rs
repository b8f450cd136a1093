use std::fmt;
use std::str::FromStr;

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SubjectAccessReview,
    SubjectAccessReviewSpec,
};
use kube::Client;
use kube::api::{Api, PostParams};

use super::{Looked, Wish, answer};

/// The beginning of the user name of each service account.
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

/// One permission.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// The verb, such as `get`.
    pub verb: &'static str,
    /// API group; empty for the core group.
    pub group: &'static str,
    /// The resource, such as `secrets` or `serviceaccounts/token`.
    pub resource: &'static str,
    /// For this object only.
    pub name: Option<String>,
    /// In this namespace only.
    pub namespace: Option<String>,
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        if let Some(name) = &self.name {
            write!(f, " {name}")?;
        }
        match &self.namespace {
            Some(namespace) => write!(f, " in namespace {namespace}"),
            None => Ok(()),
        }
    }
}

/// A service account, by its namespace and name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Namespace of the service account.
    pub namespace: String,
    /// Name of the service account.
    pub name: String,
}

impl FromStr for Account {
    type Err = String;

    /// Reads `NAMESPACE/NAME`.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => {
                Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            _ => Err("write NAMESPACE/NAME".to_owned()),
        }
    }
}

/// Which of the rights that were asked for a user has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// The user that the API server judged.
    pub user: String,
    /// Rights that are needed and missing.
    pub missing: Vec<Right>,
    /// Rights that are there and not needed.
    pub needless: Vec<Right>,
}

/// Checks the rights of the account of `wish`, or of the caller if that is a service account.
pub(super) async fn judge(client: &Client, wish: &Wish) -> Looked<Judged> {
    let user = match &wish.account {
        Some(account) => format!("{SERVICE_ACCOUNT}{}:{}", account.namespace, account.name),
        None => own_account(client).await?,
    };
    let mut judged = Judged { user, missing: Vec::new(), needless: Vec::new() };
    for right in &wish.needed {
        if !may(client, wish.account.as_ref(), right).await? {
            judged.missing.push(right.clone());
        }
    }
    for right in &wish.needless {
        if may(client, wish.account.as_ref(), right).await? {
            judged.needless.push(right.clone());
        }
    }
    Ok(judged)
}

async fn own_account(client: &Client) -> Looked<String> {
    let api: Api<SelfSubjectReview> = Api::all(client.clone());
    let (parameters, review) = (PostParams::default(), SelfSubjectReview::default());
    let asked = answer("ask who we are", api.create(&parameters, &review)).await?;
    let user = asked.status.and_then(|status| status.user_info).and_then(|user| user.username);
    let user = user.unwrap_or_default();
    if user.starts_with(SERVICE_ACCOUNT) {
        return Ok(user);
    }
    Err(format!(
        "{user} asks, which is not the driver; name the driver's service account with --service-account NAMESPACE/NAME"
    ))
}

async fn may(client: &Client, account: Option<&Account>, right: &Right) -> Looked<bool> {
    let (resource, subresource) = match right.resource.split_once('/') {
        Some((resource, sub)) => (resource, Some(sub)),
        None => (right.resource, None),
    };
    let attributes = ResourceAttributes {
        verb: Some(right.verb.to_owned()),
        group: Some(right.group.to_owned()),
        resource: Some(resource.to_owned()),
        subresource: subresource.map(str::to_owned),
        name: right.name.clone(),
        namespace: right.namespace.clone(),
        ..ResourceAttributes::default()
    };
    match account {
        Some(account) => account_may(client, account, attributes).await,
        None => we_may(client, attributes).await,
    }
}

async fn we_may(client: &Client, attributes: ResourceAttributes) -> Looked<bool> {
    let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() };
    let review = SelfSubjectAccessReview { spec, ..Default::default() };
    let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let parameters = PostParams::default();
    let asked = answer("ask what we may", api.create(&parameters, &review)).await?;
    Ok(asked.status.is_some_and(|status| status.allowed))
}

async fn account_may(client: &Client, account: &Account, attributes: ResourceAttributes) -> Looked<bool> {
    let Account { namespace, name } = account;
    let groups = [
        "system:serviceaccounts".to_owned(),
        format!("system:serviceaccounts:{namespace}"),
        "system:authenticated".to_owned(),
    ];
    let spec = SubjectAccessReviewSpec {
        resource_attributes: Some(attributes),
        user: Some(format!("{SERVICE_ACCOUNT}{namespace}:{name}")),
        groups: Some(groups.to_vec()),
        ..Default::default()
    };
    let review = SubjectAccessReview { spec, ..Default::default() };
    let api: Api<SubjectAccessReview> = Api::all(client.clone());
    let parameters = PostParams::default();
    let asked = answer("ask what the driver may", api.create(&parameters, &review)).await?;
    Ok(asked.status.is_some_and(|status| status.allowed))
}
