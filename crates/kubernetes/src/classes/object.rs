//! Turns an API object into a class.

use std::sync::Arc;

use class::ClassName;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use manifest::{Class, Fault};
use serde_json::json;

use super::Known;

/// The API resource of SecretProviderClasses. API servers store v1alpha1 objects as v1, unchanged.
pub(crate) fn resource() -> ApiResource {
    let kind = GroupVersionKind::gvk("secrets-store.csi.x-k8s.io", "v1", "SecretProviderClass");
    ApiResource::from_gvk_with_plural(&kind, "secretproviderclasses")
}

/// The name and the class of `object`.
pub(crate) fn read(object: &DynamicObject) -> (ClassName, Known) {
    let name = name_of(object);
    let known = class(&name, object).map(Arc::new);
    (name, known)
}

/// The name of `object`.
pub(super) fn name_of(object: &DynamicObject) -> ClassName {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    ClassName { namespace: text(&object.metadata.namespace), name: text(&object.metadata.name) }
}

fn class(name: &ClassName, object: &DynamicObject) -> Result<Class, String> {
    let resource = resource();
    let manifest = json!({
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"namespace": name.namespace, "name": name.name},
        "spec": object.data.get("spec"),
    });
    let read = Class::read(&manifest.to_string()).map_err(|faults| told(&faults));
    let class = read.and_then(|mut classes| classes.pop().ok_or_else(|| "it is none".to_owned()));
    class.map_err(|fault| format!("SecretProviderClass {name}: {fault}"))
}

/// The first fault. Without its line number, because the API server does not store the author's file.
fn told(faults: &[Fault]) -> String {
    let more = match faults.len() {
        0 | 1 => String::new(),
        several => format!(" (and {} more)", several - 1),
    };
    let first = faults.first().cloned().map(|fault| Fault { line: None, ..fault }.to_string());
    format!("{}{more}", first.unwrap_or_default())
}
