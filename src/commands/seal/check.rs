use std::path::PathBuf;

use manifest::Manifests;

use super::file::SEALED;
use crate::commands::check::inputs;
use crate::exit::{Failure, Outcome};
use crate::providers::ProviderArgs;

/// Tells every fault of the sealed classes in `files`.
pub(super) fn run(files: &[PathBuf], providers: &ProviderArgs) -> Outcome {
    let sealed = providers.sealed_offline();
    let (mut classes, mut faults) = (0_usize, 0_usize);
    for input in inputs::read(files).map_err(Failure::usage)? {
        let manifests = Manifests::read(&input.text);
        let mut tell = |fault: String| {
            faults = faults.saturating_add(1);
            println!("{}: {fault}", input.name);
        };
        manifests.faults.iter().for_each(|fault| tell(fault.to_string()));
        for located in manifests.classes.iter().filter(|located| located.class.provider == SEALED) {
            classes = classes.saturating_add(1);
            let class = &located.class;
            if let Err(found) = sealed.source_of(&class.namespace, &class.name, &class.parameters) {
                found.into_iter().for_each(|invalid| tell(located.fault(invalid).to_string()));
            }
        }
    }
    println!("{classes} sealed classes, {faults} faults");
    if faults > 0 { Err(Failure::Told) } else { Ok(()) }
}
