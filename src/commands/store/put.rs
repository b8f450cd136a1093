use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use engine::audit::Operation;
use provider_store::{Account, Bundle, Item, Name, Put, Record, ServiceAccounts, Values, version_by_clock};

use super::audited::Touched;
use super::{ItemArgs, PlaceArgs, transfer, typed};
use crate::commands::output::{OutputArgs, print};
use crate::exit::{Failure, Outcome};

/// Put a value: a new version of an item, which volumes show at once
///
/// The value comes from --file or from standard input. At a terminal you type it, and it is not shown. It never
/// comes from the command line, where others would see it. Every byte is kept: `echo` adds a line end,
/// `printf %s` does not. The values of one version together have at most 512 KiB, and at most 100 keys.
#[derive(Debug, clap::Args)]
#[command(disable_version_flag = true)]
#[command(after_help = "Examples:
  printf %s \"$TOKEN\" | secretfs store put shop/api --key token
  secretfs store put shop/db --json login.json --service-account web
  secretfs store put shop/api --file token --bundle public.json --out api.record   (no store here)")]
pub(super) struct PutArgs {
    #[command(flatten)]
    item: ItemArgs,

    /// Key of the value in the item
    #[arg(short, long, default_value = "value")]
    key: Name,

    /// File with the value; `-` is standard input
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,

    /// File with a JSON object of strings: puts each value under its key, all in one version
    #[arg(long, value_name = "FILE", conflicts_with_all = ["file", "key"])]
    json: Option<PathBuf>,

    /// Only pods of this service account may read it; may be given several times. A name means the account that
    /// has this name now. NAME=UID means one account, and no later one of that name (`kubectl get serviceaccount web
    /// -o jsonpath={.metadata.uid}`). Without this option, the accounts stay those of the version before
    #[arg(long = "service-account", value_name = "NAME[=UID]")]
    service_accounts: Vec<Account>,

    /// Pods of any service account of the namespace may read it
    #[arg(long, conflicts_with = "service_accounts")]
    any_service_account: bool,

    /// Encrypt with this public bundle instead of putting into a store; needs no database
    #[arg(long, value_name = "FILE", requires = "out")]
    bundle: Option<PathBuf>,

    /// Where to write the ciphertext, for `secretfs store import`; `-` is standard output
    #[arg(long, value_name = "FILE", requires = "bundle")]
    out: Option<PathBuf>,

    /// Number of a version that is made with a bundle; by default the milliseconds since 1970
    #[arg(long, value_name = "N", requires = "bundle", value_parser = clap::value_parser!(u64).range(1..))]
    version: Option<u64>,

    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn run(place: &PlaceArgs, args: &PutArgs) -> Outcome {
    let item = args.item.item();
    let put = place.audited(Operation::Put, |touched| match (&args.bundle, &args.out) {
        (Some(bundle), Some(out)) => seal(args, &item, bundle, out, touched),
        _ => {
            let put = store(place, args, &item);
            touched.item(&item, put.as_ref().ok().map(|put| put.version));
            Ok(put?)
        }
    })?;
    if args.out.as_deref() == Some(Path::new("-")) {
        return Ok(());
    }
    Ok(args.output.print(&put, |put| text(put, args.out.as_deref()))?)
}

fn store(place: &PlaceArgs, args: &PutArgs, item: &Item) -> anyhow::Result<Put> {
    // Opened before the user is asked for the value: without a store the value is not needed.
    let mut store = place.open()?;
    Ok(store.put(item, accounts(args), &values(args)?)?)
}

fn seal(
    args: &PutArgs,
    item: &Item,
    bundle: &Path,
    out: &Path,
    touched: &mut Touched,
) -> Result<Put, Failure> {
    let version = args.version.unwrap_or_else(version_by_clock);
    touched.item(item, Some(version));
    let text = transfer::bounded(bundle, Bundle::MAX_BYTES, "public bundle")?;
    let bundle = Bundle::from_json(&text).with_context(|| bundle.display().to_string())?;
    let service_accounts = accounts(args).unwrap_or(ServiceAccounts::Any);
    let record = bundle.seal(item, version, &service_accounts, &values(args)?)?;
    write(&record, out)?;
    Ok(Put { item: item.clone(), version, keys: record.keys().cloned().collect(), service_accounts })
}

fn write(record: &Record, out: &Path) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(record)? + "\n";
    if out == Path::new("-") {
        return Ok(print(&text)?);
    }
    std::fs::write(out, text).with_context(|| out.display().to_string())
}

fn values(args: &PutArgs) -> anyhow::Result<Values> {
    let values = match (&args.json, &args.file) {
        (Some(json), _) => typed::from_json(json)?,
        (None, Some(file)) => BTreeMap::from([(args.key.clone(), typed::from_file(file)?)]),
        (None, None) => BTreeMap::from([(args.key.clone(), typed::from_stdin()?)]),
    };
    Ok(Values::new(values)?)
}

fn accounts(args: &PutArgs) -> Option<ServiceAccounts> {
    if args.any_service_account {
        return Some(ServiceAccounts::Any);
    }
    let named: BTreeSet<Account> = args.service_accounts.iter().cloned().collect();
    (!named.is_empty()).then_some(ServiceAccounts::Only(named))
}

fn text(put: &Put, out: Option<&Path>) -> String {
    match out {
        None => format!("put {}\n", told(put)),
        Some(out) => format!("wrote {} to {}, for `secretfs store import`\n", told(put), out.display()),
    }
}

/// A version in words.
pub(super) fn told(put: &Put) -> String {
    let keys: Vec<_> = put.keys.iter().map(Name::as_str).collect();
    let keys = keys.join(", ");
    let accounts = match &put.service_accounts {
        ServiceAccounts::Any => "any service account".to_owned(),
        only @ ServiceAccounts::Only(_) => format!("service account {only}"),
    };
    format!("version {} of {} (key {keys}; for {accounts})", put.version, put.item)
}
