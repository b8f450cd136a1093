use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use engine::audit::Operation;
use provider_store::{Bundle, Name, Put, Record, RecordAccounts};

use super::audited::Touched;
use super::{PlaceArgs, put};
use crate::commands::output::{OutputArgs, print};
use crate::exit::{Failure, Outcome};

/// The longest record that is read, in bytes.
const MAX_RECORD: u64 = 4 * 1024 * 1024;

/// Add values that another host encrypted with the public bundle of the store
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  secretfs store import api.record")]
pub(super) struct ImportArgs {
    /// Ciphertext records that `secretfs store put --bundle B --out FILE` wrote
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Let a record change which service accounts may read its item
    #[arg(long)]
    replace_service_accounts: bool,

    #[command(flatten)]
    output: OutputArgs,
}

/// Write the public bundle of the store: another host can put with it, and read nothing
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  secretfs store export-public --out public.json")]
pub(super) struct ExportArgs {
    /// Where to write it; by default standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn import(place: &PlaceArgs, args: &ImportArgs) -> Outcome {
    let imported = place.audited(Operation::Import, |touched| {
        let mut records = args.files.iter().map(|file| read(file)).collect::<anyhow::Result<Vec<_>>>()?;
        // Older versions of an item first, because the store accepts only growing numbers.
        records.sort_by_key(|(_, record)| record.version());
        let mut store = place.open()?;
        records.iter().map(|(file, record)| import_one(&mut store, args, file, record, touched)).collect()
    })?;
    let text =
        |imported: &Vec<Put>| imported.iter().map(|put| format!("imported {}\n", put::told(put))).collect();
    Ok(args.output.print(&imported, text)?)
}

fn import_one(
    store: &mut provider_store::Store,
    args: &ImportArgs,
    file: &Path,
    record: &Record,
    touched: &mut Touched,
) -> Result<Put, Failure> {
    let accounts =
        if args.replace_service_accounts { RecordAccounts::Replace } else { RecordAccounts::MustMatch };
    touched.item(&record.item, Some(record.version()));
    Ok(store.import(record, accounts).with_context(|| file.display().to_string())?)
}

fn read(file: &Path) -> anyhow::Result<(PathBuf, Record)> {
    let text = bounded(file, MAX_RECORD, "ciphertext record")?;
    Ok((file.to_owned(), Record::from_json(&text).with_context(|| file.display().to_string())?))
}

/// The contents of `path`, at most `most` bytes. The size that the file system states does not matter.
///
/// # Errors
///
/// The file cannot be read, or is longer than a `what` can be.
pub(super) fn bounded(path: &Path, most: u64, what: &str) -> anyhow::Result<Vec<u8>> {
    let about = || path.display().to_string();
    let file = File::open(path).with_context(about)?;
    let mut text = Vec::new();
    file.take(most + 1).read_to_end(&mut text).with_context(about)?;
    let length = most / (1024 * 1024);
    anyhow::ensure!(text.len() as u64 <= most, "{} is longer than {length} MiB: it is no {what}", about());
    Ok(text)
}

pub(super) fn export(place: &PlaceArgs, args: &ExportArgs) -> Outcome {
    let bundle = place.audited(Operation::ExportPublic, |touched| {
        touched.thing("public bundle");
        Ok(place.open()?.bundle()?)
    })?;
    let json = serde_json::to_string_pretty(&bundle)? + "\n";
    let Some(out) = &args.out else { return Ok(print(&json)?) };
    std::fs::write(out, json).with_context(|| out.display().to_string())?;
    let told = serde_json::json!({ "out": out, "namespaces": bundle.namespaces().collect::<Vec<&Name>>() });
    Ok(args.output.print(&told, |_| text(&bundle, out))?)
}

fn text(bundle: &Bundle, out: &Path) -> String {
    let namespaces: Vec<_> = bundle.namespaces().map(Name::as_str).collect();
    let namespaces = if namespaces.is_empty() { "none".to_owned() } else { namespaces.join(", ") };
    format!(
        "wrote the public bundle to {} (namespaces with keys of their own: {namespaces})\n",
        out.display()
    )
}
