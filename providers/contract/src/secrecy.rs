//! Checks that values and tokens are in no message, and that nothing holds them longer than needed.

use provider::{Result as Read, SecretBytes};

use crate::opened::{Opened, fetch, session, source};
use crate::telling::Telling;
use crate::{Behaviour, Broken, Fixture, TOKEN, VALUE, Who, owe};

pub(crate) async fn check(fixture: &dyn Fixture) -> Result<(), Broken> {
    let telling = Telling::default();
    let _heard = tracing::subscriber::set_default(telling.clone());
    fixture.put("mine", VALUE);
    tell_everything(fixture, &telling).await;
    for secret in [VALUE, TOKEN] {
        let told = telling.find(secret);
        owe(told.is_none(), || format!("{secret} is told: {}", told.unwrap_or_default()))?;
    }
    Ok(())
}

async fn tell_everything(fixture: &dyn Fixture, telling: &Telling) {
    let provider = fixture.provider();
    for who in [Who::One, Who::Two, Who::Elsewhere] {
        let class = source(fixture, &*provider, &["mine", "absent"], who);
        let workload = fixture.workload(who, "v");
        telling.add((&provider, &class, &workload));
        match session(&class, &workload).await {
            Ok(session) => {
                let opened = Opened { source: class, session };
                tell_session(telling, &opened).await;
                // The store's answers may repeat the tokens of the reader, but not those of others.
                if who == Who::One {
                    tell_answers(fixture, telling, &opened).await;
                }
            }
            Err(error) => telling.add((error.to_string(), error)),
        }
        telling.add(&provider);
    }
}

async fn tell_session(telling: &Telling, opened: &Opened) {
    telling.add((opened, opened.session.identity()));
    for name in ["mine", "absent"] {
        let reading = opened.session.read(&opened.request(name)).await;
        tell(telling, &reading);
        if let Ok(reading) = reading {
            tell(telling, &opened.extract(name, &reading));
        }
    }
}

async fn tell_answers(fixture: &dyn Fixture, telling: &Telling, opened: &Opened) {
    for index in 0..fixture.answers().len() {
        fixture.behave(Behaviour::Says(index));
        tell(telling, &opened.read("mine").await);
        fixture.behave(Behaviour::Serve);
    }
}

fn tell<T: std::fmt::Debug>(telling: &Telling, read: &Read<T>) {
    telling.add(read);
    if let Err(error) = read {
        telling.add(error.to_string());
    }
}

/// Bytes are wiped when nothing holds them. Checks that nothing does, after session and source are dropped.
pub(crate) async fn wiping(fixture: &dyn Fixture) -> Result<(), Broken> {
    fixture.put("mine", VALUE);
    let provider = fixture.provider();
    let workload = fixture.workload(Who::One, "v");
    let class = source(fixture, &*provider, &["mine"], Who::One);
    let session = session(&class, &workload).await.map_err(|error| Broken(format!("no session: {error}")))?;
    let opened = Opened { source: class, session };
    let reading = opened.session.read(&opened.request("mine")).await;
    let reading = reading.map_err(|error| Broken(format!("it cannot be read: {error}")))?;
    drop(opened);

    let credentials = workload.tokens.values().chain(workload.credentials.values());
    let mut held = credentials.filter(|secret| secret.is_held_elsewhere()).map(SecretBytes::len);
    let held = held.next();
    owe(held.is_none(), || format!("a credential of {held:?} bytes is held after its session is gone"))?;
    owe(!reading.body.is_held_elsewhere(), || {
        "a value is held after its session and its source are gone".to_owned()
    })?;
    let again = fetch(fixture, &*provider, "mine", Who::One).await;
    owe(again.is_ok(), || format!("it cannot be read again: {again:?}"))
}
