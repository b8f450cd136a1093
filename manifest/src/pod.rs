//! Pods, and what makes pods, as far as they mount classes.

use crate::tree::{Key, Node};

/// Drivers that serve classes: ours, and the one whose place it can take.
const DRIVERS: [&str; 2] = ["csi.secretfs.dev", "secrets-store.csi.k8s.io"];

/// A volume of a pod template that names a class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodVolume {
    /// The manifest it is in, as in `Deployment web/shop`.
    pub owner: String,
    /// The namespace of the manifest; `default` where it says none.
    pub namespace: String,
    /// The volume's name.
    pub name: String,
    /// Its line.
    pub line: usize,
    /// `secretProviderClass`, where it is there.
    pub class: Option<String>,
    /// The line of `secretProviderClass`, or the volume's.
    pub class_line: usize,
    /// `readOnly: true`, which every class needs.
    pub read_only: bool,
    /// The author's other attributes.
    pub attributes: Vec<Attribute>,
}

/// One of the author's volume attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// Its key.
    pub key: String,
    /// Its value, if it is text, as it must be.
    pub value: Option<String>,
    /// Its line.
    pub line: usize,
}

/// The volumes in a manifest of that kind that are mounted by a driver of ours.
pub(crate) fn volumes(kind: &str, document: &Node) -> Vec<PodVolume> {
    let template: &[&str] = match kind {
        "Pod" => &["spec", "volumes"],
        "CronJob" => &["spec", "jobTemplate", "spec", "template", "spec", "volumes"],
        _ => &["spec", "template", "spec", "volumes"],
    };
    let volumes = document.at(template).map(Node::items).unwrap_or_default();
    volumes.iter().filter_map(|volume| pod_volume(kind, document, volume)).collect()
}

fn pod_volume(kind: &str, document: &Node, volume: &Node) -> Option<PodVolume> {
    let csi = volume.get("csi")?;
    let driver = csi.get("driver").and_then(Node::text)?;
    if !DRIVERS.contains(&driver) {
        return None;
    }
    let text =
        |keys: &[&str], absent: &str| document.at(keys).and_then(Node::text).unwrap_or(absent).to_owned();
    let namespace = text(&["metadata", "namespace"], "default");
    let attributes = csi.get("volumeAttributes").map(Node::pairs).unwrap_or_default();
    let class = attributes.iter().find(|(key, _)| key.text == "secretProviderClass");
    Some(PodVolume {
        owner: format!("{kind} {namespace}/{}", text(&["metadata", "name"], "?")),
        namespace,
        name: volume.get("name").and_then(Node::text).unwrap_or("?").to_owned(),
        line: volume.line,
        class: class.and_then(|(_, value)| value.text()).map(str::to_owned),
        class_line: class.map_or(volume.line, |(key, _)| key.line),
        read_only: csi.get("readOnly").is_some_and(Node::is_true),
        attributes: attributes.iter().filter_map(attribute).collect(),
    })
}

fn attribute((key, value): &(Key, Node)) -> Option<Attribute> {
    if key.text == "secretProviderClass" {
        return None;
    }
    Some(Attribute { key: key.text.clone(), value: value.text().map(str::to_owned), line: key.line })
}

#[cfg(test)]
mod tests {
    use crate::Manifests;

    #[test]
    fn volumes_are_found_wherever_pods_are_described() {
        let volume = "volumes: [{name: a, emptyDir: {}}, {name: s, csi: {driver: csi.secretfs.dev, readOnly: true, volumeAttributes: {secretProviderClass: shop, roleName: x}}}]";
        for manifest in [
            format!("kind: Pod\nmetadata: {{name: p}}\nspec: {{{volume}}}"),
            format!("kind: Deployment\nmetadata: {{name: p}}\nspec: {{template: {{spec: {{{volume}}}}}}}"),
            format!(
                "kind: CronJob\nmetadata: {{name: p}}\nspec: {{jobTemplate: {{spec: {{template: {{spec: {{{volume}}}}}}}}}}}"
            ),
        ] {
            let volumes = Manifests::read(&manifest).volumes;
            assert_eq!(volumes.len(), 1, "{manifest}");
            assert_eq!(volumes[0].class.as_deref(), Some("shop"));
            assert!(volumes[0].read_only && volumes[0].attributes[0].key == "roleName");
        }
    }

    #[test]
    fn other_drivers_are_not_ours() {
        let other = "kind: Pod\nspec: {volumes: [{name: s, csi: {driver: efs.csi.aws.com}}]}";
        assert_eq!(Manifests::read(other).volumes, []);
    }
}
