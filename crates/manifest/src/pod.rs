//! The volumes of pods, and of workloads that make pods, that mount classes.

use crate::tree::{Key, Node};

/// Drivers that serve classes: secretfs, and the upstream driver, which secretfs can replace.
const DRIVERS: [&str; 2] = ["csi.secretfs.dev", "secrets-store.csi.k8s.io"];

/// A volume of a pod template that names a class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodVolume {
    /// The manifest that has the volume, as in `Deployment web/shop`.
    pub owner: String,
    /// The controller that made the pod, as in `ReplicaSet web/shop-5d4`, if one did.
    pub made_by: Option<String>,
    /// The name of the pod, if the manifest is one pod.
    pub pod: Option<String>,
    /// The name of its CSI driver.
    pub driver: String,
    /// Whether the pod sets `fsGroup`.
    pub has_fs_group: bool,
    /// Whether the pod is for nodes that run Windows.
    pub on_windows: bool,
    /// Containers that mount single files of the volume by `subPath`.
    pub sub_paths: Vec<String>,
    /// The namespace of the manifest; `default` if it names none.
    pub namespace: String,
    /// The volume's name.
    pub name: String,
    /// The line of the file on which the volume begins.
    pub line: usize,
    /// `secretProviderClass`, if the volume has it.
    pub class: Option<String>,
    /// The line of `secretProviderClass`, or the volume's.
    pub class_line: usize,
    /// Whether the volume says `readOnly: true`, which every class needs.
    pub read_only: bool,
    /// Other volume attributes that the author wrote.
    pub attributes: Vec<Attribute>,
}

/// One of the author's volume attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// Its key.
    pub key: String,
    /// Its value; `None` if it is not text, which is an error.
    pub value: Option<String>,
    /// Its line.
    pub line: usize,
}

/// The volumes in a manifest of this `kind` that one of the [`DRIVERS`] mounts.
pub(crate) fn volumes(kind: &str, document: &Node) -> Vec<PodVolume> {
    let spec: &[&str] = match kind {
        "Pod" => &["spec"],
        "CronJob" => &["spec", "jobTemplate", "spec", "template", "spec"],
        _ => &["spec", "template", "spec"],
    };
    let Some(spec) = document.at(spec) else { return Vec::new() };
    let volumes = spec.get("volumes").map(Node::items).unwrap_or_default();
    volumes.iter().filter_map(|volume| pod_volume(kind, document, spec, volume)).collect()
}

fn pod_volume(kind: &str, document: &Node, spec: &Node, volume: &Node) -> Option<PodVolume> {
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
    let name = volume.get("name").and_then(Node::text).unwrap_or("?");
    Some(PodVolume {
        owner: format!("{kind} {namespace}/{}", text(&["metadata", "name"], "?")),
        made_by: maker(document).map(|(kind, name)| format!("{kind} {namespace}/{name}")),
        pod: (kind == "Pod").then(|| text(&["metadata", "name"], "")),
        driver: driver.to_owned(),
        has_fs_group: spec.at(&["securityContext", "fsGroup"]).is_some_and(|group| !group.is_null()),
        on_windows: is_for_windows(spec),
        sub_paths: sub_paths(spec, name),
        namespace,
        name: name.to_owned(),
        line: volume.line,
        class: class.and_then(|(_, value)| value.text()).map(str::to_owned),
        class_line: class.map_or(volume.line, |(key, _)| key.line),
        read_only: csi.get("readOnly").is_some_and(Node::is_true),
        attributes: attributes.iter().filter_map(attribute).collect(),
    })
}

/// Kind and name of the controller in `ownerReferences`.
fn maker(document: &Node) -> Option<(&str, &str)> {
    let owners = document.at(&["metadata", "ownerReferences"])?.items();
    let controller = owners.iter().find(|owner| owner.get("controller").is_some_and(Node::is_true))?;
    Some((controller.get("kind")?.text()?, controller.get("name")?.text()?))
}

fn is_for_windows(spec: &Node) -> bool {
    let named = [spec.at(&["os", "name"]), spec.at(&["nodeSelector", "kubernetes.io/os"])];
    named.into_iter().flatten().any(|os| os.text() == Some("windows"))
}

/// The containers that mount a single file of the volume `name`.
fn sub_paths(spec: &Node, name: &str) -> Vec<String> {
    let containers =
        ["containers", "initContainers"].iter().filter_map(|kind| spec.get(kind)).flat_map(Node::items);
    let is_single = |mount: &Node| {
        let of_it = mount.get("name").and_then(Node::text) == Some(name);
        of_it
            && ["subPath", "subPathExpr"].iter().any(|key| mount.get(key).is_some_and(|path| !path.is_null()))
    };
    let mounts = |container: &&Node| {
        container.get("volumeMounts").map(Node::items).unwrap_or_default().iter().any(is_single)
    };
    let named = containers.filter(mounts).filter_map(|container| container.get("name")?.text());
    named.map(str::to_owned).collect()
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
    fn what_matters_of_the_pod_around_a_volume_is_told() {
        let pod = r"
kind: Pod
metadata: {name: web-1, namespace: shop, ownerReferences: [{kind: ReplicaSet, name: web, controller: true}]}
spec:
  securityContext: {fsGroup: 2000}
  nodeSelector: {kubernetes.io/os: windows}
  containers:
    - {name: web, volumeMounts: [{name: s, mountPath: /a, subPath: password}, {name: other, mountPath: /b, subPath: x}]}
    - {name: side, volumeMounts: [{name: s, mountPath: /a}]}
  volumes: [{name: s, csi: {driver: secrets-store.csi.k8s.io, readOnly: true}}]
";
        let volume = &Manifests::read(pod).volumes[0];

        assert_eq!(volume.made_by.as_deref(), Some("ReplicaSet shop/web"));
        assert_eq!(
            (volume.pod.as_deref(), volume.driver.as_str()),
            (Some("web-1"), "secrets-store.csi.k8s.io")
        );
        assert!(volume.has_fs_group && volume.on_windows);
        assert_eq!(volume.sub_paths, ["web"]);
    }

    #[test]
    fn other_drivers_are_not_ours() {
        let other = "kind: Pod\nspec: {volumes: [{name: s, csi: {driver: efs.csi.aws.com}}]}";
        assert_eq!(Manifests::read(other).volumes, []);
    }
}
