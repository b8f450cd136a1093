//! Checks a provider with a store that is slow, sends endless answers, or is hostile.

use std::time::Duration;

use provider::{ErrorKind, Result as Read, Span};
use tokio::time::{Instant, timeout};

use crate::opened::{Opened, open, serves, session, source, until};
use crate::{Behaviour, Broken, Fixture, VALUE, Who, owe};

/// How much longer than its deadline a call may take on a busy machine.
const GRACE: Duration = Duration::from_secs(10);
/// The longest wait that a store may cause, by `provider::Error::wait`.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

async fn opened(fixture: &dyn Fixture) -> Result<Opened, Broken> {
    fixture.behave(Behaviour::Serve);
    fixture.put("mine", VALUE);
    let opened = open(fixture, &*fixture.provider(), &["mine"], Who::One, "v").await;
    opened.map_err(|error| Broken(format!("no session: {error}")))
}

/// Whether `call` ends in time with an error of one of `kinds`.
async fn given_up<T>(
    fixture: &dyn Fixture,
    what: &str,
    kinds: &[ErrorKind],
    call: impl Future<Output = Read<T>>,
) -> Result<(), Broken> {
    let patience = fixture.patience() + GRACE;
    let outcome = timeout(patience, call).await;
    let outcome =
        outcome.map_err(|_| Broken(format!("{what}: still waiting after {} s", patience.as_secs())))?;
    let kind = outcome.as_ref().err().map(provider::Error::kind);
    owe(kind.is_some_and(|kind| kinds.contains(&kind)), || format!("{what}: it is answered with {kind:?}"))
}

pub(crate) async fn bounds(fixture: &dyn Fixture) -> Result<(), Broken> {
    let opened = opened(fixture).await?;
    fixture.behave(Behaviour::Endless);
    // A store that works may be asked for too much, so the request itself may be at fault.
    let kinds = [ErrorKind::Unavailable, ErrorKind::Invalid];
    given_up(fixture, "an answer without an end", &kinds, opened.text("mine")).await?;
    fixture.behave(Behaviour::Serve);
    serves(fixture, &*fixture.provider(), "mine", VALUE).await
}

pub(crate) async fn deadlines(fixture: &dyn Fixture) -> Result<(), Broken> {
    let reader = opened(fixture).await?;
    fixture.behave(Behaviour::Hang);
    given_up(fixture, "a read that nobody answers", &[ErrorKind::Unavailable], reader.text("mine")).await?;
    if fixture.exempt().iter().any(|(clause, _)| *clause == crate::Clause::Logins) {
        return Ok(());
    }
    fixture.behave(Behaviour::HangAtLogin);
    let provider = fixture.provider();
    let class = source(fixture, &*provider, &["mine"], Who::One);
    let workload = fixture.workload(Who::One, "w");
    let login = session(&class, &workload);
    given_up(fixture, "a login that nobody answers", &[ErrorKind::Unavailable], login).await
}

pub(crate) async fn cancellation(fixture: &dyn Fixture) -> Result<(), Broken> {
    let opened = opened(fixture).await?;
    let before = fixture.traffic();
    fixture.behave(Behaviour::Hang);
    {
        let read = opened.text("mine");
        tokio::pin!(read);
        let arrived = until(|| fixture.traffic().reads > before.reads);
        tokio::select! {
            biased;
            arrived = arrived => owe(arrived, || "the read never came to the store".to_owned())?,
            outcome = &mut read => return Err(Broken(format!("the store hangs, and a read ended with {outcome:?}"))),
        }
    }
    let gone = until(|| fixture.traffic().open <= before.open).await;
    owe(gone, || format!("its connection stays open: {:?}", fixture.traffic()))?;
    fixture.behave(Behaviour::Serve);
    let started = Instant::now();
    let again = opened.text("mine").await;
    let took = started.elapsed();
    owe(again.as_ref().is_ok_and(|text| text == VALUE), || format!("the next read is {again:?}"))?;
    owe(took < fixture.patience() + GRACE, || format!("the next read waited {took:?}"))
}

pub(crate) async fn durations(fixture: &dyn Fixture) -> Result<(), Broken> {
    let opened = opened(fixture).await?;
    fixture.behave(Behaviour::Forever);
    match opened.session.read(&opened.request("mine")).await {
        Ok(reading) => {
            let long = reading.validity.is_some_and(|validity| validity.duration > Span::LONGEST);
            owe(!long, || "a reading lasts longer than anything does".to_owned())?;
        }
        Err(error) => {
            owe(error.kind() == ErrorKind::Unavailable, || format!("it is {:?}", error.kind()))?;
            owe(error.wait().is_none_or(|wait| wait <= LONGEST_WAIT), || {
                format!("{:?} are waited", error.wait())
            })?;
        }
    }
    fixture.behave(Behaviour::Serve);
    let again = opened.text("mine").await;
    owe(again.is_ok(), || format!("the provider itself waits for ever: {again:?}"))
}
