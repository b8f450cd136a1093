//! Judges the volumes of pods.

use std::collections::BTreeMap;

use manifest::PodVolume;

use super::{ClassName, Effect, Judging, maker};

/// The longest name of a Kubernetes object.
const MAX_NAME: usize = 253;

impl<'a> Judging<'a> {
    pub(super) fn all_volumes(&mut self) {
        let volumes: Vec<&'a PodVolume> = self.volumes.clone();
        for volume in volumes {
            let object = format!("{}, volume {}", maker(volume), volume.name);
            self.place(&object, volume);
            self.modes(&object, volume);
            self.sub_paths(&object, volume);
            self.class_of(&object, volume);
        }
    }

    fn place(&mut self, object: &str, volume: &PodVolume) {
        if volume.on_windows {
            let remedy = "keep the upstream driver on nodes that run Windows";
            self.tell(
                Effect::Breaks,
                object.to_owned(),
                "it is for nodes that run Windows, which secretfs does not serve",
                remedy,
            );
        }
        if !volume.read_only {
            let remedy = "write readOnly: true in the csi volume";
            self.tell(
                Effect::Breaks,
                object.to_owned(),
                "it is not read-only, which upstream refuses as well",
                remedy,
            );
        }
    }

    fn modes(&mut self, object: &str, volume: &PodVolume) {
        if volume.has_fs_group {
            let reason = "the pod has an fsGroup, which upstream passes over: files whose class says no mode were \
                          root:root 0644, and will be root:<fsGroup> 0440";
            let remedy =
                "nothing, if its containers alone read them; otherwise write filePermission in the class";
            self.tell(Effect::Changes, object.to_owned(), reason, remedy);
        }
    }

    fn sub_paths(&mut self, object: &str, volume: &PodVolume) {
        if !volume.sub_paths.is_empty() {
            let reason = format!(
                "{} single files of it by subPath, which no rotation reaches, as with upstream",
                match volume.sub_paths.as_slice() {
                    [one] => format!("container {one} mounts"),
                    several => format!("containers {} mount", several.join(" and ")),
                }
            );
            self.tell(Effect::Note, object.to_owned(), reason, "mount the volume's directory instead");
        }
    }

    fn class_of(&mut self, object: &str, volume: &PodVolume) {
        let Some(name) = &volume.class else {
            let remedy = "add secretProviderClass to its volumeAttributes";
            return self.tell(
                Effect::Breaks,
                object.to_owned(),
                "it names no class, which upstream refuses as well",
                remedy,
            );
        };
        let name = ClassName { namespace: volume.namespace.clone(), name: name.clone() };
        self.status_name(object, volume, &name);
        match self.classes.get(&name) {
            Some(located) => {
                let class = &located.class;
                let refused = |(key, value): (&String, &String)| {
                    let alone = BTreeMap::from([(key.clone(), value.clone())]);
                    class.overridden_by(&alone, self.ask.legacy_overrides).err()
                };
                let attributes = attributes(volume);
                let refusals: Vec<_> = attributes.iter().filter_map(refused).collect();
                for refusal in refusals {
                    let reason =
                        format!("volume attribute {}: {}; upstream lets it", refusal.key, refusal.reason);
                    let remedy = format!("{}; or set legacyAttributeOverrides in the chart", refusal.remedy);
                    self.tell(Effect::Breaks, object.to_owned(), reason, remedy);
                }
            }
            None if self.inventory.is_whole && !self.broken.contains(&name) => {
                let reason =
                    format!("class {name} does not exist, so that new pods wait with upstream as well");
                self.tell(Effect::Note, object.to_owned(), reason, "create it, or correct the name");
            }
            None => {}
        }
    }

    /// Reports a volume whose status has a name that is too long. Upstream cannot write such a status, and mounts
    /// nothing.
    fn status_name(&mut self, object: &str, volume: &PodVolume, class: &ClassName) {
        let Some(pod) = &volume.pod else { return };
        let length = pod.len() + volume.namespace.len() + class.name.len() + 2;
        if length > MAX_NAME {
            let reason = format!(
                "the name of its SecretProviderClassPodStatus has {length} characters, and {MAX_NAME} are the most: \
                 upstream does not mount it; secretfs does"
            );
            self.tell(
                Effect::Note,
                object.to_owned(),
                reason,
                "nothing; who reads the status finds it by its owner",
            );
        }
    }
}

fn attributes(volume: &PodVolume) -> BTreeMap<String, String> {
    let texts = volume.attributes.iter().filter_map(|own| Some((own.key.clone(), own.value.clone()?)));
    texts.collect()
}
