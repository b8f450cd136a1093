//! The rules of `check`: one function for each.

use std::collections::{BTreeMap, BTreeSet};

use class::ClassName;
use manifest::{Fault, LocatedClass, Manifests, PodVolume};
use provider::{Invalid, ObjectRef, Providers, Request, Source};

use super::{Input, Report, Severity, helm};

/// Checks all `inputs` together, so that pods find their classes in other files.
pub fn check(inputs: &[Input], providers: &Providers) -> Report {
    let manifests: Vec<_> = inputs.iter().map(|input| (input, Manifests::read(&input.text))).collect();
    let mut checking =
        Checking { providers, classes: BTreeMap::new(), broken: BTreeSet::new(), report: Report::default() };
    checking.report.files = inputs.len();
    for (input, manifests) in &manifests {
        checking.file(input, manifests);
    }
    for (input, manifests) in manifests.iter().filter(|(input, manifests)| !is_template(input, manifests)) {
        manifests.volumes.iter().for_each(|volume| checking.volume(&input.name, volume));
    }
    checking.report.findings.sort();
    checking.report
}

fn template_line(input: &Input, manifests: &Manifests) -> Option<usize> {
    helm::first_action(&input.text, manifests.faults.is_empty())
}

fn is_template(input: &Input, manifests: &Manifests) -> bool {
    template_line(input, manifests).is_some()
}

struct Checking<'a> {
    providers: &'a Providers,
    /// The classes so far, each with its file.
    classes: BTreeMap<ClassName, (&'a str, &'a LocatedClass)>,
    /// The names of classes that have errors.
    broken: BTreeSet<ClassName>,
    report: Report,
}

impl<'a> Checking<'a> {
    fn error(&mut self, file: &str, fault: Fault) {
        self.report.add(file, Severity::Error, fault);
    }

    fn warn(&mut self, file: &str, fault: Fault) {
        self.report.add(file, Severity::Warning, fault);
    }

    fn file(&mut self, input: &'a Input, manifests: &'a Manifests) {
        if let Some(line) = template_line(input, manifests) {
            let (reason, remedy) = (
                "it is a Helm template and no manifest yet",
                "check what it becomes: helm template CHART | secretfs check -",
            );
            return self.error(&input.name, fault(Some(line), "document", reason, remedy));
        }
        self.report.classes += manifests.classes.len();
        self.report.volumes += manifests.volumes.len();
        let broken = manifests.broken.iter().cloned().map(|(namespace, name)| ClassName { namespace, name });
        self.broken.extend(broken);
        manifests.faults.iter().for_each(|fault| self.error(&input.name, fault.clone()));
        manifests.classes.iter().for_each(|class| self.class(&input.name, class));
        let empty =
            manifests.classes.is_empty() && manifests.volumes.is_empty() && manifests.faults.is_empty();
        if empty && input.named {
            let reason = "there is no SecretProviderClass in it, and no pod that mounts one";
            self.warn(&input.name, fault(None, "document", reason, "name the files that have them"));
        }
    }

    fn class(&mut self, file: &'a str, located: &'a LocatedClass) {
        self.only_definition(file, located);
        let class = &located.class;
        let Some(provider) = self.providers.get(&class.provider) else {
            return self.foreign(file, located);
        };
        for remark in provider.remarks(&class.parameters) {
            self.warn(file, located.fault(remark));
        }
        match provider.source_of(&class.namespace, &class.name, &class.parameters) {
            Ok(source) => self.source(file, located, &*source, provider.endings().is_some()),
            Err(faults) => faults.into_iter().for_each(|invalid| self.error(file, located.fault(invalid))),
        }
    }

    fn only_definition(&mut self, file: &'a str, located: &'a LocatedClass) {
        let name = name_of(located);
        if let Some((other, first)) = self.classes.get(&name) {
            let reason = format!("class {name} is defined in {other}:{} as well", first.line);
            return self
                .error(file, fault(Some(located.line), "metadata.name", &reason, "remove one of them"));
        }
        self.classes.insert(name, (file, located));
    }

    fn foreign(&mut self, file: &str, located: &LocatedClass) {
        let known: Vec<_> = self.providers.names().collect();
        let provider = &located.class.provider;
        let (reason, remedy) = match manifest::nearest(provider, known.iter().copied()) {
            Some(meant) => (
                format!("{provider:?} is none of the providers built in, so its parameters were not checked"),
                format!("did you mean {meant}? If not, {}", socket_of(provider)),
            ),
            None => (
                format!("{provider:?} is an external provider, so its parameters were not checked"),
                format!("{}; built in are {}", socket_of(provider), known.join(", ")),
            ),
        };
        self.warn(file, fault(Some(located.provider_line), "spec.provider", &reason, &remedy));
    }

    fn source(&mut self, file: &str, located: &LocatedClass, source: &dyn Source, has_leases: bool) {
        if let Some(exposure) = source.exposure() {
            let mut asked = exposure.asked.clone();
            asked.remedy.push_str("; only nodes with --allow-insecure-stores do it");
            self.warn(file, located.fault(asked));
        }
        let objects = source.objects();
        for invalid in manifest::compose::verify(&located.class.settings, objects, source.trees()) {
            self.error(file, located.fault(invalid));
        }
        // In other stores a path that looks the same is an ordinary secret.
        let torn = if has_leases { torn_pairs(located, objects) } else { Vec::new() };
        for invalid in torn.into_iter().chain(unknown_files(located, source)) {
            self.warn(file, located.fault(invalid));
        }
    }

    fn volume(&mut self, file: &str, volume: &PodVolume) {
        if !volume.read_only {
            let reason = format!("volume {:?} of {} is not read-only", volume.name, volume.owner);
            self.error(file, fault(Some(volume.line), "csi.readOnly", &reason, "write readOnly: true"));
        }
        self.attribute_texts(file, volume);
        let Some(name) = &volume.class else {
            let reason = format!("volume {:?} of {} names no class", volume.name, volume.owner);
            return self
                .error(file, fault(Some(volume.class_line), "secretProviderClass", &reason, "add it"));
        };
        let name = ClassName { namespace: volume.namespace.clone(), name: name.clone() };
        match self.classes.get(&name) {
            Some((_, located)) => self.overrides(file, volume, located),
            None if self.broken.contains(&name) => {}
            None => self.missing_class(file, volume, &name),
        }
    }

    fn attribute_texts(&mut self, file: &str, volume: &PodVolume) {
        for attribute in volume.attributes.iter().filter(|attribute| attribute.value.is_none()) {
            let reason = "a volume attribute must be text";
            self.error(file, fault(Some(attribute.line), &attribute.key, reason, "quote its value"));
        }
    }

    fn overrides(&mut self, file: &str, volume: &PodVolume, located: &LocatedClass) {
        for attribute in &volume.attributes {
            let Some(value) = attribute.value.clone() else { continue };
            let alone = BTreeMap::from([(attribute.key.clone(), value)]);
            if let Err(invalid) = located.class.overridden_by(&alone, false) {
                self.error(file, Fault { line: Some(attribute.line), ..Fault::from(invalid) });
            }
        }
    }

    fn missing_class(&mut self, file: &str, volume: &PodVolume, name: &ClassName) {
        let reason = format!("{} mounts class {name}, which is in none of these files", volume.owner);
        let elsewhere = self.classes.keys().find(|known| known.name == name.name);
        let remedy = match elsewhere {
            Some(known) => format!("a pod finds classes of its own namespace only, and there is {known}"),
            None => "create it in the pod's namespace, or correct the name".to_owned(),
        };
        self.warn(file, fault(Some(volume.class_line), "secretProviderClass", &reason, &remedy));
    }
}

fn fault(line: Option<usize>, key: &str, reason: &str, remedy: &str) -> Fault {
    Fault { line, key: key.to_owned(), reason: reason.to_owned(), remedy: remedy.to_owned() }
}

/// What an external provider needs.
fn socket_of(provider: &str) -> String {
    format!("it must listen at {provider}.sock in the nodes' directory of providers (--providers-dir)")
}

fn name_of(located: &LocatedClass) -> ClassName {
    ClassName::from(&located.class)
}

/// Files from the same leased answer. A reader may see one before and the other after a change.
fn torn_pairs(located: &LocatedClass, objects: &[ObjectRef]) -> Vec<Invalid> {
    let mut by_request: BTreeMap<&Request, Vec<usize>> = BTreeMap::new();
    for (index, object) in objects.iter().enumerate().filter(|(_, object)| object.file) {
        if object.request.text.contains("/creds/") {
            by_request.entry(&object.request).or_default().push(index);
        }
    }
    let names = |indices: &[usize]| -> Vec<&str> {
        indices.iter().filter_map(|index| objects.get(*index)).map(|object| object.name.as_str()).collect()
    };
    let torn = by_request.values().filter(|indices| indices.len() > 1);
    let torn = torn.filter(|indices| !composed_together(located, &names(indices)));
    torn.filter_map(|indices| Some(torn_pair(*indices.last()?, &names(indices)))).collect()
}

fn composed_together(located: &LocatedClass, names: &[&str]) -> bool {
    let holds = |file: &manifest::Composed, name: &str| file.from.iter().any(|(_, object)| object == name);
    located.class.settings.files.iter().any(|file| names.iter().all(|name| holds(file, name)))
}

fn torn_pair(index: usize, names: &[&str]) -> Invalid {
    let names = names.join(" and ");
    Invalid {
        key: format!("objects[{index}]"),
        line: None,
        reason: format!(
            "{names} are one login in several files, so a reader may see half of the old and half of the new"
        ),
        remedy: "compose them into one file with secretfs.dev/files".to_owned(),
    }
}

/// Keys of Secrets that no file of the volume fills.
fn unknown_files(located: &LocatedClass, source: &dyn Source) -> Vec<Invalid> {
    let composed = located.class.settings.files.iter().map(|file| file.path.as_str());
    let shown = source.objects().iter().filter(|object| object.file).map(|object| object.path.as_str());
    let shown: Vec<_> = shown.chain(composed).collect();
    let may_be_found = |name: &str| source.trees().iter().any(|tree| tree.file && tree.may_have(name));
    let is_shown = |name: &str| shown.contains(&name) || may_be_found(name);
    let mut faults = Vec::new();
    for (index, secret) in located.class.secret_objects.iter().enumerate() {
        for (at, data) in secret.data.iter().enumerate().filter(|(_, data)| !is_shown(&data.object_name)) {
            faults.push(Invalid {
                key: format!("spec.secretObjects[{index}].data[{at}].objectName"),
                line: None,
                reason: format!("the volume has no file {:?}", data.object_name),
                remedy: "name a file by its path in the volume".to_owned(),
            });
        }
    }
    faults
}
