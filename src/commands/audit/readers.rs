//! `secretfs audit readers`: who had an object, who opened it, and in which version.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, Read as _};
use std::path::PathBuf;

use jiff::Timestamp;
use serde::Serialize;

use super::open;
use super::record::{Read, Resource};
use crate::commands::output::{OutputArgs, table};
use crate::exit::Outcome;

/// Most bytes of a line that is looked at.
const LINE_MAX: u64 = 16 << 20;

/// Show who has an object mounted, who opened it and in which version, and who was denied it
///
/// It reads audit trails, of as many nodes as you like. Opens are recorded in mode fuse only: in mode tmpfs the kernel alone
/// knows of them.
#[derive(Debug, clap::Args)]
pub(super) struct ReadersArgs {
    /// Which object: the secret in its store, such as secret/data/db or secret/data/db#password, its objectName, or its file
    object: String,

    /// The files of the trails, the oldest first of each node
    #[arg(required = true, env = "SECRETFS_AUDIT_LOG")]
    files: Vec<PathBuf>,

    #[command(flatten)]
    output: OutputArgs,
}

/// A container that may have the object; of a volume that nobody opened, none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
struct Reader {
    node: String,
    volume: String,
    /// The pod, or the user of a plain host.
    who: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_account: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<String>,
    /// The version that the volume shows now; none if it is unmounted or the object was withdrawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    holds: Option<String>,
    /// The version that it opened last; none if it never did.
    #[serde(skip_serializing_if = "Option::is_none")]
    opened: Option<String>,
    opens: u64,
    denied: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_open: Option<String>,
    /// The program that opened it first in that version.
    #[serde(skip_serializing_if = "Option::is_none")]
    program: Option<String>,
}

/// A version of which nothing more is known.
const UNKNOWN: &str = "?";

/// What one volume showed of the object, and who opened it.
#[derive(Debug, Default)]
struct Volume {
    /// What is the same for all its containers.
    about: Reader,
    holds: Option<String>,
    containers: BTreeMap<Option<String>, Reader>,
    /// What the class calls it. Where a process took the volume over, that is all that the first opens are recorded with.
    names: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct Readers(BTreeMap<(String, String), Volume>);

pub(super) fn run(args: &ReadersArgs) -> Outcome {
    let mut records = Vec::new();
    for mut trail in open(&args.files)? {
        relevant(&mut trail, &args.object, &mut records)?;
    }
    records.sort_by(|a: &Read, b| a.metadata.uid.cmp(&b.metadata.uid));
    let mut readers = Readers::default();
    records.iter().for_each(|record| readers.take(record, &args.object));
    Ok(args.output.print(&readers.rows(), |rows| text(rows))?)
}

/// The records that can matter: those of the object, and ends of volumes.
fn relevant(trail: &mut impl BufRead, object: &str, records: &mut Vec<Read>) -> std::io::Result<()> {
    let mut line = Vec::new();
    while trail.by_ref().take(LINE_MAX).read_until(b'\n', &mut line)? > 0 {
        let record = Read::parse(&String::from_utf8_lossy(&line));
        let matters = |record: &Read| {
            let may_be = |resource: &Resource| resource.is(object) || resource.secret.is_none();
            record.api.operation == "unpublish" || record.resources.iter().any(may_be)
        };
        records.extend(record.filter(|record| record.volume.is_some() && matters(record)));
        line.clear();
    }
    Ok(())
}

impl Readers {
    fn take(&mut self, record: &Read, object: &str) {
        let id = record.volume.clone().unwrap_or_default();
        let place = (record.node.clone(), id);
        let names = self.0.get(&place).map(|volume| &volume.names);
        let is_named = |resource: &Resource| names.is_some_and(|names| names.contains(&resource.name));
        let is_meant =
            |resource: &&Resource| resource.is(object) || (resource.secret.is_none() && is_named(resource));
        let resource = record.resources.iter().find(is_meant);
        let Some(resource) = resource else {
            // The end of a volume matters if it had the object.
            let ended = self.0.get_mut(&place).filter(|_| record.api.operation == "unpublish");
            return ended.into_iter().for_each(|volume| volume.holds = None);
        };
        let volume = self.0.entry(place).or_insert_with(|| Volume::of(record));
        volume.names.insert(resource.name.clone());
        match (record.api.operation.as_str(), record.is_failure()) {
            ("publish" | "rotate", false) => volume.holds = Some(version(resource)),
            ("withdraw", false) => volume.holds = None,
            ("open", false) => volume.opened(record, resource),
            ("deny", true) => {
                let count = record.count.unwrap_or(1);
                let denied = &mut volume.container(record).denied;
                *denied = denied.saturating_add(count);
            }
            _ => {}
        }
    }

    fn rows(self) -> Vec<Reader> {
        self.0.into_values().flat_map(Volume::rows).collect()
    }
}

impl Volume {
    fn of(record: &Read) -> Self {
        let about = Reader {
            node: record.node.clone(),
            volume: record.volume.clone().unwrap_or_default(),
            who: record.who(),
            service_account: record.actor.service_account.clone(),
            ..Reader::default()
        };
        Self { about, ..Self::default() }
    }

    fn container(&mut self, record: &Read) -> &mut Reader {
        let container = record.actor.container.clone();
        let new = Reader { container: container.clone(), ..self.about.clone() };
        self.containers.entry(container).or_insert(new)
    }

    fn opened(&mut self, record: &Read, resource: &Resource) {
        let reader = self.container(record);
        reader.opens = reader.opens.saturating_add(record.count.unwrap_or(1));
        let last = record.end_time.as_ref().unwrap_or(&record.time);
        // Repeated opens are recorded a minute later: the container may have opened a newer version since.
        if reader.last_open.as_ref().is_some_and(|known| moment(known) > moment(last)) {
            return;
        }
        let version = version(resource);
        if reader.opened.as_ref() != Some(&version) {
            reader.program = record.program().map(str::to_owned);
        }
        (reader.opened, reader.last_open) = (Some(version), Some(last.clone()));
    }

    fn rows(self) -> Vec<Reader> {
        let Self { about, holds, containers, names: _ } = self;
        let mut rows: Vec<Reader> = containers.into_values().collect();
        if rows.is_empty() {
            rows.push(about);
        }
        rows.into_iter().map(|row| Reader { holds: holds.clone(), ..row }).collect()
    }
}

/// The moment of a record; none if it is not written as one.
fn moment(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

fn version(resource: &Resource) -> String {
    resource.version().unwrap_or(UNKNOWN).to_owned()
}

fn text(rows: &[Reader]) -> String {
    if rows.is_empty() {
        return "No record is about this object.\n".to_owned();
    }
    let heads = ["NODE", "WHO", "CONTAINER", "HOLDS", "OPENED", "OPENS", "DENIED", "LAST OPEN", "PROGRAM"];
    let head = heads.map(str::to_owned).to_vec();
    let none = || "-".to_owned();
    let row = |row: &Reader| {
        vec![
            row.node.clone(),
            row.who.clone(),
            row.container.clone().unwrap_or_else(none),
            row.holds.clone().unwrap_or_else(none),
            row.opened.clone().unwrap_or_else(|| "never".to_owned()),
            row.opens.to_string(),
            row.denied.to_string(),
            row.last_open.clone().unwrap_or_else(none),
            row.program.clone().unwrap_or_else(none),
        ]
    };
    table(&[vec![head], rows.iter().map(row).collect()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(uid: u32, operation: &str, container: Option<&str>, version: &str, count: u64) -> String {
        let container = container.map(|name| format!(r#","container":"{name}""#)).unwrap_or_default();
        let status = if operation == "deny" { "failure" } else { "success" };
        format!(
            r#"{{"time":"t{uid}","metadata":{{"uid":"{uid}"}},"api":{{"operation":"{operation}"}},"node":"n","actor":{{"namespace":"shop","pod":{{"name":"web"}}{container}}},"resources":[{{"secret":"db","key":"password","name":"pw","version":"{version}"}}],"volume":"v","status":"{status}","count":{count}}}"#
        )
    }

    fn rows(lines: &[String]) -> Vec<Reader> {
        let mut records = Vec::new();
        relevant(&mut lines.join("\n").as_bytes(), "db#password", &mut records).unwrap();
        let mut readers = Readers::default();
        records.iter().for_each(|record| readers.take(record, "db#password"));
        readers.rows()
    }

    #[test]
    fn who_opened_which_version_is_told_by_container() {
        let rows = rows(&[
            record(1, "publish", None, "1", 1),
            record(2, "open", Some("web"), "1", 3),
            record(3, "rotate", None, "2", 1),
            record(4, "open", Some("web"), "2", 2),
            record(5, "open", Some("old"), "1", 1),
            record(6, "deny", Some("helper"), "2", 4),
        ]);

        let told: Vec<_> = rows
            .iter()
            .map(|row| (row.container.as_deref(), row.opened.as_deref(), row.opens, row.denied))
            .collect();
        assert_eq!(
            told,
            [(Some("helper"), None, 0, 4), (Some("old"), Some("1"), 1, 0), (Some("web"), Some("2"), 5, 0)]
        );
        assert!(rows.iter().all(|row| row.holds.as_deref() == Some("2")));
    }

    #[test]
    fn the_version_that_was_opened_last_is_told_in_whatever_order_opens_were_recorded() {
        let open = |uid, version: &str, end: &str| {
            let open = record(uid, "open", Some("web"), version, 2);
            open.replace(r#""status""#, &format!(r#""end_time":"2026-01-01T00:00:{end}Z","status""#))
        };
        let rows = rows(&[record(1, "rotate", None, "2", 1), open(2, "2", "05.51"), open(3, "1", "05.5")]);

        assert_eq!((rows[0].opened.as_deref(), rows[0].opens), (Some("2"), 4));
        assert_eq!(rows[0].last_open.as_deref(), Some("2026-01-01T00:00:05.51Z"));
    }

    #[test]
    fn opens_after_a_restart_count_that_have_only_the_name_in_the_class() {
        let bare = |uid, name: &str| {
            let open = record(uid, "open", Some("web"), "1", 2);
            open.replace(r#""secret":"db","key":"password","name":"pw""#, &format!(r#""name":"{name}""#))
        };
        let rows = rows(&[record(1, "publish", None, "1", 1), bare(2, "pw"), bare(3, "other")]);

        assert_eq!((rows.len(), rows[0].opens, rows[0].opened.as_deref()), (1, 2, Some("1")));
        assert_eq!(rows[0].holds.as_deref(), Some("1"));
    }

    #[test]
    fn a_volume_that_nobody_opened_is_one_row_and_holds_nothing_after_its_end() {
        let published = record(1, "publish", None, "1", 1);
        let end = record(2, "unpublish", None, "1", 1).replace("\"db\"", "\"other\"");

        assert_eq!(rows(std::slice::from_ref(&published))[0].holds.as_deref(), Some("1"));
        let [row] = &rows(&[published, end])[..] else { panic!("one row") };
        assert_eq!((row.holds.as_deref(), row.opened.as_deref(), row.who.as_str()), (None, None, "shop/web"));
        assert!(text(&[]).starts_with("No record"));
    }
}
