//! `secretfs status`: what is mounted, and how it is doing.

use serde::Serialize;

use super::output::{OutputArgs, table, time};
use super::running::{SocketArgs, select};
use crate::admin::{ObjectState, ObjectStatus, VolumeStatus};
use crate::exit::Outcome;

/// Show the volumes that are mounted and how they are doing
#[derive(Debug, clap::Args)]
pub struct StatusArgs {
    /// Only this one, with its objects: an id, the beginning of one, a target path or namespace/pod
    volume: Option<String>,
    #[command(flatten)]
    socket: SocketArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Serialize)]
struct Answer {
    volumes: Vec<VolumeStatus>,
}

/// Runs it.
///
/// # Errors
///
/// No process answers, or none has that volume.
pub async fn run(args: StatusArgs) -> Outcome {
    let mut served = args.socket.volumes().await?;
    if let Some(volume) = &args.volume {
        served = select(served, volume)?;
    }
    let answer = Answer { volumes: served.into_iter().map(|served| served.volume).collect() };
    let in_detail = args.volume.is_some();
    Ok(args.output.print(&answer, |answer| text(&answer.volumes, in_detail))?)
}

fn text(volumes: &[VolumeStatus], in_detail: bool) -> String {
    if volumes.is_empty() {
        return "No volumes are mounted.\n".to_owned();
    }
    if in_detail {
        let details: Vec<String> = volumes.iter().map(detail).collect();
        return details.join("\n");
    }
    let head = ["VOLUME", "TARGET", "CLASS", "FOR", "PROVIDER", "FILES", "CONFIRMED", "NEXT TRY", "STATE"];
    let rows: Vec<Vec<String>> =
        std::iter::once(head.map(str::to_owned).to_vec()).chain(volumes.iter().map(row)).collect();
    table(&rows)
}

fn row(volume: &VolumeStatus) -> Vec<String> {
    vec![
        shortened(&volume.volume),
        volume.target.display().to_string(),
        volume.class.clone(),
        reader(volume),
        volume.provider.clone().unwrap_or_else(unknown),
        volume.files.to_string(),
        ago(volume.confirmed_seconds_ago),
        ahead(volume.next_try_in_seconds),
        state(volume),
    ]
}

/// Kubelet's ids are 68 characters long; their first 16 tell volumes apart.
fn shortened(id: &str) -> String {
    const SHOWN: usize = 16;
    match id.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", id.get(..end).unwrap_or(id)),
        None => id.to_owned(),
    }
}

/// Whom a volume is for.
pub(super) fn reader(volume: &VolumeStatus) -> String {
    volume.pod_name().unwrap_or_else(|| format!("{}/{}", volume.namespace, volume.service_account))
}

/// How a volume is doing, in a few words.
pub(super) fn state(volume: &VolumeStatus) -> String {
    let ailing: Vec<ObjectState> =
        volume.objects.iter().map(|object| object.state).filter(|state| !state.is_well()).collect();
    let Some(first) = ailing.first() else {
        return match &volume.last_error {
            Some(_) => "failing".to_owned(),
            None if volume.awaits_credentials => "waits for a token".to_owned(),
            None => "fresh".to_owned(),
        };
    };
    let word = if ailing.iter().all(|state| state == first) { first.word() } else { "ailing" };
    format!("{} of {} {word}", ailing.len(), volume.objects.len())
}

fn detail(volume: &VolumeStatus) -> String {
    let facts = [
        ("volume", volume.volume.clone()),
        ("target", volume.target.display().to_string()),
        ("class", volume.class.clone()),
        ("for", format!("{} (service account {})", reader(volume), volume.service_account)),
        ("provider", volume.provider.clone().unwrap_or_else(unknown)),
        ("store", volume.store.clone().unwrap_or_else(unknown)),
        ("as", volume.identity.clone().unwrap_or_else(unknown)),
        ("files", format!("{} ({} bytes)", volume.files, volume.bytes)),
        ("confirmed", ago(volume.confirmed_seconds_ago)),
        ("next try", ahead(volume.next_try_in_seconds)),
        ("state", state(volume)),
        ("error", volume.last_error.clone().unwrap_or_else(unknown)),
    ];
    let facts = facts.map(|(name, fact)| vec![format!("{name}:"), fact]);
    let head = ["OBJECT", "PATH", "VERSION", "STATE", "CONFIRMED"];
    let objects: Vec<Vec<String>> =
        std::iter::once(head.map(str::to_owned).to_vec()).chain(volume.objects.iter().map(object)).collect();
    format!("{}\n{}", table(&facts), table(&objects))
}

fn object(object: &ObjectStatus) -> Vec<String> {
    vec![
        object.name.clone(),
        object.path.clone(),
        object.version.clone().unwrap_or_else(unknown),
        object.state.word().to_owned(),
        ago(object.confirmed_seconds_ago),
    ]
}

/// What stands where nothing is known.
fn unknown() -> String {
    "-".to_owned()
}

fn ago(seconds: Option<u64>) -> String {
    seconds.map_or_else(|| "never".to_owned(), |seconds| format!("{} ago", time(seconds)))
}

fn ahead(seconds: Option<u64>) -> String {
    seconds.map_or_else(unknown, |seconds| format!("in {}", time(seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::samples;

    const TABLE: &str = include_str!("../../tests/golden/status-table.txt");
    const DETAIL: &str = include_str!("../../tests/golden/status-detail.txt");

    #[test]
    fn the_table_has_a_line_for_each_volume() {
        assert_eq!(text(&[samples::ailing(), samples::well(), samples::waiting()], false), TABLE);
    }

    #[test]
    fn a_volume_in_detail_lists_its_objects() {
        assert_eq!(text(&[samples::ailing()], true), DETAIL);
    }

    #[test]
    fn no_volumes_are_said_to_be_none() {
        assert_eq!(text(&[], false), "No volumes are mounted.\n");
    }
}
