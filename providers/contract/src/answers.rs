//! Checks what a provider makes of classes and of answers.

use std::collections::BTreeSet;

use provider::ErrorKind;

use crate::opened::{fetch, open, serves, session, source};
use crate::{Behaviour, Broken, Fixture, VALUE, Who, owe};

const KINDS: [ErrorKind; 7] = [
    ErrorKind::Invalid,
    ErrorKind::NotFound,
    ErrorKind::Revoked,
    ErrorKind::Denied,
    ErrorKind::Unauthenticated,
    ErrorKind::NoCredential,
    ErrorKind::Unavailable,
];

pub(crate) async fn offline(fixture: &dyn Fixture) -> Result<(), Broken> {
    let before = fixture.traffic();
    let provider = fixture.provider();
    let class = source(fixture, &*provider, &["one", "two"], Who::One);
    let _ = (
        class.store(),
        class.audience(),
        class.exposure().is_some(),
        class.origin(0),
        class.origin(usize::MAX),
    );
    if class.whole().is_none() {
        let paths: Vec<_> = class.objects().iter().map(|object| object.path.as_str()).collect();
        owe(paths == ["one", "two"], || format!("a class of one and two has {paths:?}"))?;
    }
    if let Some(nonsense) = fixture.nonsense() {
        let refused = provider.source("shop", &nonsense).err();
        let told = refused.as_ref().is_some_and(|faults| !faults.is_empty());
        owe(told, || format!("a class that makes no sense is answered with {refused:?}"))?;
    }
    // Time for a connection that was started to arrive.
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    let after = fixture.traffic();
    let asked = after.logins > before.logins || after.reads > before.reads || after.open > before.open;
    owe(!asked, || format!("understanding a class asked the store: {before:?}, then {after:?}"))
}

pub(crate) async fn kinds(fixture: &dyn Fixture) -> Result<(), Broken> {
    fixture.put("mine", VALUE);
    let mut seen = BTreeSet::new();
    for (index, said) in fixture.answers().into_iter().enumerate() {
        let provider = fixture.provider();
        fixture.behave(Behaviour::Serve);
        let opened = open(fixture, &*provider, &["mine"], Who::One, "v").await;
        let opened = opened.map_err(|error| Broken(format!("no session: {error}")))?;
        fixture.behave(Behaviour::Says(index));
        match opened.text("mine").await {
            Ok(_) => return Err(Broken(format!("{}: it is taken for a value", said.what))),
            Err(error) => owe(error.kind() == said.kind, || {
                format!("{}: it is {:?} and not {:?}: {error}", said.what, error.kind(), said.kind)
            })?,
        }
        seen.insert(said.kind);
        fixture.behave(Behaviour::Serve);
        serves(fixture, &*provider, "mine", VALUE).await?;
    }
    seen.extend(without_credentials(fixture).await?);
    let never: BTreeSet<_> = fixture.never().into_iter().map(|(kind, _)| kind).collect();
    for kind in KINDS {
        owe(seen.contains(&kind) || never.contains(&kind), || {
            format!("no answer is {kind:?}, and no reason is given")
        })?;
    }
    for (kind, reason) in fixture.never() {
        println!("Kinds: no answer is {kind:?}: {reason}");
    }
    Ok(())
}

/// Reads for a volume that came without tokens and credentials. The provider has to say so without asking the store.
async fn without_credentials(fixture: &dyn Fixture) -> Result<Option<ErrorKind>, Broken> {
    let provider = fixture.provider();
    let class = source(fixture, &*provider, &["mine"], Who::One);
    if class.audience().is_none() {
        return Ok(None);
    }
    let before = fixture.traffic();
    let session = session(&class, &crate::pod(Who::One, "v")).await;
    let kind = session.as_ref().err().map(provider::Error::kind);
    owe(kind == Some(ErrorKind::NoCredential), || {
        format!("a volume without a token for {:?} is answered {session:?}", class.audience())
    })?;
    owe(fixture.traffic().logins == before.logins, || "it was asked without a token".to_owned())?;
    let _ = fetch(fixture, &*provider, "mine", Who::One).await;
    Ok(kind)
}
