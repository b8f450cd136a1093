//! What a class may write for Vault and OpenBao.

use std::time::Duration;

use manifest::GO_BOOLEAN;
use manifest::declaration::{FILE_PERMISSION, objects};
use provider::{Declaration, Holds, Key};

use crate::parameters::{AUTH, SHARE};

/// What this provider is called, and every key that it reads.
pub static DECLARATION: Declaration = Declaration {
    names: &["vault", "openbao"],
    title: "HashiCorp Vault and OpenBao",
    about: "Secrets are read over HTTPS with a login of the pod's service account, so that the store's own roles and \
            policies decide. Manifests of upstream's vault provider work as they are. Unknown keys are ignored, as \
            upstream does; `secretfs check` warns about them.",
    default_refresh: Duration::from_secs(60),
    credentials: &["role-id", "secret-id", "token", "tls.crt", "tls.key"],
    annotations: &[],
    parameters: PARAMETERS,
    object: OBJECT,
};

const PARAMETERS: &[Key] = &[
    Key::new(
        "vaultAddress",
        Holds::Text,
        "The URL of the server. With http:// only where the administrator allows insecure stores.",
        "https://vault.example.com:8200",
    )
    .or("--vault-address of the node"),
    Key::new("vaultNamespace", Holds::Text, "The namespace of the store, as Enterprise and OpenBao have them.", "team-a")
        .or("--vault-namespace of the node"),
    Key::new(
        "vaultCACertPath",
        Holds::Authorities,
        "A file of certificate authorities (PEM) to trust instead of the system's.",
        "vault/ca.crt",
    )
    .or("--vault-ca of the node"),
    Key::new(
        "vaultCADirectory",
        Holds::Authorities,
        "A directory of files of certificate authorities (PEM) to trust instead of the system's.",
        "vault/authorities",
    ),
    Key::new(
        "vaultTLSServerName",
        Holds::Text,
        "The name to expect in the server's certificate.",
        "vault.internal",
    )
    .or("the host of the address"),
    Key::new(
        "vaultTLSClientCertPath",
        Holds::ClientFile,
        "The client certificate (PEM) to connect with. It comes together with vaultTLSClientKeyPath.",
        "tls.crt",
    ),
    Key::new(
        "vaultTLSClientKeyPath",
        Holds::ClientFile,
        "The key (PEM) of vaultTLSClientCertPath.",
        "tls.key",
    ),
    Key::new(
        "vaultSkipTLSVerify",
        GO_BOOLEAN,
        "Whether to believe any certificate. Only where the administrator allows insecure stores: whoever is on the \
         way can answer in the server's place and has the pod's token.",
        "\"false\"",
    )
    .or("false"),
    Key::new(
        "vaultAuthMountPath",
        Holds::Text,
        "The mount of the login method, which is the path behind auth/.",
        "jwt-prod",
    )
    .or("--vault-auth-mount of the node for kubernetes, else the method's name"),
    Key::new("vaultKubernetesMountPath", Holds::Text, "The mount of the login method.", "kubernetes")
        .older_than("vaultAuthMountPath"),
    Key::new(
        "roleName",
        Holds::Text,
        "The role of the login method. The methods kubernetes and jwt need it.",
        "shop",
    ),
    Key::new(
        "audience",
        Holds::Text,
        "The audience of the service account token to log in with. tokenRequests of the CSIDriver object has to list \
         it.",
        "vault",
    )
    .or("vault"),
    Key::new(
        AUTH,
        Holds::Choice(&["kubernetes", "jwt", "approle", "token", "cert"]),
        "The login method. kubernetes and jwt use the pod's token; approle, token and cert use credentials that come \
         with the volume.",
        "jwt",
    )
    .or("kubernetes"),
    Key::new(
        SHARE,
        Holds::Choice(&["service-account", "pod"]),
        "Who shares a login: the pods of one service account, or nobody.",
        "pod",
    )
    .or("service-account where the store judges nothing else, else pod"),
    objects("- {objectName: db/password, secretPath: secret/data/shop/db, secretKey: password}"),
];

const OBJECT: &[Key] = &[
    Key::new("objectName", Holds::Text, "The path of the file in the volume.", "db/password").required(),
    Key::new(
        "secretPath",
        Holds::Text,
        "The path of the API, as `vault read` takes it. In KV version 2 it has data/ behind the mount. It may end in a \
         query such as ?version=1.",
        "secret/data/shop/db",
    )
    .required(),
    Key::new("secretKey", Holds::Text, "The key of the secret whose value the file holds.", "password")
        .or("the whole answer, as JSON"),
    Key::new(
        "method",
        Holds::Text,
        "The method of the call. One that writes makes something new, such as a certificate: each volume has its own.",
        "PUT",
    )
    .or("GET"),
    Key::new(
        "secretArgs",
        Holds::Map,
        "The arguments of the call, which are sent as JSON.",
        "{common_name: shop.example.com, ttl: 24h}",
    ),
    FILE_PERMISSION,
    Key::new(
        "wrapTTL",
        Holds::Text,
        "How long the wrapped answer lives. The store wraps it then, and the secretKey token is the wrapping token.",
        "5m",
    ),
];
