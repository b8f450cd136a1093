//! `Debug` for messages with credentials or values: it prints what the message is about, and no secret.

use std::fmt;

use crate::csi::NodePublishVolumeRequest;
use crate::kms::{DecryptResponse, EncryptRequest};
use crate::provider::{File, MountRequest, MountResponse};

impl fmt::Debug for NodePublishVolumeRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodePublishVolumeRequest")
            .field("volume_id", &self.volume_id)
            .field("target_path", &self.target_path)
            .field("readonly", &self.readonly)
            .field("secrets", &self.secrets.len())
            // A kubelet that is older than the field for tokens sends them among the attributes.
            .field("volume_context", &self.volume_context.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for MountRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MountRequest")
            .field("target_path", &self.target_path)
            .field("permission", &self.permission)
            .field("current_object_version", &self.current_object_version)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for MountResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MountResponse")
            .field("object_version", &self.object_version)
            .field("error", &self.error)
            .field("files", &self.files)
            .finish()
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File")
            .field("path", &self.path)
            .field("mode", &self.mode)
            .field("bytes", &self.contents.len())
            .finish()
    }
}

impl fmt::Debug for DecryptResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DecryptResponse").field("bytes", &self.plaintext.len()).finish()
    }
}

impl fmt::Debug for EncryptRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncryptRequest")
            .field("uid", &self.uid)
            .field("bytes", &self.plaintext.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const CANARY: &str = "canary-5e1f";

    fn canaries() -> BTreeMap<String, String> {
        BTreeMap::from([("key".to_owned(), CANARY.to_owned())])
    }

    #[test]
    fn a_publish_request_prints_neither_secrets_nor_attributes() {
        let request = NodePublishVolumeRequest {
            volume_id: "csi-1".to_owned(),
            secrets: canaries(),
            publish_context: canaries(),
            volume_context: canaries(),
            ..Default::default()
        };

        let text = format!("{request:?}");

        assert!(text.contains("csi-1") && !text.contains(CANARY), "{text}");
    }

    #[test]
    fn a_mount_request_prints_neither_attributes_nor_secrets() {
        let request = MountRequest {
            attributes: CANARY.to_owned(),
            secrets: CANARY.to_owned(),
            target_path: "/target".to_owned(),
            ..Default::default()
        };

        let text = format!("{request:?}");

        assert!(text.contains("/target") && !text.contains(CANARY), "{text}");
    }

    #[test]
    fn a_mount_response_prints_paths_and_sizes_of_its_files() {
        let file = File { path: "password".to_owned(), mode: 0o400, contents: CANARY.into() };
        let response = MountResponse { files: vec![file], ..Default::default() };

        let text = format!("{response:?}");

        assert!(text.contains("password") && text.contains("bytes: 11") && !text.contains(CANARY), "{text}");
    }

    #[test]
    fn keys_of_an_api_server_are_not_printed() {
        let plaintext = CANARY.as_bytes().to_vec();
        let asked = EncryptRequest { plaintext: plaintext.clone(), uid: "u".to_owned() };
        assert_eq!(format!("{asked:?}"), "EncryptRequest { uid: \"u\", bytes: 11 }");
        assert_eq!(format!("{:?}", DecryptResponse { plaintext }), "DecryptResponse { bytes: 11 }");
    }
}
