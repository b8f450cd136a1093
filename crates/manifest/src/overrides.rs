//! What the author of a pod may change of a class, by volume attributes.

use std::collections::BTreeMap;

use provider::Invalid;

use crate::class::Class;
use crate::read::is_of_providers;
use crate::settings::PREFIX;

/// Attributes that describe the volume, not the class. Kubelet's own attributes begin with [`KUBELETS`].
const OF_THE_VOLUME: [&str; 2] = ["secretProviderClass", "providerName"];
const KUBELETS: &str = "csi.storage.k8s.io/";

impl Class {
    /// The class as a volume with these attributes sees it.
    ///
    /// Only keys in `secretfs.dev/overridable` may be set. With `legacy`, a pod may set all provider parameters, as
    /// with the upstream driver. It still may not set other `secretfs.dev/` keys, because upstream does not know them.
    ///
    /// # Errors
    ///
    /// The class does not allow the pod to set this attribute, or its value is wrong.
    pub fn overridden_by(
        &self,
        attributes: &BTreeMap<String, String>,
        legacy: bool,
    ) -> Result<Self, Invalid> {
        let mut class = self.clone();
        for (key, value) in attributes.iter().filter(|(key, _)| !is_of_the_volume(key)) {
            let own = key.starts_with(PREFIX);
            if !self.settings.overridable.contains(key) && (own || !legacy) {
                return Err(self.refusal(key));
            }
            class.set(key, value)?;
        }
        class.settings.contradiction().map_or(Ok(class), Err)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), Invalid> {
        let own = key.starts_with(PREFIX);
        if own {
            let first = |faults: Vec<Invalid>| faults.into_iter().next().map_or(Ok(()), Err);
            self.settings.set(key, value).or_else(first)?;
        }
        let place = if is_of_providers(key) { &mut self.parameters } else { &mut self.own };
        place.insert(key.to_owned(), value.to_owned());
        Ok(())
    }

    fn refusal(&self, key: &str) -> Invalid {
        let class = format!("{}/{}", self.namespace, self.name);
        Invalid {
            key: key.to_owned(),
            line: None,
            reason: format!("class {class} does not leave it to the pod's author"),
            remedy: format!("remove the attribute, or list the key in the class's {PREFIX}overridable"),
        }
    }
}

fn is_of_the_volume(key: &str) -> bool {
    OF_THE_VOLUME.contains(&key) || key.starts_with(KUBELETS)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use provider::Parameters;

    use super::*;
    use crate::Settings;

    fn class(overridable: &str) -> Class {
        let mut settings = Settings::default();
        settings.set("secretfs.dev/overridable", overridable).unwrap();
        Class {
            namespace: "web".to_owned(),
            name: "shop".to_owned(),
            provider: "vault".to_owned(),
            parameters: Parameters::from([("roleName".to_owned(), "shop".to_owned())]),
            settings,
            own: Parameters::new(),
            secret_objects: Vec::new(),
        }
    }

    fn overridden(class: &Class, key: &str, value: &str, legacy: bool) -> Result<Class, String> {
        let attributes = BTreeMap::from([(key.to_owned(), value.to_owned())]);
        class.overridden_by(&attributes, legacy).map_err(|invalid| invalid.to_string())
    }

    #[test]
    fn a_key_that_the_class_does_not_list_is_refused() {
        let refusal = overridden(&class(""), "roleName", "admin", false).unwrap_err();
        assert!(
            refusal.contains("roleName") && refusal.contains("web/shop") && refusal.contains("overridable")
        );
    }

    #[test]
    fn a_listed_key_is_the_authors() {
        let class = class("roleName secretfs.dev/refresh secretfs.dev/auth");
        assert_eq!(overridden(&class, "roleName", "own", false).unwrap().parameters["roleName"], "own");
        let refresh = overridden(&class, "secretfs.dev/refresh", "5s", false).unwrap();
        assert_eq!(refresh.settings.refresh, Some(Duration::from_secs(5)));
        assert!(!refresh.parameters.contains_key("secretfs.dev/refresh"));
        let auth = overridden(&class, "secretfs.dev/auth", "jwt", false).unwrap();
        assert_eq!(
            (auth.settings.auth.as_deref(), auth.parameters["secretfs.dev/auth"].as_str()),
            (Some("jwt"), "jwt")
        );
        let wrong = overridden(&class, "secretfs.dev/refresh", "soon", false).unwrap_err();
        assert!(wrong.contains("is not a duration"), "{wrong}");
    }

    #[test]
    fn a_drop_in_lets_the_author_set_what_upstream_lets_him_and_no_more() {
        assert_eq!(overridden(&class(""), "roleName", "own", true).unwrap().parameters["roleName"], "own");
        assert!(overridden(&class(""), "secretfs.dev/on-revoked", "keep", true).is_err());
    }

    #[test]
    fn attributes_of_the_volume_itself_change_nothing() {
        for key in ["secretProviderClass", "csi.storage.k8s.io/pod.name", "providerName"] {
            assert_eq!(overridden(&class(""), key, "x", false), Ok(class("")));
        }
    }
}
