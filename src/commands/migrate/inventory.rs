use kubernetes::inventory::Objects;
use manifest::{DriverObject, LocatedClass, Manifests, PodVolume, SecretName};

use crate::commands::check::Input;

/// What there is to judge.
#[derive(Debug, Default)]
pub struct Inventory {
    /// Classes that are whole.
    pub classes: Vec<LocatedClass>,
    /// The others: what each is called, and what is wrong with it.
    pub broken: Vec<Broken>,
    /// Volumes of pods that name the driver.
    pub volumes: Vec<PodVolume>,
    /// CSIDriver objects of that name.
    pub drivers: Vec<DriverObject>,
    /// Names and labels of Secrets, never their data.
    pub secrets: Vec<SecretName>,
    /// What could not be looked at, and why.
    pub unseen: Vec<String>,
    /// Whether it is all that there is, so that what is not among it is not there.
    pub is_whole: bool,
}

/// A class that is wrong.
#[derive(Debug)]
pub struct Broken {
    /// Namespace and name, where they are known.
    pub name: Option<(String, String)>,
    /// Where it is written, where that is known.
    pub place: String,
    /// What is wrong with the manifest.
    pub fault: manifest::Fault,
}

impl Inventory {
    /// What files hold. What is in none of them may be elsewhere.
    pub fn of_files(inputs: &[Input]) -> Self {
        let mut inventory = Self::default();
        inputs.iter().for_each(|input| inventory.add(&input.name, Manifests::read(&input.text)));
        inventory
    }

    /// What a cluster holds.
    pub fn of_cluster(objects: &Objects) -> Self {
        let mut inventory = Self { unseen: objects.unseen.clone(), is_whole: true, ..Self::default() };
        objects.manifests.iter().for_each(|text| inventory.add("", Manifests::read(text)));
        inventory
    }

    fn add(&mut self, place: &str, manifests: Manifests) {
        // Where there is one class, the faults are its.
        let name = manifests.broken.first().filter(|_| manifests.broken.len() == 1).cloned();
        let broken = |fault| Broken { name: name.clone(), place: place.to_owned(), fault };
        self.broken.extend(manifests.faults.into_iter().map(broken));
        self.classes.extend(manifests.classes);
        self.volumes.extend(manifests.volumes);
        self.drivers.extend(manifests.drivers);
        self.secrets.extend(manifests.secrets);
    }
}
