//! What a class may write for Conjur.

use std::time::Duration;

use manifest::GO_BOOLEAN;
use provider::{Declaration, Holds, Key};

use crate::parameters::{SHARE, VERSION};

/// What this provider is called, and every key that it reads.
pub static DECLARATION: Declaration = Declaration {
    names: &["conjur"],
    title: "CyberArk Conjur",
    about: "Variables are read over HTTPS with a login of the workload's own, so that Conjur's policy decides. The \
            login is by the pod's token (authn-jwt), or by an API key from nodePublishSecretRef. Classes of \
            upstream's conjur provider work if they list their files under secrets; the pod's annotation \
            conjur.org/secrets is not read. Unknown keys are ignored, as upstream does; `secretfs check` warns about \
            them.",
    default_refresh: Duration::from_secs(60),
    credentials: &["login", "apiKey"],
    annotations: &[],
    parameters: PARAMETERS,
    object: OBJECT,
};

const PARAMETERS: &[Key] = &[
    Key::new(
        "applianceUrl",
        Holds::Text,
        "The URL of the server. With http:// only where the administrator allows insecure stores.",
        "https://conjur.conjur.svc.cluster.local",
    )
    .or("--conjur-url of the node"),
    Key::new("account", Holds::Text, "The account at the server.", "acme").or("--conjur-account of the node"),
    Key::new(
        "authnId",
        Holds::Text,
        "The authenticator. authn-jwt/SERVICE, or SERVICE alone, takes the pod's token. authn takes the keys login and \
         apiKey from nodePublishSecretRef.",
        "authn-jwt/kube",
    )
    .required(),
    Key::new(
        "identity",
        Holds::Text,
        "The host to log in as, for an authenticator that does not take it from the token.",
        "host/shop/web",
    )
    .or("the authenticator takes it from the token"),
    Key::new(
        "audience",
        Holds::Text,
        "The audience of the service account token. tokenRequests of the CSIDriver object has to list it.",
        "conjur",
    )
    .or("conjur"),
    Key::new(
        "sslCertificate",
        Holds::Text,
        "The certificate authorities (PEM) to trust instead of the system's, written out.",
        r#""-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n""#,
    ),
    Key::new(
        "caCertPath",
        Holds::Authorities,
        "A file of certificate authorities (PEM) to trust instead of the system's.",
        "conjur/ca.crt",
    )
    .or("--conjur-ca of the node"),
    Key::new(
        VERSION,
        Holds::Choice(&["0.1.0", "0.2.0"]),
        "The form of the class, as upstream's provider has it. Both are read in the same way here.",
        "0.2.0",
    ),
    Key::new(
        "versionNumbers",
        GO_BOOLEAN,
        "Whether the newest value is told with Conjur's own number for it. This makes two calls for each variable, \
         and the host needs the privilege read as well as execute.",
        "\"true\"",
    )
    .or("false: variables are read together, and the version is told only of an object with version"),
    Key::new(
        SHARE,
        Holds::Choice(&["service-account", "pod"]),
        "Who shares a login: the pods of one service account, or nobody.",
        "service-account",
    )
    .or("pod with authn-jwt, whose host may be bound to a pod; service-account with an API key"),
    Key::new(
        "secrets",
        Holds::Text,
        "What the volume shows, in upstream's form: YAML, a list of maps, each of one path and one variable. A variable \
         may stand in several. A class has either this or objects.",
        "\"[{db/url: shop/db/url}]\"",
    ),
    Key::new(
        "objects",
        Holds::Objects,
        "What the volume shows: a list of objects, each of which makes a file.",
        "- {objectName: db/url, variable: shop/db/url}",
    ),
];

const OBJECT: &[Key] = &[
    Key::new("objectName", Holds::Text, "The path of the file in the volume.", "db/url").required(),
    Key::new("variable", Holds::Text, "The id of the variable, without account and kind.", "shop/db/url")
        .required(),
    Key::new("version", Holds::Number, "A version of the variable. Conjur keeps the last 20.", "3")
        .or("the newest one"),
    Key::new(
        "filePermission",
        Holds::Mode,
        "The permission bits of the file. A number without quotes.",
        "0400",
    )
    .or("0644 in a pod, 0440 in a pod with an fsGroup, 0400 on a host"),
];
