//! What a class may write for the embedded store.

use std::time::Duration;

use manifest::declaration::{FILE_PERMISSION, objects};
use provider::{Declaration, Holds, Key};

/// What this provider is called, and every key that it reads.
pub static DECLARATION: Declaration = Declaration {
    names: &["secretfs"],
    title: "the embedded store",
    about: "Secrets are kept encrypted on the host itself, without a server. A workload reads the items of its own \
            namespace that are for its service account. Unknown keys are errors.",
    default_refresh: Duration::from_secs(60),
    credentials: &[],
    annotations: &[],
    parameters: &[objects("- {objectName: api-key, item: shop/api, key: token}")],
    object: OBJECT,
};

const OBJECT: &[Key] = &[
    Key::new("objectName", Holds::Text, "The path of the file in the volume.", "api-key").required(),
    Key::new("item", Holds::Text, "The name of the item, in the namespace of the workload.", "shop/api")
        .required(),
    Key::new("key", Holds::Text, "The key of the item whose value the file holds.", "token").or("value"),
    Key::new("version", Holds::Number, "The version of the item.", "3").or("the newest"),
    FILE_PERMISSION,
];
