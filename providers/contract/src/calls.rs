//! Checks several requests in one call.

use std::collections::BTreeSet;

use provider::{ErrorKind, Found, Query};

use crate::opened::{Opened, open};
use crate::{Broken, Fixture, VALUE, Who, owe};

const NAMES: [&str; 3] = ["one", "two", "absent"];

pub(crate) async fn check(fixture: &dyn Fixture) -> Result<(), Broken> {
    let values = [format!("{VALUE}-1"), format!("{VALUE}-2")];
    NAMES.iter().zip(&values).for_each(|(name, value)| fixture.put(name, value));
    let provider = fixture.provider();
    let opened = open(fixture, &*provider, &NAMES, Who::One, "v").await;
    let opened = opened.map_err(|error| Broken(format!("no session: {error}")))?;
    let mut requests: Vec<_> = NAMES.iter().map(|name| opened.request(name)).collect();
    requests.sort();
    requests.dedup();

    let grouped = opened.session.calls(requests.clone());
    let all: BTreeSet<_> = grouped.iter().flatten().collect();
    let sizes = grouped.iter().map(Vec::len).sum::<usize>();
    owe(all.len() == requests.len() && sizes == requests.len(), || {
        format!("{} requests are put into calls as {grouped:?}", requests.len())
    })?;
    let found = opened.read_many(requests.clone()).await;
    owe(found.len() == requests.len(), || {
        format!("{} requests have {} answers", requests.len(), found.len())
    })?;
    for (name, value) in NAMES.iter().zip(&values) {
        let shown = shown(&opened, name, &found)?;
        owe(shown.as_ref().is_ok_and(|shown| shown == value), || {
            format!("{name} is {shown:?} in a call of several")
        })?;
    }
    let absent = shown(&opened, "absent", &found)?;
    owe(absent == Err(ErrorKind::NotFound), || format!("what is absent is {absent:?} in a call of several"))?;
    unchanged(&opened).await
}

/// What the file `name` shows, from the answers of one call.
fn shown(
    opened: &Opened,
    name: &str,
    found: &[(provider::Request, provider::Result<Found>)],
) -> Result<Result<String, ErrorKind>, Broken> {
    let request = opened.request(name);
    let found = found.iter().find(|(asked, _)| *asked == request).map(|(_, found)| found);
    let reading = match found {
        Some(Ok(Found::New(reading))) => reading,
        Some(Ok(Found::Unchanged)) => {
            return Err(Broken(format!("{name} is unchanged though nothing is held")));
        }
        Some(Err(error)) => return Ok(Err(error.kind())),
        None => return Err(Broken(format!("{name} has no answer"))),
    };
    let object = opened.extract(name, reading).map_err(|error| error.kind());
    Ok(object.map(|object| String::from_utf8_lossy(object.contents.expose()).into_owned()))
}

/// Checks that a store answers "unchanged" only for the version that it has.
async fn unchanged(opened: &Opened) -> Result<(), Broken> {
    let query = Query { request: opened.request("one"), held: Some("no-such-version".to_owned()) };
    let found = opened.session.read_many(&[query]).await;
    let is_new = matches!(found.as_slice(), [Ok(Found::New(_))]);
    owe(is_new, || format!("of a version that it never had the store says {found:?}"))
}
