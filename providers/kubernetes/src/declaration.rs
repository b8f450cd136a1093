//! What a class may write for native Secrets.

use std::time::Duration;

use manifest::declaration::{FILE_PERMISSION, objects};
use provider::{Declaration, Holds, Key};

/// What this provider is called, and every key that it reads.
pub static DECLARATION: Declaration = Declaration {
    names: &["kubernetes"],
    title: "native Secrets of Kubernetes",
    about: "Secrets of the pod's own namespace are read with the pod's own token, so that its own RBAC decides: it \
            needs the verb get, and watch for changes to arrive at once. The CSIDriver object lists the audience \"\" \
            among its tokenRequests. Unknown keys are errors.",
    default_refresh: Duration::from_secs(60),
    credentials: &["token"],
    annotations: &[],
    parameters: &[objects("- {objectName: tls.crt, secret: web, key: tls.crt}")],
    object: OBJECT,
};

const OBJECT: &[Key] = &[
    Key::new("objectName", Holds::Text, "The path of the file in the volume.", "tls.crt").required(),
    Key::new("secret", Holds::Text, "The name of the Secret, in the pod's own namespace.", "web").required(),
    Key::new("key", Holds::Text, "The key of the Secret whose value the file holds.", "tls.crt")
        .or("the objectName"),
    FILE_PERMISSION,
];
