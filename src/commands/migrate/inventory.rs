use kubernetes::inventory::Objects;
use manifest::{DriverObject, LocatedClass, Manifests, PodVolume, SecretName};

use crate::commands::check::Input;

/// The objects that `migrate plan` judges.
#[derive(Debug, Default)]
pub struct Inventory {
    /// Classes without errors.
    pub classes: Vec<LocatedClass>,
    /// Classes with errors: their names, and what is wrong.
    pub broken: Vec<Broken>,
    /// Volumes of pods that use the driver.
    pub volumes: Vec<PodVolume>,
    /// CSIDriver objects with the driver's name.
    pub drivers: Vec<DriverObject>,
    /// Names and labels of Secrets, never their data.
    pub secrets: Vec<SecretName>,
    /// What could not be read, and why.
    pub unseen: Vec<String>,
    /// Whether the inventory is complete, so that an object that is not in it does not exist.
    pub is_whole: bool,
}

/// A class with an error.
#[derive(Debug)]
pub struct Broken {
    /// Namespace and name, if they are known.
    pub name: Option<(String, String)>,
    /// Where it is written, if that is known.
    pub place: String,
    /// What is wrong with the manifest.
    pub fault: manifest::Fault,
}

impl Inventory {
    /// The inventory of files. An object that is not in them may exist elsewhere.
    pub fn of_files(inputs: &[Input]) -> Self {
        let mut inventory = Self::default();
        inputs.iter().for_each(|input| inventory.add(&input.name, Manifests::read(&input.text)));
        inventory
    }

    /// The inventory of a cluster.
    pub fn of_cluster(objects: &Objects) -> Self {
        let mut inventory = Self { unseen: objects.unseen.clone(), is_whole: true, ..Self::default() };
        objects.manifests.iter().for_each(|text| inventory.add("", Manifests::read(text)));
        inventory
    }

    fn add(&mut self, place: &str, manifests: Manifests) {
        // If there is only one class, all faults belong to it.
        let name = manifests.broken.first().filter(|_| manifests.broken.len() == 1).cloned();
        let broken = |fault| Broken { name: name.clone(), place: place.to_owned(), fault };
        self.broken.extend(manifests.faults.into_iter().map(broken));
        self.classes.extend(manifests.classes);
        self.volumes.extend(manifests.volumes);
        self.drivers.extend(manifests.drivers);
        self.secrets.extend(manifests.secrets);
    }
}
