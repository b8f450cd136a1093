//! Orders as objects of an API server.

use engine::revocation::{Given, Target};
use kubernetes::connection;
use kubernetes::revocations::{Wish, giving};

use super::{Answer, PlaceArgs, RevokeArgs, UnrevokeArgs};
use crate::commands::migrate::of_this_user;
use crate::exit::Failure;

pub(super) async fn give(args: &RevokeArgs, given: &Given, target: Target) -> Result<Answer, Failure> {
    let client = connect(&args.place).await?;
    let everything = target == Target::default();
    let wish = Wish { target, everything, reason: args.reason.clone() };
    let name = giving::give(&client, given, args.name.as_deref(), &wish).await?;
    Ok(Answer::of(given, name, true))
}

pub(super) async fn take_away(args: &UnrevokeArgs, given: &Given) -> Result<Answer, Failure> {
    let client = connect(&args.place).await?;
    giving::take_away(&client, given, &args.name).await?;
    Ok(Answer::of(given, args.name.clone(), false))
}

async fn connect(place: &PlaceArgs) -> Result<kubernetes::connection::Client, Failure> {
    let kubeconfig = place.kubeconfig.clone().or_else(of_this_user);
    let hint = "without a cluster, --here revokes on this host";
    connection::connect(kubeconfig.as_deref()).await.map_err(|error| Failure::Failed(error.context(hint)))
}
