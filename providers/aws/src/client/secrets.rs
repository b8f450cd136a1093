//! Secrets of one region, by the API of Secrets Manager.

use std::collections::BTreeSet;

use futures::FutureExt as _;
use provider::{Error, ErrorKind, Found, Result};
use serde_json::json;

use crate::answer::{Description, SecretValue, SecretValues, of_json};
use crate::call::{CURRENT, Wanted};
use crate::client::session::{Asker, Question, few_at_once};
use crate::client::wire::{nonsense, refusal};
use crate::meaning::{Asked, Words, advice};

/// Most pages of one batch.
const MOST_PAGES: usize = 20;

/// What each of `questions` brings.
pub(crate) async fn read(asker: Asker<'_>, questions: &[Question<'_>]) -> Vec<Result<Found>> {
    let probes = questions.iter().map(|question| probe(asker, question).boxed()).collect();
    let mut found: Vec<Option<Result<Found>>> = few_at_once(probes).await;
    let left: Vec<_> =
        (0_usize..).zip(&found).filter(|(_, found)| found.is_none()).map(|(at, _)| at).collect();
    let wanted: Vec<_> =
        left.iter().filter_map(|at| questions.get(*at)).map(|question| question.wanted).collect();
    for (at, value) in left.into_iter().zip(values(asker, &wanted).await) {
        if let Some(place) = found.get_mut(at) {
            *place = Some(value);
        }
    }
    found.into_iter().map(|found| found.unwrap_or_else(|| Err(untold()))).collect()
}

fn untold() -> Error {
    Error::new(ErrorKind::Unavailable, "Secrets Manager did not tell what it was asked")
}

/// Whether what is held is what a reading would bring. `None` if it has to be read to know.
async fn probe(asker: Asker<'_>, Question { wanted, held }: &Question<'_>) -> Option<Result<Found>> {
    let held = (*held)?;
    let what = asker.what(wanted);
    let body = json!({"SecretId": wanted.id});
    let answer = match asker.way.json(&what, "DescribeSecret", &body, asker.keys).await {
        Ok(answer) => answer,
        Err(error) => return Some(Err(error)),
    };
    if !answer.is_success() {
        let error = refusal(&answer, Asked::Read, &what, &[]);
        // Who may not describe a secret may read it all the same.
        return (error.kind() != ErrorKind::Denied).then_some(Err(error));
    }
    match of_json::<Description>(&answer.body) {
        None => Some(Err(nonsense(&what))),
        Some(told) if told.is_deleted() => Some(Err(deleted(&what))),
        Some(told) => told.shows(wanted, held).then_some(Ok(Found::Unchanged)),
    }
}

fn deleted(what: &str) -> Error {
    Error::new(ErrorKind::Revoked, format!("{what}: the secret is marked for deletion"))
        .remedy("restore it, or remove it from the class")
}

/// The value of each. In one call where that is possible and allowed.
async fn values(asker: Asker<'_>, wanted: &[&Wanted]) -> Vec<Result<Found>> {
    let is_one_call = wanted.len() > 1
        && wanted.iter().all(|wanted| wanted.is_current())
        && !asker.one_by_one.has(asker.namespace, asker.identity);
    if is_one_call && let Some(found) = batch(asker, wanted).await {
        return found;
    }
    few_at_once(wanted.iter().map(|wanted| value(asker, wanted).boxed()).collect()).await
}

async fn value(asker: Asker<'_>, wanted: &Wanted) -> Result<Found> {
    let what = asker.what(wanted);
    let mut body = json!({"SecretId": wanted.id});
    if let Some(version) = &wanted.version {
        body["VersionId"] = json!(version);
    }
    // Said even where it is the default: it means the same, and some servers take another one.
    let stage = wanted.label.as_deref().or(wanted.version.is_none().then_some(CURRENT));
    if let Some(stage) = stage {
        body["VersionStage"] = json!(stage);
    }
    let answer = asker.way.json(&what, "GetSecretValue", &body, asker.keys).await?;
    if !answer.is_success() {
        return Err(refusal(&answer, Asked::Read, &what, &[]));
    }
    let value = of_json::<SecretValue>(&answer.body).and_then(|value| value.reading());
    value.map(Found::New).ok_or_else(|| nonsense(&what))
}

/// All of them by batch calls. `None` if they have to be read one by one.
async fn batch(asker: Asker<'_>, wanted: &[&Wanted]) -> Option<Vec<Result<Found>>> {
    let mut found: Vec<Option<Result<Found>>> = wanted.iter().map(|_| None).collect();
    let (mut next, mut outage) = (None, None);
    for _ in 0..MOST_PAGES {
        match page(asker, wanted, next.as_deref()).await {
            Ok(page) => {
                let page = page?;
                sort(asker, wanted, &page, &mut found);
                next = page.next_token;
            }
            Err(error) => (next, outage) = (None, Some(error)),
        }
        if next.is_none() {
            break;
        }
    }
    let missing = |wanted: &Wanted| outage.clone().unwrap_or_else(|| nonsense(&asker.what(wanted)));
    let all = found.into_iter().zip(wanted);
    Some(all.map(|(found, wanted)| found.unwrap_or_else(|| Err(missing(wanted)))).collect())
}

/// One page. `Ok(None)` if the secrets have to be read one by one: the call is not allowed, or AWS judges the whole of
/// it by one of them.
async fn page(asker: Asker<'_>, wanted: &[&Wanted], next: Option<&str>) -> Result<Option<SecretValues>> {
    let what = format!("{} secrets in {} as {}", wanted.len(), asker.way.region(), asker.identity);
    // What differs in the other region only is asked for once.
    let ids: BTreeSet<_> = wanted.iter().map(|wanted| wanted.id.as_str()).collect();
    let mut body = json!({"SecretIdList": ids});
    if let Some(next) = next {
        body["NextToken"] = json!(next);
    }
    let answer = asker.way.json(&what, "BatchGetSecretValue", &body, asker.keys).await?;
    if answer.is_success() {
        return of_json(&answer.body).map(Some).ok_or_else(|| nonsense(&what));
    }
    let error = refusal(&answer, Asked::Read, &what, &[]);
    match error.kind() {
        ErrorKind::Unavailable | ErrorKind::Unauthenticated | ErrorKind::NoCredential => Err(error),
        ErrorKind::Denied => {
            if asker.one_by_one.add(asker.namespace, asker.identity) {
                tracing::warn!(
                    identity = asker.identity,
                    %error,
                    "batch calls are refused: secrets are read one by one; allow secretsmanager:BatchGetSecretValue"
                );
            }
            Ok(None)
        }
        ErrorKind::Invalid | ErrorKind::NotFound | ErrorKind::Revoked => Ok(None),
    }
}

/// Puts what a page brings wherever it was asked for.
fn sort(asker: Asker<'_>, wanted: &[&Wanted], page: &SecretValues, found: &mut [Option<Result<Found>>]) {
    for (wanted, place) in wanted.iter().zip(found) {
        let exact = page.secret_values.iter().find(|value| value.is_called(&wanted.id));
        let begun = || page.secret_values.iter().find(|value| value.is_begun_by(&wanted.id));
        if let Some(value) = exact.or_else(begun) {
            *place = Some(value.reading().map(Found::New).ok_or_else(|| nonsense(&asker.what(wanted))));
        } else if let Some(error) = page.errors.iter().find(|error| error.is_about(&wanted.id)) {
            *place = Some(Err(of_words(&error.words(), &asker.what(wanted))));
        }
    }
}

/// The error that a batch has in the place of a secret.
fn of_words(words: &Words, what: &str) -> Error {
    let kind = words.kind().unwrap_or(ErrorKind::Unavailable);
    let error = words.error(kind, what, &[]);
    match advice(Asked::Read, kind, words) {
        Some(advice) => error.remedy(advice),
        None => error,
    }
}

impl Asker<'_> {
    /// What is asked for by whom, for messages.
    pub(crate) fn what(&self, wanted: &Wanted) -> String {
        format!("{wanted} in {} as {}", self.way.region(), self.identity)
    }
}
