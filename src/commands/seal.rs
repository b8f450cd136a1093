//! `secretfs seal`: encrypts a value so that it may stand in a manifest.

mod check;
mod file;
pub mod reseal;

use std::io::{self, IsTerminal as _, Read, Write as _};
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use program::hygiene;
use provider::SecretBytes;
use zeroize::Zeroizing;

use self::file::ManifestFile;
use crate::commands::login::LoginArgs;
use crate::exit::{Failure, Outcome};
use crate::providers::sealing::{MAX_VALUE, Place};

/// Encrypt a value from standard input, so that it may stand in a manifest
///
/// Prints the sealed text for one object of a class of provider `sealed`. Only the store that the class names as `kms`
/// opens it again: for a pod of this class, in this namespace and environment, that this store lets decrypt.
/// Sealing needs the right to encrypt only. The value comes from standard input, and is never shown or written.
///
///   secretfs seal till.yaml --object db/password --environment production --credential token=token < password
///   secretfs seal till.yaml --object db/password --environment production --write … < password
///   secretfs seal --check manifests/*.yaml
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct SealArgs {
    /// File with the class; with --check several files
    #[arg(required = true, value_name = "CLASS.yaml")]
    files: Vec<PathBuf>,

    /// The object to seal for: its `objectName`
    #[arg(long, value_name = "NAME", required_unless_present = "check")]
    object: Option<String>,

    /// Put the text in the place of the one that the object has in the file, instead of printing it
    #[arg(long, conflicts_with = "check")]
    write: bool,

    /// Seal nothing: tell whether each sealed text in the files is whole and where it was sealed for. Asks no store.
    /// For a hook of git before a commit
    #[arg(long, conflicts_with = "object")]
    check: bool,

    /// The class, if a file has several
    #[arg(long, value_name = "[NAMESPACE/]NAME")]
    class: Option<String>,

    #[command(flatten)]
    login: LoginArgs,
}

/// Runs `secretfs seal`.
///
/// # Errors
///
/// A file or the class cannot be used, the store does not encrypt, or a sealed text is not where it belongs.
pub async fn run(args: SealArgs) -> Outcome {
    if args.check {
        return check::run(&args.files, &args.login.providers);
    }
    hygiene::seal().context("keep this process's memory to itself")?;
    let [file] = args.files.as_slice() else { return Err(Failure::usage("name one file, or add --check")) };
    let object = args.object.clone().unwrap_or_default();
    let sealer = args.login.providers.sealer()?;
    let environment = sealer.environment().map_err(Failure::usage)?.to_owned();
    let file = ManifestFile::read(file)?;
    let class = file.class(args.class.as_deref())?;
    let (namespace, name) = (class.namespace.clone(), class.name.clone());
    let workload = args.login.workload(&namespace)?;
    let kms = sealer.kms(&class.parameters).map_err(|faults| file.refused(&faults))?;
    let kms = kms.over(&args.login.parameters());
    let value = from_stdin()?;
    let place = Place { environment, namespace, class: name, object: object.clone() };
    let text = sealer.seal(place, &kms, &workload, &value).await?;
    if !args.write {
        let mut stdout = io::stdout().lock();
        return Ok(writeln!(stdout, "{}", text.lines().join("\n"))?);
    }
    let old = sealer.standing(&class.parameters).map_err(|faults| file.refused(&faults))?;
    let old = old.into_iter().find(|standing| standing.object == object);
    let old =
        old.with_context(|| format!("object {object} has no sealed text in the file; leave out --write"))?;
    Ok(file.replace(&[(old.text, text)])?)
}

/// The whole of standard input.
fn from_stdin() -> anyhow::Result<SecretBytes> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        bail!("the value comes from standard input: write `< FILE` behind the command, or pipe it in");
    }
    // Allocated at its full size: a buffer that grows leaves copies of secrets behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_VALUE + 64));
    stdin.lock().take(MAX_VALUE as u64 + 1).read_to_end(&mut bytes).context("standard input")?;
    if bytes.len() > MAX_VALUE {
        bail!("the value is longer than {} KiB", MAX_VALUE / 1024);
    }
    Ok(SecretBytes::new(bytes.as_slice().to_vec()))
}
