//! `secretfs why`: the state of a volume and the reasons for it, in sentences.

use serde::Serialize;

use super::output::{OutputArgs, count, plain, time};
use super::running::SocketArgs;
use super::status::reader;
use crate::admin::{ObjectState, ObjectStatus, VolumeStatus, WaitingStatus};
use crate::exit::Outcome;

/// Tell why a volume is as it is: what the store said, since when, who asked, and what happens next
///
/// For a pod that waits in ContainerCreating, it tells the last reason why a volume is not mounted.
///
///   secretfs why shop/web-1
///   secretfs why /run/app/secrets
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct WhyArgs {
    /// An id, the beginning of one, a target path or namespace/pod
    volume: String,
    #[command(flatten)]
    socket: SocketArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs `secretfs why`.
///
/// # Errors
///
/// No process answers, or none has that volume.
pub async fn run(args: WhyArgs) -> Outcome {
    let (served, waiting) = args.socket.volumes().await?.select_any(&args.volume)?;
    let volumes = served.into_iter().map(|served| served.volume).map(Box::new).map(Told::Mounted);
    let told: Vec<Told> = volumes.chain(waiting.into_iter().map(Told::Waiting)).collect();
    Ok(args.output.print(&told, |told| told.iter().map(Told::text).collect::<Vec<_>>().join("\n"))?)
}

/// What is printed about one volume.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Told {
    Mounted(Box<VolumeStatus>),
    Waiting(WaitingStatus),
}

impl Told {
    fn text(&self) -> String {
        match self {
            Self::Mounted(volume) => text(volume),
            Self::Waiting(volume) => waiting(volume),
        }
    }
}

fn waiting(volume: &WaitingStatus) -> String {
    let pod = volume.pod_name().unwrap_or_else(|| format!("{}/{}", volume.namespace, volume.service_account));
    let times = match volume.times {
        1 => format!("was refused {} ago", time(volume.last_seconds_ago)),
        times => format!(
            "was refused {times} times in {}, the last time {} ago",
            time(volume.first_seconds_ago),
            time(volume.last_seconds_ago)
        ),
    };
    format!(
        "{pod} waits: its volume {} of class {} is not mounted. It {times}:\n\n  {}.\n\n\
         It is tried again by itself.\n",
        volume.volume,
        volume.class,
        plain(&volume.reason)
    )
}

fn text(volume: &VolumeStatus) -> String {
    let ailing: Vec<&ObjectStatus> = volume.objects.iter().filter(|object| !object.state.is_well()).collect();
    let mut text = format!("{}\n{}\n", summary(volume, ailing.len()), reading(volume));
    if let Some(error) = &volume.last_error {
        text += &format!("\nThe last refresh failed: {}.\n", plain(error));
    }
    if !volume.sub_paths.is_empty() {
        text += &format!("\n{}\n", sub_paths(&volume.sub_paths));
    }
    for object in ailing {
        text += &format!("\n{}\n", trouble(object));
    }
    for remark in &volume.remarks {
        text += &format!("\n{}.\n", plain(remark));
    }
    text
}

fn summary(volume: &VolumeStatus, ailing: usize) -> String {
    let name = format!("{} (volume {}, class {})", volume.target.display(), volume.volume, volume.class);
    match (ailing, &volume.last_error) {
        (0, None) if volume.awaits_credentials => {
            format!("{name} shows what it showed before secretfs was started.")
        }
        (0, None) => format!("{name} shows what the store has."),
        (0, Some(_)) => format!("{name} may not show what the store has."),
        _ => {
            let objects = count(volume.objects.len(), "object");
            format!("{name} is not as the store has it: {ailing} of {objects}.")
        }
    }
}

fn reading(volume: &VolumeStatus) -> String {
    let identity =
        volume.identity.as_ref().map_or(" without a login so far".to_owned(), |who| format!(" as {who}"));
    let confirmed = volume.confirmed_seconds_ago.map_or_else(
        || "The store has not confirmed all of it yet".to_owned(),
        |age| format!("The store confirmed all of it {} ago", time(age)),
    );
    format!(
        "It is for {}, read from {}{identity}.\n{confirmed}; {}.",
        reader(volume),
        source(volume),
        next(volume)
    )
}

fn source(volume: &VolumeStatus) -> String {
    match (&volume.provider, &volume.store) {
        (Some(provider), Some(store)) => format!("{provider} at {store}"),
        (Some(provider), None) => provider.clone(),
        (None, _) => "a store that is not known yet".to_owned(),
    }
}

fn next(volume: &VolumeStatus) -> String {
    match volume.next_try_in_seconds {
        _ if volume.awaits_credentials => "it is asked again when kubelet brings the pod's token".to_owned(),
        Some(seconds) => format!("it is asked again in {}", time(seconds)),
        None => "no next try is planned".to_owned(),
    }
}

fn sub_paths(containers: &[String]) -> String {
    let (whose, mount) =
        if containers.len() == 1 { ("Container", "mounts") } else { ("Containers", "mount") };
    format!(
        "{whose} {} {mount} single files of it by subPath and see no rotation.\n  \
         Mount the volume's directory instead, or restart the pod after each rotation.",
        containers.join(" and ")
    )
}

fn trouble(object: &ObjectStatus) -> String {
    let said = plain(object.last_error.as_deref().unwrap_or("nothing more"));
    format!("{} ({}) {}.\n  The store said: {said}.", object.name, object.path, shown(object))
}

fn shown(object: &ObjectStatus) -> String {
    let version = object.version.as_ref().map_or_else(String::new, |version| format!(" version {version}"));
    let age = object
        .confirmed_seconds_ago
        .map_or_else(|| "never confirmed".to_owned(), |seconds| format!("confirmed {} ago", time(seconds)));
    match object.state {
        ObjectState::Fresh => format!("is fresh: it shows{version}, {age}"),
        ObjectState::Stale => format!("is stale: the store is away, it still shows{version}, {age}"),
        ObjectState::Denied => format!("is denied: the store refuses it now, it still shows{version}, {age}"),
        ObjectState::Revoked => format!("is revoked: the store took it back, it still shows{version}, {age}"),
        ObjectState::Missing => "is missing, which the class allows".to_owned(),
        ObjectState::Withdrawn => format!("is withdrawn: its file was taken back{}", last_confirmed(object)),
    }
}

/// The last confirmation, as far as this process knows. An earlier process may have removed the file.
fn last_confirmed(object: &ObjectStatus) -> String {
    let told = |seconds| format!(", last confirmed {} ago", time(seconds));
    object.confirmed_seconds_ago.map_or_else(String::new, told)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::samples;

    #[test]
    fn a_withdrawn_file_is_never_said_to_be_unconfirmed() {
        let withdrawn = |confirmed_seconds_ago| ObjectStatus {
            state: ObjectState::Withdrawn,
            confirmed_seconds_ago,
            ..samples::ailing().objects.remove(0)
        };

        assert_eq!(shown(&withdrawn(None)), "is withdrawn: its file was taken back");
        let told = "is withdrawn: its file was taken back, last confirmed 40 s ago";
        assert_eq!(shown(&withdrawn(Some(40))), told);
    }

    const AILING: &str = include_str!("../../tests/golden/why-ailing.txt");
    const WELL: &str = include_str!("../../tests/golden/why-well.txt");
    const REFUSED: &str = include_str!("../../tests/golden/why-refused.txt");
    const WAITING: &str = include_str!("../../tests/golden/why-waiting.txt");

    #[test]
    fn an_ailing_volume_is_told_with_the_stores_words_and_the_next_try() {
        assert_eq!(text(&samples::ailing()), AILING);
    }

    #[test]
    fn a_volume_that_is_well_is_said_to_be() {
        assert_eq!(text(&samples::well()), WELL);
    }

    #[test]
    fn a_pod_that_waits_is_told_what_was_said_last_how_often_and_when() {
        let once = WaitingStatus { times: 1, ..samples::refused() };

        assert_eq!(waiting(&samples::refused()), REFUSED);
        assert!(waiting(&once).contains("It was refused 12 s ago:"));
    }

    #[test]
    fn containers_that_no_rotation_reaches_are_named() {
        let volume = VolumeStatus { sub_paths: vec!["web".to_owned(), "side".to_owned()], ..samples::well() };

        let told = text(&volume);

        assert!(told.contains("Containers web and side mount single files of it by subPath"), "{told}");
    }

    #[test]
    fn a_volume_that_waits_for_a_token_says_whose_turn_it_is() {
        assert_eq!(text(&samples::waiting()), WAITING);
    }
}
