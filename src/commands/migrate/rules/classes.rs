//! Classes: what is wrong with them, and what reads them.

use manifest::{Class, LocatedClass};
use provider::Source;

use super::super::inventory::Broken;
use super::{ClassName, Effect, Judging, name_of};

/// Parameters that are paths inside the Vault provider's container.
const VAULT_FILES: [&str; 4] =
    ["vaultCACertPath", "vaultCADirectory", "vaultTLSClientCertPath", "vaultTLSClientKeyPath"];

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
        if matches!(class.provider.as_str(), "vault" | "openbao") {
            self.vault(&object, class);
        }
        match provider.source(&class.parameters) {
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
        for fault in manifest::compose::verify(&located.class.settings, source.objects()) {
            self.tell(
                Effect::Breaks,
                object.to_owned(),
                format!("{}: {}", fault.key, fault.reason),
                fault.remedy,
            );
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

    /// What the Vault provider had from its own flags and files.
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
        for key in VAULT_FILES.iter().filter(|key| class.parameters.contains_key(**key)) {
            let reason =
                format!("{key} is a path in the Vault provider's container; secretfs looks below --tls-dir");
            let remedy =
                "give the file to the chart (tls.configMap or tls.secret), and name it by its path there"
                    .to_owned();
            self.tell(Effect::Changes, object.to_owned(), reason, remedy);
        }
    }

    /// Secrets that upstream would overwrite.
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
