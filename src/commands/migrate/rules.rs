//! The rules of `migrate plan`: one function for each possible difference.

mod classes;
mod surroundings;
mod volumes;

use std::collections::{BTreeMap, BTreeSet};

use class::ClassName;
use manifest::{DriverObject, LocatedClass, PodVolume};
use provider::Providers;

use super::{Difference, Effect, Inventory, Plan};

/// What to judge, and for which kind of node.
#[derive(Debug, Clone)]
pub struct Ask {
    /// The driver that secretfs replaces.
    pub driver: String,
    /// Only these namespaces; all if the list is empty.
    pub namespaces: Vec<String>,
    /// Whether nodes let volume attributes override classes.
    pub legacy_overrides: bool,
}

/// Judges an inventory. Makes no call.
pub fn judge(inventory: &Inventory, ask: &Ask, providers: &Providers) -> Plan {
    let mut judging = Judging::new(inventory, ask, providers);
    judging.surroundings();
    judging.all_classes();
    judging.all_volumes();
    let Judging { classes, volumes, mut differences, .. } = judging;
    differences.sort();
    differences.dedup();
    Plan {
        driver: ask.driver.clone(),
        classes: classes.len(),
        volumes: volumes.len(),
        unseen: inventory.unseen.clone(),
        differences,
    }
}

struct Judging<'a> {
    inventory: &'a Inventory,
    ask: &'a Ask,
    providers: &'a Providers,
    classes: BTreeMap<ClassName, &'a LocatedClass>,
    /// The names of classes that have errors.
    broken: BTreeSet<ClassName>,
    /// The volumes, one for each group of pods that the same controller made.
    volumes: Vec<&'a PodVolume>,
    driver: Option<&'a DriverObject>,
    differences: Vec<Difference>,
}

impl<'a> Judging<'a> {
    fn new(inventory: &'a Inventory, ask: &'a Ask, providers: &'a Providers) -> Self {
        let meant =
            |namespace: &str| ask.namespaces.is_empty() || ask.namespaces.iter().any(|it| it == namespace);
        let classes = inventory.classes.iter().filter(|located| meant(&located.class.namespace));
        let named = inventory.broken.iter().filter_map(|broken| broken.name.clone());
        let mut seen = BTreeSet::new();
        let one_of_each = |volume: &&'a PodVolume| {
            seen.insert((maker(volume), volume.name.as_str(), volume.class.as_ref()))
        };
        let volumes =
            inventory.volumes.iter().filter(|volume| volume.driver == ask.driver && meant(&volume.namespace));
        Self {
            inventory,
            ask,
            providers,
            classes: classes.map(|located| (name_of(located), located)).collect(),
            broken: named.map(|(namespace, name)| ClassName { namespace, name }).collect(),
            volumes: volumes.filter(one_of_each).collect(),
            driver: inventory.drivers.iter().find(|driver| driver.name == ask.driver),
            differences: Vec::new(),
        }
    }

    fn tell(&mut self, effect: Effect, object: String, reason: impl Into<String>, remedy: impl Into<String>) {
        self.differences.push(Difference { effect, object, reason: reason.into(), remedy: remedy.into() });
    }
}

/// The controller that made the pod of a volume. Pods with the same controller behave alike.
fn maker(volume: &PodVolume) -> &str {
    volume.made_by.as_deref().unwrap_or(&volume.owner)
}

fn name_of(located: &LocatedClass) -> ClassName {
    ClassName::from(&located.class)
}
