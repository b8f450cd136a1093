//! Checks that logins are shared, and that they end.

use crate::opened::{Opened, open};
use crate::{Broken, Fixture, VALUE, Who, owe};
use futures::future::try_join_all;

pub(crate) async fn check(fixture: &dyn Fixture) -> Result<(), Broken> {
    fixture.put("mine", VALUE);
    let provider = fixture.provider();
    let logins = || fixture.traffic().logins;
    let failed = |error: provider::Error| Broken(format!("no session: {error}"));

    let before = logins();
    let volumes: Vec<_> = (0..10).map(|n| format!("v{n}")).collect();
    let names = ["mine"];
    let all = volumes.iter().map(|volume| open(fixture, &*provider, &names, Who::One, volume));
    let all: Vec<Opened> = try_join_all(all).await.map_err(failed)?;
    owe(logins() == before + 1, || format!("ten volumes of one account made {} logins", logins() - before))?;

    let held = open(fixture, &*provider, &names, Who::One, "w").await.map_err(failed)?;
    owe(logins() == before + 1, || "a login that is held is made again".to_owned())?;
    held.session.discard();
    let anew = open(fixture, &*provider, &names, Who::One, "w").await.map_err(failed)?;
    owe(logins() == before + 2, || "a login that was discarded is given out again".to_owned())?;
    owe(anew.text("mine").await.is_ok(), || "the new login cannot read".to_owned())?;

    drop((all, held, anew));
    open(fixture, &*provider, &names, Who::One, "x").await.map_err(failed)?;
    owe(logins() == before + 3, || "a login that nobody holds is kept".to_owned())
}
