//! `secretfs reseal`: seals values again that were sealed for another key or place, without showing them.

use std::path::PathBuf;

use anyhow::Context as _;
use manifest::Class;
use program::hygiene;
use provider::{Error, ErrorKind};

use super::file::ManifestFile;
use crate::commands::login::{LoginArgs, key_and_value};
use crate::exit::{Failure, Outcome};
use crate::providers::sealing::{KMS, KMS_KEY, Place, SealedText, Sealer, Standing};

/// Seal again what was sealed for another key, class, namespace or environment
///
/// Change the manifest first: its kmsKey, its name, its namespace. Then this command opens each sealed text that is
/// for something else, and writes it anew for what the manifest says and for --environment. It needs the right to
/// decrypt with the old key, and to encrypt with the new one. No value is shown, and none is written.
///
///   secretfs reseal till.yaml --environment production --credential token=token
///   secretfs reseal till.yaml --environment production --all …     (after the key was rotated)
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct ResealArgs {
    /// File with the class; it is written anew
    #[arg(value_name = "CLASS.yaml")]
    file: PathBuf,

    /// Seal every value again, also those that are for this key and place already
    #[arg(long)]
    all: bool,

    /// A parameter of the class as it was when the values were sealed, such as vaultNamespace=old
    #[arg(long = "from", value_name = "KEY=VALUE", value_parser = key_and_value)]
    from: Vec<(String, String)>,

    /// The class, if the file has several; by default all of them
    #[arg(long, value_name = "[NAMESPACE/]NAME")]
    class: Option<String>,

    #[command(flatten)]
    login: LoginArgs,
}

/// Runs `secretfs reseal`.
///
/// # Errors
///
/// The file cannot be used, or a store does not decrypt or encrypt. Then the file is as it was.
pub async fn run(args: ResealArgs) -> Outcome {
    hygiene::seal().context("keep this process's memory to itself")?;
    let sealer = args.login.providers.sealer()?;
    let environment = sealer.environment().map_err(Failure::usage)?;
    let file = ManifestFile::read(&args.file)?;
    let mut pairs = Vec::new();
    for class in file.classes(args.class.as_deref()) {
        let standing = sealer.standing(&class.parameters).map_err(|faults| file.refused(&faults))?;
        for standing in standing {
            let place = place(environment, class, &standing);
            if args.all || is_for_another(&standing.text, &place, class) {
                let new = again(&args, &sealer, class, &standing.text, place).await?;
                pairs.push((standing.text, new));
            }
        }
    }
    if !pairs.is_empty() {
        file.replace(&pairs)?;
    }
    pairs.iter().for_each(|(_, new)| println!("sealed again: {}", new.place));
    println!("{} sealed again", pairs.len());
    Ok(())
}

fn place(environment: &str, class: &Class, standing: &Standing) -> Place {
    Place {
        environment: environment.to_owned(),
        namespace: class.namespace.clone(),
        class: class.name.clone(),
        object: standing.object.clone(),
    }
}

fn is_for_another(text: &SealedText, place: &Place, class: &Class) -> bool {
    let names = |key: &str, sealed: &str| class.parameters.get(key).is_some_and(|named| named == sealed);
    text.place != *place || !names(KMS, &text.kms) || !names(KMS_KEY, &text.key)
}

async fn again(
    args: &ResealArgs,
    sealer: &Sealer,
    class: &Class,
    text: &SealedText,
    place: Place,
) -> provider::Result<SealedText> {
    let over = args.login.parameters();
    let new = sealer.kms(&class.parameters)?.over(&over);
    let before = args.from.iter().cloned().collect();
    let old = sealer.kms_of(text, &class.parameters)?.over(&over).over(&before);
    let login = |namespace: &str| {
        let unfit = |error: anyhow::Error| Error::new(ErrorKind::Invalid, format!("{error:#}"));
        args.login.workload(namespace).map_err(unfit)
    };
    let value = sealer.open(text, &old, &login(&text.place.namespace)?).await?;
    sealer.seal(place, &new, &login(&class.namespace)?, &value).await
}
