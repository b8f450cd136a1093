//! Judges the CSIDriver object.

use super::{Effect, Judging};

impl Judging<'_> {
    pub(super) fn surroundings(&mut self) {
        let object = format!("CSIDriver {}", self.ask.driver);
        match self.driver {
            Some(driver) => {
                let (pod_info, ephemeral, attach) =
                    (driver.pod_info, driver.ephemeral, driver.attach_required);
                let republish = driver.republish;
                self.needed(
                    &object,
                    pod_info,
                    "podInfoOnMount: true",
                    "which pod a volume is for is not told",
                );
                self.needed(
                    &object,
                    ephemeral,
                    "volumeLifecycleModes: [Ephemeral]",
                    "kubelet refuses inline volumes",
                );
                self.needed(&object, !attach, "attachRequired: false", "pods would wait for an attachment");
                self.rotation(object, republish);
            }
            None if self.inventory.is_whole => self.tell(
                Effect::Breaks,
                object,
                "it does not exist, and kubelet mounts nothing without it",
                "let the chart make it: csidriver.create",
            ),
            None => {
                let unseen = "it is not among the files, so its fields and audiences are not judged";
                self.tell(
                    Effect::Note,
                    object,
                    unseen,
                    "add `kubectl get csidriver NAME -o yaml` to the files",
                );
            }
        }
    }

    fn needed(&mut self, object: &str, is_there: bool, field: &str, without: &str) {
        if !is_there {
            let remedy = "let the chart own the object (csidriver.create), or make it anew with the field";
            self.tell(Effect::Breaks, object.to_owned(), format!("it lacks {field}: {without}"), remedy);
        }
    }

    fn rotation(&mut self, object: String, republish: bool) {
        if republish {
            return self.tell(
                Effect::Note,
                object,
                "upstream read each volume again when kubelet called, each 60 to 90 s; secretfs reads by itself, \
                 each value once for all pods of one identity, by default as often as suits the store (60 s)",
                "say otherwise with rotationPollInterval in the chart, or secretfs.dev/refresh in a class",
            );
        }
        self.tell(
            Effect::Changes,
            object.clone(),
            "requiresRepublish is off, so upstream did not rotate; secretfs does",
            "write enableSecretRotation: false in the chart if values are to stay as they were mounted",
        );
        self.tell(
            Effect::Changes,
            object,
            "without requiresRepublish kubelet brings no fresh tokens, and what needs one is refused after an hour",
            "set requiresRepublish: true, as the chart does",
        );
    }
}
