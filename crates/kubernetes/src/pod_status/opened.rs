//! What the containers of a pod opened last, as an annotation of the pod's status. A node writes it only when a container
//! has opened another version, so many opens cost one write.

use engine::volume::coverage::Opened;
use serde::{Deserialize, Serialize};

/// The annotation.
pub(crate) const ANNOTATION: &str = "secretfs.dev/opened";
/// Most bytes of it. The API server takes 256 KiB of annotations of one object.
const MOST_BYTES: usize = 64 * 1024;
/// Bytes around the list and around one entry of it, at most.
const AROUND: usize = 96;

/// What the containers of a volume opened last, since the process began that wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenedLast {
    /// When that process began, as RFC 3339. What was opened before is not in it.
    pub since: String,
    /// The version that each container opened last of each object.
    pub last: Vec<OpenedVersion>,
    /// Whether there were more than the annotation holds.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_cut: bool,
}

/// The version that one container opened last of one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenedVersion {
    /// Name of the container; `None` where it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// The object's `objectName`.
    pub object: String,
    /// The store's name for the version, or else its fingerprint.
    pub version: String,
}

impl OpenedLast {
    /// What `opened` tells, as far as the annotation holds it.
    pub(super) fn of(opened: &[Opened], since: &str) -> Self {
        let (mut last, mut bytes) = (Vec::new(), AROUND);
        for Opened { container, object, version, .. } in opened {
            let names = container.iter().chain([object, version]);
            // A byte of a name has up to six in JSON.
            bytes = names.fold(bytes.saturating_add(AROUND), |sum, name| {
                sum.saturating_add(name.len().saturating_mul(6))
            });
            if bytes > MOST_BYTES {
                return Self { since: since.to_owned(), last, is_cut: true };
            }
            let (container, object, version) = (container.clone(), object.clone(), version.clone());
            last.push(OpenedVersion { container, object, version });
        }
        Self { since: since.to_owned(), last, is_cut: false }
    }

    pub(super) fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(object: String) -> Opened {
        let last = jiff::Timestamp::from_second(1).unwrap();
        Opened { container: Some("web".to_owned()), object, version: "7".to_owned(), last, count: 3 }
    }

    #[test]
    fn it_says_which_version_each_container_opened_and_not_how_often() {
        let told = OpenedLast::of(&[opened("db".to_owned())], "2026-01-01T00:00:00Z");

        let text =
            r#"{"since":"2026-01-01T00:00:00Z","last":[{"container":"web","object":"db","version":"7"}]}"#;
        assert_eq!(told.text(), text);
        assert_eq!(serde_json::from_str::<OpenedLast>(text).unwrap(), told);
        let again = Opened { count: 9, ..opened("db".to_owned()) };
        assert_eq!(OpenedLast::of(&[again], "2026-01-01T00:00:00Z"), told);
    }

    #[test]
    fn however_many_names_there_are_and_of_whatever_letters_the_annotation_is_bounded_and_says_so() {
        let many: Vec<_> = (0..4096).map(|n| opened(format!("{n}{}", "\u{1}".repeat(200)))).collect();

        let told = OpenedLast::of(&many, "2026-01-01T00:00:00Z");

        assert!(told.is_cut && !told.last.is_empty());
        assert!(told.text().len() <= MOST_BYTES, "{}", told.text().len());
    }
}
