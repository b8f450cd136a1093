//! Parameters of one region, by the API of the Parameter Store.

use futures::FutureExt as _;
use provider::{Error, ErrorKind, Found, Result};
use provider_client::Answer;
use serde_json::json;

use crate::answer::{Parameters, of_json};
use crate::client::session::{Asker, Question, few_at_once};
use crate::client::wire::{nonsense, refusal};
use crate::meaning::Asked;

/// What each of `questions` brings, in one call. AWS judges the whole of it: what it refuses is asked for one by one, so
/// that one parameter takes none of the others along.
pub(crate) async fn read(asker: Asker<'_>, questions: &[Question<'_>]) -> Vec<Result<Found>> {
    match together(asker, questions).await {
        Ok(found) => found,
        Err(error) if questions.len() > 1 && is_about_one(error.kind()) => {
            few_at_once(questions.iter().map(|question| alone(asker, question).boxed()).collect()).await
        }
        Err(error) => questions.iter().map(|_| Err(error.clone())).collect(),
    }
}

fn is_about_one(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Denied | ErrorKind::Invalid | ErrorKind::NotFound | ErrorKind::Revoked)
}

async fn alone(asker: Asker<'_>, question: &Question<'_>) -> Result<Found> {
    let found = together(asker, std::slice::from_ref(question)).await?.pop();
    found.unwrap_or_else(|| Err(nonsense(&asker.what(question.wanted))))
}

async fn together(asker: Asker<'_>, questions: &[Question<'_>]) -> Result<Vec<Result<Found>>> {
    let what = match questions {
        [question] => asker.what(question.wanted),
        many => format!("{} parameters in {} as {}", many.len(), asker.way.region(), asker.identity),
    };
    let mut selectors: Vec<_> = questions.iter().map(|question| question.wanted.selector()).collect();
    selectors.sort();
    selectors.dedup();
    let body = json!({"Names": selectors, "WithDecryption": true});
    let answer = asker.way.json(&what, "GetParameters", &body, asker.keys).await?;
    if !answer.is_success() {
        return Err(refusal(&answer, Asked::Read, &what, &[]));
    }
    sort(asker, questions, &answer).ok_or_else(|| nonsense(&what))
}

/// What the answer has for each question. `None` if it is none of AWS's.
fn sort(asker: Asker<'_>, questions: &[Question<'_>], answer: &Answer) -> Option<Vec<Result<Found>>> {
    let Parameters { parameters, invalid_parameters } = of_json(&answer.body)?;
    let find = |question: &Question<'_>| {
        let (wanted, what) = (question.wanted, asker.what(question.wanted));
        match parameters.iter().find(|parameter| parameter.is(wanted)) {
            Some(parameter) => Ok(Found::New(parameter.reading())),
            None if invalid_parameters.contains(&wanted.selector()) => Err(absent(&what)),
            None => Err(nonsense(&what)),
        }
    };
    Some(questions.iter().map(find).collect())
}

fn absent(what: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("{what}: the Parameter Store has no such parameter or version"))
        .remedy("correct objectName, its version and the region, or create it")
}
