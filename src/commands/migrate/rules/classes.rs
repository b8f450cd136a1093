//! Judges classes and their providers.

use manifest::{Class, LocatedClass};
use provider::{Declaration, Holds, Invalid, Key, Source};

use super::super::inventory::Broken;
use super::{ClassName, Effect, Judging, name_of};
use crate::providers;

impl<'a> Judging<'a> {
    pub(super) fn all_classes(&mut self) {
        for broken in &self.inventory.broken {
            let object = told(broken);
            let (reason, remedy) =
                (format!("{}: {}", broken.fault.key, broken.fault.reason), broken.fault.remedy.clone());
            self.tell(Effect::Breaks, object, reason, remedy);
        }
        let classes: Vec<&'a LocatedClass> = self.classes.values().copied().collect();
        classes.iter().for_each(|located| self.class(located));
        if classes.iter().any(|located| !located.class.secret_objects.is_empty()) {
            self.sync_is_off();
        }
    }

    fn class(&mut self, located: &LocatedClass) {
        let (class, object) = (&located.class, object(located));
        self.secrets(class);
        let Some(provider) = self.providers.get(&class.provider) else {
            let reason =
                format!("provider {:?} is not built in: it is served through its own socket", class.provider);
            let remedy =
                format!("keep its DaemonSet; its socket is {}.sock in linux.providersDir", class.provider);
            return self.tell(Effect::Note, object, reason, remedy);
        };
        if let Some(declaration) = providers::declaration(&class.provider) {
            self.files(&object, class, declaration);
            if declaration.is_called("vault") {
                self.vault(&object, class);
            }
        }
        match provider.source_of(&class.namespace, &class.name, &class.parameters) {
            Ok(source) => self.source(&object, located, &*source),
            Err(faults) => {
                for fault in faults {
                    self.tell(
                        Effect::Breaks,
                        object.clone(),
                        format!("{}: {}", fault.key, fault.reason),
                        fault.remedy,
                    );
                }
            }
        }
    }

    fn source(&mut self, object: &str, located: &LocatedClass, source: &dyn Source) {
        for fault in manifest::compose::verify(&located.class.settings, source.objects(), source.trees()) {
            self.tell(
                Effect::Breaks,
                object.to_owned(),
                format!("{}: {}", fault.key, fault.reason),
                fault.remedy,
            );
        }
        if let Some(exposure) = source.exposure() {
            self.exposure(object, &exposure.asked);
        }
        let (Some(driver), Some(audience)) = (self.driver, source.audience()) else { return };
        if !driver.audiences.iter().any(|known| known == audience) {
            let reason = format!(
                "it needs a token for audience {audience:?}, which tokenRequests of the CSIDriver object lack; \
                 some of upstream's providers made tokens themselves, secretfs may not"
            );
            self.tell(
                Effect::Breaks,
                object.to_owned(),
                reason,
                format!("add {audience:?} to tokenRequests in the chart"),
            );
        }
    }

    /// Reports an insecure way to a store. Upstream's provider uses it; others on the way can read the calls or answer
    /// them.
    fn exposure(&mut self, object: &str, asked: &Invalid) {
        let Invalid { key, reason, remedy, .. } = asked;
        let leave = "allowInsecureStores in the chart, --allow-insecure-stores of the driver";
        if self.ask.driver == super::super::UPSTREAM {
            let reason =
                format!("{key}: {reason}; it is allowed under this driver name only, with a warning");
            let remedy = format!("{remedy}; then set {leave} to false");
            return self.tell(Effect::Note, object.to_owned(), reason, remedy);
        }
        let reason = format!("{key}: {reason}; secretfs refuses it by default");
        self.tell(Effect::Breaks, object.to_owned(), reason, format!("{remedy}; or set {leave} to true"));
    }

    /// Reports settings that the upstream Vault provider may have had from its own flags.
    fn vault(&mut self, object: &str, class: &Class) {
        if !class.parameters.contains_key("vaultAddress") {
            let reason =
                "it leaves the address to the Vault provider's own settings, which secretfs does not see";
            self.tell(
                Effect::Breaks,
                object.to_owned(),
                reason,
                "set vault.address in the chart, or vaultAddress here",
            );
        }
    }

    /// Reports files that the class names. Upstream's provider has them in its own container.
    fn files(&mut self, object: &str, class: &Class, declaration: &Declaration) {
        let is_named = |key: &&Key| class.parameters.get(key.name).is_some_and(|path| !path.is_empty());
        for key in declaration.parameters.iter().filter(is_named) {
            match key.holds {
                Holds::Authorities => self.authorities(object, key.name, declaration.label()),
                Holds::ClientFile => self.client_file(object, key.name, &class.namespace),
                _ => {}
            }
        }
    }

    fn authorities(&mut self, object: &str, key: &str, provider: &str) {
        let reason = format!(
            "{key} is a path in the container of the {provider} provider; secretfs looks below --tls-dir"
        );
        let remedy =
            "give the file to the chart (tls.configMap or tls.secret), and name it by its path there";
        self.tell(Effect::Changes, object.to_owned(), reason, remedy);
    }

    fn client_file(&mut self, object: &str, key: &str, namespace: &str) {
        let reason = format!(
            "{key} names a client certificate, which upstream's provider lends to every class; secretfs binds it \
             to a namespace and looks below --tls-dir/{namespace}"
        );
        let remedy = format!(
            "give the Secret to the chart (tls.clients, namespace {namespace}), and write tls.crt and tls.key here"
        );
        self.tell(Effect::Changes, object.to_owned(), reason, remedy);
    }

    /// Reports Secrets that already exist. Upstream would overwrite them.
    fn secrets(&mut self, class: &Class) {
        let named = class.secret_objects.iter().map(|secret| secret.secret_name.as_str());
        let found = self.inventory.secrets.iter().filter(|secret| secret.namespace == class.namespace);
        let found =
            found.filter(|secret| !secret.is_managed && named.clone().any(|name| name == secret.name));
        for secret in found {
            let reason = format!(
                "class {}/{} makes it, and it is not a driver's: upstream overwrites such a Secret, secretfs does not",
                class.namespace, class.name
            );
            let remedy = "delete the Secret, label it secrets-store.csi.k8s.io/managed=true, or name another";
            self.tell(
                Effect::Changes,
                format!("Secret {}/{}", secret.namespace, secret.name),
                reason,
                remedy,
            );
        }
    }

    fn sync_is_off(&mut self) {
        self.tell(
            Effect::Changes,
            "secretObjects".to_owned(),
            "classes make Secrets, which is off where nobody says otherwise, as upstream; pods that read them \
             from the environment would wait",
            "set syncSecret.enabled, and syncSecret.namespaces, in the chart",
        );
    }
}

fn object(located: &LocatedClass) -> String {
    let ClassName { namespace, name } = name_of(located);
    format!("SecretProviderClass {namespace}/{name}")
}

fn told(broken: &Broken) -> String {
    match &broken.name {
        Some((namespace, name)) => format!("SecretProviderClass {namespace}/{name}"),
        None => format!("{}:{}", broken.place, broken.fault.line.unwrap_or(1)),
    }
}
