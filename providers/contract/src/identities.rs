//! Checks that identities share nothing.

use std::collections::BTreeMap;

use crate::opened::{open, session, source};
use crate::{Broken, Fixture, VALUE, Who, owe};

const STRANGERS: [Who; 3] = [Who::Two, Who::Reborn, Who::Elsewhere];

pub(crate) async fn check(fixture: &dyn Fixture) -> Result<(), Broken> {
    fixture.put("mine", VALUE);
    let provider = fixture.provider();
    let failed = |who: Who| move |error: provider::Error| Broken(format!("{who:?} gets no session: {error}"));
    let mine = open(fixture, &*provider, &["mine"], Who::One, "v").await.map_err(failed(Who::One))?;
    let text =
        mine.text("mine").await.map_err(|error| Broken(format!("One cannot read its own: {error}")))?;
    owe(text == VALUE, || format!("One reads {text:?}"))?;

    let mut identities = BTreeMap::from([(mine.session.identity().to_owned(), Who::One)]);
    for who in STRANGERS {
        let source = source(fixture, &*provider, &["mine"], who);
        // A store may refuse already at the login.
        let Ok(session) = session(&source, &fixture.workload(who, "v")).await else { continue };
        let other = identities.insert(session.identity().to_owned(), who);
        owe(other.is_none(), || {
            format!("{who:?} and {other:?} have one identity, so what one reads is the other's")
        })?;
        let theirs = crate::opened::Opened { source, session };
        if let Ok(text) = theirs.text("mine").await {
            return Err(Broken(format!("{who:?} reads {text:?}, which is One's")));
        }
    }
    let again = mine.text("mine").await;
    owe(again.is_ok(), || format!("One cannot read any more since others were refused: {again:?}"))
}
