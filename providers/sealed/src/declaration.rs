//! What a class may write for sealed values.

use std::time::Duration;

use manifest::declaration::{FILE_PERMISSION, objects};
use provider::{Declaration, Holds, Key};

/// The parameter that names the provider whose store has the key.
pub const KMS: &str = "kms";
/// The parameter that names the key.
pub const KMS_KEY: &str = "kmsKey";

/// The parameter with the parameters for that provider.
pub(crate) const KMS_PARAMETERS: &str = "kmsParameters";

/// What this provider is called, and every key that it reads.
pub static DECLARATION: Declaration = Declaration {
    names: &["sealed"],
    title: "Sealed values",
    about: "Values are ciphertext in the class itself, so the manifest is safe to commit. The store that `kms` names opens \
            them when a pod mounts them, with the pod's own login: its policies decide. A value is bound to the \
            environment (--environment of the node), the namespace, the class and the object that it was sealed for. \
            `secretfs seal` seals. Unknown keys are errors.",
    default_refresh: Duration::from_secs(300),
    credentials: &["role-id", "secret-id", "token", "tls.crt", "tls.key"],
    annotations: &[],
    parameters: PARAMETERS,
    object: OBJECT,
};

const PARAMETERS: &[Key] = &[
    Key::new(KMS, Holds::Choice(&["vault", "openbao", "aws", "gcp", "age"]),
        "The provider whose store has the key; or age, for hosts and development: then a file of the machine has it.", "vault")
        .required(),
    Key::new(
        KMS_KEY,
        Holds::Text,
        "The key. Of vault: the mount of the transit engine and the key's name. Of aws: its ARN, its id or an alias. Of gcp: \
         projects/P/locations/L/keyRings/R/cryptoKeys/K. Of age: a recipient, age1…",
        "transit/shop",
    )
    .required(),
    Key::new(
        KMS_PARAMETERS,
        Holds::Text,
        "What a class of that provider says about its store and its login: a text in YAML, a map of texts.",
        "\"{vaultAddress: https://vault.example.com, roleName: shop}\"",
    ),
    objects(
        "- {objectName: db/password, sealed: \"SFS1 environment=production namespace=default class=all …\"}",
    ),
];

const OBJECT: &[Key] = &[
    Key::new("objectName", Holds::Text, "The path of the file in the volume.", "db/password").required(),
    Key::new(
        "sealed",
        Holds::Text,
        "What `secretfs seal` printed, from SFS1 to end. White space between its words does not matter.",
        "\"SFS1 environment=production namespace=default class=all object=db/password kms=vault key=transit/shop \
         wrapped=vault:v1:AAAA value=AAAA end\"",
    )
    .required(),
    FILE_PERMISSION,
];
