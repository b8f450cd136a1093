//! `secretfs status`: the mounted volumes and their state.

mod cluster;
mod coverage;
mod left;

use serde::Serialize;

use super::output::{Form, fitting, plain, print, table, time};
use super::running::{Silent, SocketArgs};
use crate::admin::{ObjectState, ObjectStatus, VolumeStatus, WaitingStatus};
use crate::directories;
use crate::exit::Outcome;

/// Show the volumes that are mounted and how they are doing
///
/// Also lists volumes of pods that wait, with the last reason. `secretfs why NAMESPACE/POD` tells the whole reason.
#[derive(Debug, clap::Args)]
pub struct StatusArgs {
    /// Only this volume, with its objects: an id, the beginning of one, a target path or namespace/pod
    volume: Option<String>,
    #[command(flatten)]
    socket: SocketArgs,
    /// State directory of this host, where `secretfs mount --once` keeps its records
    #[arg(long, env = "SECRETFS_STATE_DIR", default_value_os_t = directories::state(), value_name = "DIR")]
    state_dir: std::path::PathBuf,
    /// Show for each object which containers opened it last in which version. This is known in mode fuse, with an audit
    /// trail, since the process that serves the volume began
    #[arg(long)]
    coverage: bool,
    #[command(flatten)]
    cluster: cluster::ClusterArgs,
    /// How the answer looks
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Form,
}

#[derive(Debug, Serialize)]
struct Answer {
    volumes: Vec<VolumeStatus>,
    /// Volumes that were asked for and are not mounted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    waiting: Vec<WaitingStatus>,
    /// Processes that did not answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    silent: Vec<Silent>,
}

/// Runs `secretfs status`.
///
/// # Errors
///
/// No process answers, one does not answer in time, or none has that volume.
pub async fn run(args: StatusArgs) -> Outcome {
    if args.cluster.is_meant() {
        return args.cluster.print(args.output).await;
    }
    directories::trust(&args.state_dir).map_err(anyhow::Error::from)?;
    let heard = left::with_left(args.socket.volumes().await, &args.state_dir)?;
    let in_detail = args.volume.is_some();
    let (silent, verdict) = (heard.silent.clone(), heard.verdict());
    let (served, waiting) = match &args.volume {
        Some(volume) => heard.select_any(volume)?,
        None => {
            heard.warn();
            (heard.volumes, heard.waiting)
        }
    };
    let volumes: Vec<_> = served.into_iter().map(|served| served.volume).collect();
    if args.coverage {
        let rows = coverage::covered(&volumes);
        print(&args.output.told(&rows, || coverage::text(&rows), || coverage::text(&rows))?)?;
        return if in_detail { Ok(()) } else { verdict };
    }
    print(&Answer { volumes, waiting, silent }.told(args.output, in_detail)?)?;
    if in_detail { Ok(()) } else { verdict }
}

impl Answer {
    fn told(&self, form: Form, in_detail: bool) -> anyhow::Result<String> {
        form.told(self, || text(self, in_detail, narrow), || text(self, in_detail, wide))
    }
}

fn text(answer: &Answer, in_detail: bool, list: fn(&[VolumeStatus]) -> String) -> String {
    let mounted = match answer.volumes.as_slice() {
        [] if answer.waiting.is_empty() => "No volumes are mounted.\n".to_owned(),
        [] => String::new(),
        volumes if in_detail => volumes.iter().map(detail).collect::<Vec<_>>().join("\n"),
        volumes => list(volumes),
    };
    let between = if mounted.is_empty() || answer.waiting.is_empty() { "" } else { "\n" };
    format!("{mounted}{between}{}", waiting(&answer.waiting))
}

/// Widths of columns. All columns together have at most 100, with two spaces between them.
const WHERE: usize = 36;
const CLASS: usize = 21;
const STATE: usize = 17;
const REASON: usize = 19;

/// A table of at most 100 columns that distinguishes volumes by pod or target.
fn narrow(volumes: &[VolumeStatus]) -> String {
    let head = ["POD OR TARGET", "CLASS", "FILES", "CONFIRMED", "STATE"].map(str::to_owned).to_vec();
    let row = |volume: &VolumeStatus| {
        let place = volume.pod_name().unwrap_or_else(|| volume.target.display().to_string());
        vec![
            fitting(&place, WHERE),
            fitting(&volume.class, CLASS),
            volume.files.to_string(),
            ago(volume.confirmed_seconds_ago),
            fitting(&state(volume), STATE),
        ]
    };
    table(&std::iter::once(head).chain(volumes.iter().map(row)).collect::<Vec<_>>())
}

fn wide(volumes: &[VolumeStatus]) -> String {
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

/// A table of waiting pods with at most 100 columns. Empty if there are none.
fn waiting(waiting: &[WaitingStatus]) -> String {
    if waiting.is_empty() {
        return String::new();
    }
    let head = ["NOT MOUNTED", "CLASS", "TRIES", "LAST", "REASON"].map(str::to_owned).to_vec();
    let row = |volume: &WaitingStatus| {
        vec![
            fitting(&volume.pod_name().unwrap_or_else(|| shortened(&volume.volume)), WHERE),
            fitting(&volume.class, CLASS),
            volume.times.to_string(),
            ago(Some(volume.last_seconds_ago)),
            begun(&volume.reason, REASON),
        ]
    };
    table(&std::iter::once(head).chain(waiting.iter().map(row)).collect::<Vec<_>>())
}

/// The beginning of `text`, cut to `width`.
fn begun(text: &str, width: usize) -> String {
    let text = plain(text);
    match text.char_indices().nth(width.saturating_sub(1)) {
        Some((end, _)) if text.chars().count() > width => format!("{}…", text.get(..end).unwrap_or(&text)),
        _ => text,
    }
}

/// Kubelet's ids are 68 characters long. The first 16 are enough to distinguish volumes.
fn shortened(id: &str) -> String {
    const SHOWN: usize = 16;
    match id.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", id.get(..end).unwrap_or(id)),
        None => id.to_owned(),
    }
}

/// The pod of a volume, or its service account on a plain host.
pub(super) fn reader(volume: &VolumeStatus) -> String {
    volume.pod_name().unwrap_or_else(|| format!("{}/{}", volume.namespace, volume.service_account))
}

/// The state of a volume, in a few words.
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

/// Printed in place of an unknown value.
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
    const WIDE: &str = include_str!("../../tests/golden/status-wide.txt");
    const DETAIL: &str = include_str!("../../tests/golden/status-detail.txt");

    fn answer(volumes: &[VolumeStatus], waiting: &[WaitingStatus]) -> Answer {
        Answer { volumes: volumes.to_vec(), waiting: waiting.to_vec(), silent: Vec::new() }
    }

    fn told(answer: &Answer, form: Form, in_detail: bool) -> String {
        answer.told(form, in_detail).unwrap()
    }

    #[test]
    fn the_table_has_a_line_for_each_volume_and_for_each_that_is_not_mounted() {
        let answer = answer(&[samples::ailing(), samples::well(), samples::waiting()], &[samples::refused()]);

        assert_eq!(told(&answer, Form::Text, false), TABLE);
        assert_eq!(told(&answer, Form::Wide, false), WIDE);
    }

    #[test]
    fn no_line_is_longer_than_100_columns_whatever_the_names() {
        let long = "ä".repeat(300);
        let mut volume = samples::ailing();
        (volume.pod, volume.class, volume.files) = (Some(long.clone()), format!("{long}/{long}"), 1000);
        volume.objects = vec![volume.objects[2].clone(); 1000];
        volume.confirmed_seconds_ago = Some(119 * 60);
        let host = VolumeStatus { pod: None, target: format!("/{long}").into(), ..volume.clone() };
        let refused = WaitingStatus {
            pod: Some(long.clone()),
            class: volume.class.clone(),
            reason: long,
            times: 99_999,
            last_seconds_ago: 7_199,
            ..samples::refused()
        };

        let told = told(&answer(&[volume, host], &[refused]), Form::Text, false);

        let widths: Vec<_> = told.lines().map(|line| line.chars().count()).collect();
        assert!(widths.iter().all(|width| *width <= 100), "{widths:?}\n{told}");
    }

    #[test]
    fn a_volume_in_detail_lists_its_objects() {
        assert_eq!(told(&answer(&[samples::ailing()], &[]), Form::Text, true), DETAIL);
    }

    #[test]
    fn json_and_yaml_hold_the_same() {
        let answer = answer(&[samples::ailing()], &[samples::refused()]);

        let json: serde_json::Value = serde_json::from_str(&told(&answer, Form::Json, false)).unwrap();
        let yaml: serde_json::Value = serde_yaml::from_str(&told(&answer, Form::Yaml, false)).unwrap();

        assert_eq!(json, yaml);
    }

    #[test]
    fn no_volumes_are_said_to_be_none() {
        assert_eq!(told(&answer(&[], &[]), Form::Text, false), "No volumes are mounted.\n");
    }
}
