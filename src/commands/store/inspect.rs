use engine::audit::Operation;
use jiff::Timestamp;
use provider_store::{Description, Name, Summary, Version};

use super::{ItemArgs, PlaceArgs};
use crate::commands::output::{OutputArgs, table};
use crate::exit::Outcome;

/// List items: names, versions and times
#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    /// Only items of this namespace
    #[arg(short, long)]
    namespace: Option<Name>,

    /// Deleted items too
    #[arg(short, long)]
    all: bool,

    #[command(flatten)]
    output: OutputArgs,
}

/// Describe an item: its keys, and who may read it
#[derive(Debug, clap::Args)]
pub(super) struct DescribeArgs {
    #[command(flatten)]
    item: ItemArgs,

    #[command(flatten)]
    output: OutputArgs,
}

/// List the versions of an item, deleted ones too
#[derive(Debug, clap::Args)]
pub(super) struct HistoryArgs {
    #[command(flatten)]
    item: ItemArgs,

    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn list(place: &PlaceArgs, args: &ListArgs) -> Outcome {
    let mut items = place.audited(Operation::List, |touched| {
        touched.thing(args.namespace.as_ref().map_or("*", Name::as_str));
        Ok(place.open()?.list(args.namespace.as_ref())?)
    })?;
    items.retain(|item| args.all || !item.deleted);
    Ok(args.output.print(&items, |items| list_text(items))?)
}

pub(super) fn describe(place: &PlaceArgs, args: &DescribeArgs) -> Outcome {
    let item = args.item.item();
    let description = place.audited(Operation::Describe, |touched| {
        touched.item(&item, None);
        Ok(place.open()?.describe(&item)?)
    })?;
    Ok(args.output.print(&description, describe_text)?)
}

pub(super) fn history(place: &PlaceArgs, args: &HistoryArgs) -> Outcome {
    let item = args.item.item();
    let versions = place.audited(Operation::History, |touched| {
        touched.item(&item, None);
        Ok(place.open()?.history(&item)?)
    })?;
    Ok(args.output.print(&versions, |versions| history_text(versions))?)
}

fn list_text(items: &[Summary]) -> String {
    let mut rows = vec![row(["NAMESPACE", "NAME", "VERSION", "PUT"])];
    rows.extend(items.iter().map(|summary| {
        row([
            summary.item.namespace.as_str(),
            summary.item.name.as_str(),
            &summary.version.to_string(),
            &when(summary.created, summary.deleted),
        ])
    }));
    table(&rows)
}

fn describe_text(description: &Description) -> String {
    let Summary { item, version, created, deleted } = &description.summary;
    let mut rows = vec![
        row(["namespace", item.namespace.as_str()]),
        row(["name", item.name.as_str()]),
        row(["version", &version.to_string()]),
        row(["put", &when(*created, *deleted)]),
        row(["versions", &description.versions.to_string()]),
        row(["service accounts", &description.service_accounts.to_string()]),
    ];
    rows.extend(
        description
            .keys
            .iter()
            .map(|(key, version)| row([&format!("key {key}"), &format!("version {version}")])),
    );
    table(&rows)
}

fn history_text(versions: &[Version]) -> String {
    let mut rows =
        vec![row(["VERSION", "PUT", "DELETED", "RESTORABLE UNTIL", "KEYS", "SERVICE ACCOUNTS", "SEALED TO"])];
    rows.extend(versions.iter().map(|version| {
        let keys: Vec<_> = version.keys.iter().map(Name::as_str).collect();
        row([
            &version.version.to_string(),
            &time(version.created),
            &version.deleted.map_or_else(|| "-".to_owned(), time),
            &version.restorable_until.map_or_else(|| "-".to_owned(), time),
            &keys.join(","),
            &version.service_accounts.to_string(),
            version.sealed_to.as_deref().unwrap_or("-"),
        ])
    }));
    table(&rows)
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

fn when(created: Timestamp, deleted: bool) -> String {
    if deleted { format!("{}, deleted since", time(created)) } else { time(created) }
}

pub(super) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}
