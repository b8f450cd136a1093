//! Orders of this host: in a file, which running processes follow and later ones read before they serve.

use anyhow::anyhow;
use engine::revocation::{Given, Record, Revocation, Target};
use futures::future::join_all;

use super::{Answer, PlaceArgs, RevokeArgs, UnrevokeArgs};
use crate::admin::client;
use crate::commands::running::Silent;
use crate::exit::Failure;

pub(super) async fn give(args: &RevokeArgs, target: Target) -> Result<Answer, Failure> {
    let chosen = || format!("revoke-{:08x}", fastrand::u32(..));
    let name = args.name.clone().unwrap_or_else(chosen);
    let order = Revocation { given: Given::OnHost, name: name.clone(), target, reason: args.reason.clone() };
    let record = Record::at(&args.place.revocations);
    let is_new = record.edit(|orders| {
        let is_new = orders.iter().all(|other| other.name != order.name);
        orders.extend(is_new.then_some(order));
        is_new
    })?;
    if !is_new {
        return Err(Failure::Failed(anyhow!(
            "there is an order of this name; choose another name, or take that one away with `secretfs unrevoke --here`"
        )));
    }
    followed(&args.place, Answer::of(&Given::OnHost, name, true)).await
}

pub(super) async fn take_away(args: &UnrevokeArgs) -> Result<Answer, Failure> {
    let record = Record::at(&args.place.revocations);
    let (was_there, left) = record.edit(|orders| {
        let before = orders.len();
        orders.retain(|order| order.name != args.name);
        let left: Vec<_> = orders.iter().map(|order| format!("{} ({})", order.name, order.target)).collect();
        (orders.len() < before, left)
    })?;
    if !was_there {
        let there = if left.is_empty() {
            "there are none".to_owned()
        } else {
            format!("there are {}", left.join("; "))
        };
        return Err(Failure::Failed(anyhow!("no order of this host has this name; {there}")));
    }
    followed(&args.place, Answer::of(&Given::OnHost, args.name.clone(), false)).await
}

/// Has every running process follow the file at once, and tells what that took back. A process that does not answer
/// follows it by itself in a moment, if it runs at all.
async fn followed(place: &PlaceArgs, answer: Answer) -> Result<Answer, Failure> {
    let sockets = place.socket.sockets()?;
    let told = join_all(sockets.iter().map(|socket| client::revoked(socket))).await;
    let (mut volumes, mut silent) = (Vec::new(), Vec::new());
    for (socket, told) in sockets.iter().zip(told) {
        match told {
            Ok(revoked) => volumes.extend(revoked),
            Err(error) if error.is_nobody() => {}
            Err(client::Error::Silent { process, .. }) => silent.push(Silent::new(process, socket.clone())),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Answer { volumes: Some(volumes), silent, ..answer })
}
