//! Listings of one region, each with the values of all that it names.

use futures::FutureExt as _;
use provider::{Error, ErrorKind, Found, Leaf, Reading, Result, Tree};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::answer::{ListedSecret, ListedSecrets, ParametersByPath, of_json};
use crate::call::{Call, SECRETS_OF_A_CALL, Wanted};
use crate::client::secrets;
use crate::client::session::{Asker, Question, few_at_once};
use crate::client::wire::{nonsense, refusal};
use crate::listed::below;
use crate::meaning::Asked;
use crate::region::Service;

/// Parameters of one page, at most.
/// <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParametersByPath.html>
const PARAMETERS_OF_A_PAGE: usize = 10;
/// Secrets of one page, at most.
/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_ListSecrets.html>
const SECRETS_OF_A_PAGE: usize = 100;
/// Pages beside those that full ones would take: AWS may send any that is not full.
const MORE_PAGES: usize = 10;

/// What is listed, and in which words it is asked for.
struct Asking<'a> {
    asker: Asker<'a>,
    call: &'a Call,
    wanted: &'a Wanted,
    most: usize,
}

/// What the listing `call` brings. `held` is the version that was read before, where its names and versions may tell that
/// nothing has changed.
pub(crate) async fn read(asker: Asker<'_>, call: &Call, question: &Question<'_>) -> Result<Found> {
    let most = call.sought.as_ref().map_or(0, |sought| sought.most);
    let asking = Asking { asker, call, wanted: question.wanted, most };
    match call.service {
        Service::Ssm => asking.parameters().await.map(Found::New),
        Service::SecretsManager | Service::Sts | Service::Kms => asking.secrets(question.held).await,
    }
}

impl Asking<'_> {
    async fn parameters(&self) -> Result<Reading> {
        let body = json!({
            "Path": self.wanted.id, "Recursive": true, "WithDecryption": true, "MaxResults": PARAMETERS_OF_A_PAGE,
        });
        let mut leaves = Vec::new();
        let (mut next, mut pages) = (None, self.pages(PARAMETERS_OF_A_PAGE));
        loop {
            let page: ParametersByPath = self.page("GetParametersByPath", &body, next, &mut pages).await?;
            for parameter in page.parameters {
                let path = self.below(parameter.name())?;
                let found = Ok(parameter.reading());
                leaves.push(Leaf { path, name: parameter.name().to_owned(), found });
            }
            next = page.next_token;
            if next.is_none() || leaves.len() > self.most {
                return Leaf::pack(&leaves, self.most);
            }
        }
    }

    async fn secrets(&self, held: Option<&str>) -> Result<Found> {
        let listed = self.listed_secrets().await?;
        // With a probe only: who is not asked for values does not say whether they may be read still.
        let version = self.call.probe.then(|| versions(&listed));
        if held.is_some() && held == version.as_deref() {
            return Ok(Found::Unchanged);
        }
        let mut leaves = Vec::new();
        for (secret, found) in listed.iter().zip(self.values(&listed).await) {
            let found = found.and_then(|found| found.reading(None));
            leaves.push(Leaf::of(self.below(&secret.name)?, secret.name.clone(), found)?);
        }
        Ok(Found::New(Reading { version, ..Leaf::pack(&leaves, self.most)? }))
    }

    /// The secrets that the class asks for, in the order of their names. AWS's filters may let others through: a key and a
    /// value count for them even where they are of two tags.
    async fn listed_secrets(&self) -> Result<Vec<ListedSecret>> {
        let body = json!({"MaxResults": SECRETS_OF_A_PAGE, "Filters": self.filters()});
        let mut listed = Vec::new();
        let (mut next, mut pages) = (None, self.pages(SECRETS_OF_A_PAGE));
        loop {
            let page: ListedSecrets = self.page("ListSecrets", &body, next, &mut pages).await?;
            listed.extend(page.secret_list.into_iter().filter(|secret| self.asks_for(secret)));
            if listed.len() > self.most {
                return Err(Tree::overfull(self.most));
            }
            next = page.next_token;
            if next.is_none() {
                listed.sort_by(|one, other| one.name.cmp(&other.name));
                return Ok(listed);
            }
        }
    }

    fn filters(&self) -> Vec<Value> {
        let mut filters = Vec::new();
        let mut filter = |key: &str, value: &str| filters.push(json!({"Key": key, "Values": [value]}));
        if !self.wanted.id.is_empty() {
            filter("name", &self.wanted.id);
        }
        // Of one tag only: the rest is looked at here.
        let first = self.call.sought.as_ref().and_then(|sought| sought.tags.iter().next());
        if let Some((key, value)) = first {
            filter("tag-key", key);
            value.into_iter().filter(|value| !value.is_empty()).for_each(|value| filter("tag-value", value));
        }
        filters
    }

    fn asks_for(&self, secret: &ListedSecret) -> bool {
        let Some(sought) = &self.call.sought else { return false };
        let has_tags = sought.tags.are_all(|key, value| secret.has_tag(key, value));
        !secret.is_deleted() && has_tags && secret.name.starts_with(&self.wanted.id)
    }

    async fn values(&self, listed: &[ListedSecret]) -> Vec<Result<Found>> {
        let current = |secret: &ListedSecret| Wanted { id: secret.name.clone(), version: None, label: None };
        let wanted: Vec<_> = listed.iter().map(current).collect();
        let questions: Vec<_> = wanted.iter().map(|wanted| Question { wanted, held: None }).collect();
        let calls = questions.chunks(SECRETS_OF_A_CALL);
        let calls = calls.map(|questions| secrets::read(self.asker, questions).boxed()).collect();
        few_at_once(calls).await.into_iter().flatten().collect()
    }

    fn pages(&self, of_a_page: usize) -> usize {
        self.most.div_ceil(of_a_page).saturating_add(MORE_PAGES)
    }

    /// The next page, while `left` says that there may be another one.
    async fn page<T: DeserializeOwned>(
        &self,
        operation: &str,
        body: &Value,
        next: Option<String>,
        left: &mut usize,
    ) -> Result<T> {
        let what = self.what();
        *left = left.checked_sub(1).ok_or_else(|| endless(&what))?;
        let mut body = body.clone();
        if let Some(next) = next {
            body["NextToken"] = json!(next);
        }
        let answer = self.asker.way.json(&what, operation, &body, self.asker.keys).await?;
        if answer.is_success() {
            return of_json(&answer.body).ok_or_else(|| nonsense(&what));
        }
        let error = refusal(&answer, Asked::Read, &what, &[]);
        Err(match error.kind() {
            ErrorKind::Denied => error.remedy(self.right()),
            _ => error,
        })
    }

    fn right(&self) -> &'static str {
        match self.call.service {
            Service::Ssm => {
                "allow ssm:GetParametersByPath on the path, and kms:Decrypt where it has a key of its own"
            }
            Service::SecretsManager | Service::Sts | Service::Kms => {
                "allow secretsmanager:ListSecrets, which has no resource but *"
            }
        }
    }

    fn below(&self, name: &str) -> Result<String> {
        below(self.call.service, &self.wanted.id, name).ok_or_else(|| nonsense(&self.what()))
    }

    fn what(&self) -> String {
        let kind = if self.call.service == Service::Ssm { "parameters below" } else { "a listing of" };
        format!("{kind} {:?} in {} as {}", self.wanted.id, self.asker.way.region(), self.asker.identity)
    }
}

/// Which version each secret has: the same as long as nothing changes.
fn versions(listed: &[ListedSecret]) -> String {
    let version =
        |secret: &ListedSecret| format!("{} {}\n", secret.name, secret.current().unwrap_or_default());
    listed.iter().map(version).collect()
}

fn endless(what: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("{what}: the listing has too many pages")).remedy("list less")
}
