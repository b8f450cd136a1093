use std::sync::Arc;
use std::time::Duration;

use provider::{
    Error, ErrorKind, Found, Object, Provider, Query, Reading, Request, Result, Session, Source, Tenure,
};

use crate::site::Place;
use crate::{Broken, Fixture, Who};

/// A class, opened with a session for one workload.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) source: Arc<dyn Source>,
    pub(crate) session: Arc<dyn Session>,
}

impl Opened {
    /// What the class's file `name` shows now.
    pub(crate) async fn read(&self, name: &str) -> Result<Object> {
        let reading = self.session.read(&self.request(name)).await?;
        self.extract(name, &reading)
    }

    /// The same, as text.
    pub(crate) async fn text(&self, name: &str) -> Result<String> {
        Ok(String::from_utf8_lossy(self.read(name).await?.contents.expose()).into_owned())
    }

    /// The request whose answer has `name`.
    pub(crate) fn request(&self, name: &str) -> Request {
        let object = self.source.objects().iter().find(|object| object.path.as_str() == name);
        let request = object.map(|object| &object.request);
        let request = request.or_else(|| self.source.whole().map(provider::Whole::request));
        request.unwrap_or_else(|| panic!("the class has no {name}")).clone()
    }

    pub(crate) fn extract(&self, name: &str, reading: &Reading) -> Result<Object> {
        let told = self.source.whole().map(|whole| whole.unpack(reading)).transpose()?;
        let source = told.as_ref().unwrap_or(&self.source);
        let index = source.objects().iter().position(|object| object.path.as_str() == name);
        source.extract(index.ok_or_else(|| missing(name))?, reading)
    }

    /// Reads `requests` as the engine does: grouped into calls.
    pub(crate) async fn read_many(&self, requests: Vec<Request>) -> Vec<(Request, Result<Found>)> {
        let mut found = Vec::new();
        for requests in self.session.calls(requests) {
            let queries: Vec<_> = requests.iter().cloned().map(Query::from).collect();
            found.extend(requests.into_iter().zip(self.session.read_many(&queries).await));
        }
        found
    }
}

fn missing(name: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("the answer has no {name}"))
}

/// A class that shows `names`.
pub(crate) fn source(
    fixture: &dyn Fixture,
    provider: &dyn Provider,
    names: &[&str],
    who: Who,
) -> Arc<dyn Source> {
    let namespace = crate::pod(who, "").identity.namespace;
    let source = provider.source(&namespace, &fixture.parameters(names));
    source.unwrap_or_else(|faults| panic!("the fixture's class is refused: {faults:?}"))
}

/// Opens a class that shows `names`, for `volume` of `who`.
pub(crate) async fn open(
    fixture: &dyn Fixture,
    provider: &dyn Provider,
    names: &[&str],
    who: Who,
    volume: &str,
) -> Result<Opened> {
    let source = source(fixture, provider, names, who);
    let session = session(&source, &fixture.workload(who, volume)).await?;
    Ok(Opened { source, session })
}

/// A session of `workload`, from whichever method the source offers.
pub(crate) async fn session(
    source: &Arc<dyn Source>,
    workload: &provider::Workload,
) -> Result<Arc<dyn Session>> {
    match source.whole() {
        Some(whole) => whole.session(workload, Arc::new(Place::default())).await,
        None => source.session(workload, Tenure::Shared).await,
    }
}

/// The value of `name`, read by `who` with a new session.
pub(crate) async fn fetch(
    fixture: &dyn Fixture,
    provider: &dyn Provider,
    name: &str,
    who: Who,
) -> Result<String> {
    open(fixture, provider, &[name], who, "v").await?.text(name).await
}

/// The same. Fails if it is not the value that was put.
pub(crate) async fn serves(
    fixture: &dyn Fixture,
    provider: &dyn Provider,
    name: &str,
    value: &str,
) -> std::result::Result<(), Broken> {
    match fetch(fixture, provider, name, Who::One).await {
        Ok(text) => crate::owe(text == value, || format!("{name} is {text:?} and not what was put")),
        Err(error) => Err(Broken(format!("{name} cannot be read by who may read it: {error}"))),
    }
}

/// Waits for `done`, at most ten seconds.
pub(crate) async fn until(mut done: impl FnMut() -> bool) -> bool {
    for _ in 0..1000 {
        if done() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}
