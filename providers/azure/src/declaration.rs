//! What a class may write for Azure Key Vault.

use std::time::Duration;

use manifest::GO_BOOLEAN;
use manifest::declaration::{DIRECTORY, MAX_FILES, objects};
use provider::{Declaration, Holds, Key};

use crate::parameters::{ON_EXPIRED, SHARE};

/// What this provider is called, and every key that it reads.
pub static DECLARATION: Declaration = Declaration {
    names: &["azure"],
    title: "Azure Key Vault",
    about: "Secrets, keys and certificates are read over HTTPS with a login at Microsoft Entra ID, so that role \
            assignments and access policies of the vault decide. The login is that of an application: by the pod's \
            token (workload identity), by a client secret from nodePublishSecretRef, or by the machine's managed \
            identity where the administrator allows that. Manifests of upstream's azure provider work as they are. \
            Composed files and secretObjects call an object by its path in the volume. Unknown keys are ignored, as \
            upstream does; `secretfs check` warns about them.",
    default_refresh: Duration::from_secs(120),
    credentials: &["clientid", "clientsecret"],
    annotations: &[],
    parameters: PARAMETERS,
    object: OBJECT,
};

const PARAMETERS: &[Key] = &[
    Key::new(
        "keyvaultName",
        Holds::Text,
        "The name of the vault. An object may name another one.",
        "shop-kv",
    ),
    Key::new(
        "keyvaultURL",
        Holds::Text,
        "The whole URL of the vault, for one that is not below the cloud's own domain. With http:// only where the \
         administrator allows insecure stores. Not together with useVMManagedIdentity.",
        "https://vault.private.example.com",
    )
    .or("what --azure-vault-url of the node or the cloud makes of keyvaultName"),
    Key::new(
        "tenantID",
        Holds::Text,
        "The tenant of Entra ID that the application is in: its id or one of its domains.",
        "00000000-0000-0000-0000-000000000001",
    ),
    Key::new(
        "tenantId",
        Holds::Text,
        "The tenant of Entra ID.",
        "00000000-0000-0000-0000-000000000001",
    )
    .older_than("tenantID"),
    Key::new(
        "cloudName",
        Holds::Choice(&[
            "AzurePublicCloud",
            "AzureUSGovernmentCloud",
            "AzureChinaCloud",
            "AzureGermanCloud",
            "AzureStackCloud",
        ]),
        "The cloud: it decides where vaults and Entra ID are. AzureStackCloud is for nodes with --azure-authority, \
         --azure-vault-url and --azure-vault-audience.",
        "AzureUSGovernmentCloud",
    )
    .or("--azure-cloud of the node, which is AzurePublicCloud"),
    Key::new(
        "cloudEnvFileName",
        Holds::Text,
        "Upstream's file that describes a private cloud. It is refused: the settings of the node describe it.",
        "\"\"",
    ),
    Key::new(
        "keyvaultCACertPath",
        Holds::Authorities,
        "A file of certificate authorities (PEM) to trust instead of the system's, for the vaults and for Entra ID.",
        "azure/ca.crt",
    )
    .or("--azure-ca of the node"),
    Key::new(
        "clientID",
        Holds::Text,
        "The application whose federated credential takes the pod's token (workload identity). Without it the keys \
         clientid and clientsecret of nodePublishSecretRef log in.",
        "00000000-0000-0000-0000-000000000002",
    ),
    Key::new(
        "audience",
        Holds::Text,
        "The audience of the service account token to log in with. tokenRequests of the CSIDriver object has to list \
         it.",
        "api://AzureADTokenExchange",
    )
    .or("api://AzureADTokenExchange"),
    Key::new(
        "useVMManagedIdentity",
        GO_BOOLEAN,
        "Whether to read with the managed identity of the node itself. Only in namespaces that the administrator lists \
         in --allow-node-identity; on a host with --identity host.",
        "\"false\"",
    )
    .or("false"),
    Key::new(
        "userAssignedIdentityID",
        Holds::Text,
        "The client id of the managed identity, for useVMManagedIdentity.",
        "00000000-0000-0000-0000-000000000003",
    )
    .or("the identity that is assigned by the system"),
    Key::new(
        "usePodIdentity",
        GO_BOOLEAN,
        "AAD Pod Identity, which Microsoft has ended. \"true\" is refused.",
        "\"false\"",
    )
    .or("false"),
    Key::new(
        "useAzureTokenProxy",
        GO_BOOLEAN,
        "Identity bindings of AKS, by a proxy of the API server. This version has none, so \"true\" is refused.",
        "\"false\"",
    )
    .or("false"),
    Key::new(
        "certAndKeyInSeparateFiles",
        GO_BOOLEAN,
        "Whether each secret that backs a certificate makes two more files: its path with .crt and with .key behind it.",
        "\"true\"",
    )
    .or("--azure-separate-files of the node"),
    Key::new(
        ON_EXPIRED,
        Holds::Choice(&["keep", "remove"]),
        "What happens to files whose secret has passed its expiry date: with remove they are taken away as if it was \
         revoked.",
        "remove",
    )
    .or("keep"),
    Key::new(
        SHARE,
        Holds::Choice(&["service-account", "pod"]),
        "Who shares a login: the pods of one service account, or nobody.",
        "pod",
    )
    .or("service-account"),
    objects("array: ['{objectName: db-password, objectType: secret}']"),
];

const OBJECT: &[Key] = &[
    Key::new(
        "objectName",
        Holds::Text,
        "The name of the secret, key or certificate in the vault. A listing has none.",
        "db-password",
    ),
    Key::new(
        "objectType",
        Holds::Choice(&["secret", "key", "cert"]),
        "What it is. secret is the value, and of a certificate the private key with it. key is the public key as PEM. \
         cert is the certificate alone as PEM.",
        "secret",
    )
    .or("secret for a listing; else there has to be one"),
    Key::new("objectAlias", Holds::Text, "The path of the file in the volume.", "db/password").or("objectName"),
    Key::new("keyvaultName", Holds::Text, "The name of the vault that this object is in.", "billing-kv")
        .or("keyvaultName of the class"),
    Key::new("keyvaultURL", Holds::Text, "The URL of the vault that this object is in.", "https://kv.example.com")
        .or("what keyvaultName of the object makes, else the vault of the class"),
    Key::new("objectVersion", Holds::Text, "The version to read.", "4387e9f3d6e14c459867679a90fd0f79").or("the newest"),
    Key::new(
        "objectVersionHistory",
        Holds::Number,
        "How many older versions to show beside the newest. With 2 or more the path becomes a directory with the files \
         0 (the newest, or objectVersion), 1, and so on up to this number. 25 at most.",
        "2",
    )
    .or("0"),
    Key::new(
        "objectFormat",
        Holds::Choice(&["pem", "pfx"]),
        "How a secret that backs a PKCS#12 certificate is shown: as PEM (key, then the chain from leaf to root), or as \
         the store has it, which is base64 of the PFX.",
        "pfx",
    )
    .or("pem"),
    Key::new(
        "objectEncoding",
        Holds::Choice(&["utf-8", "base64", "hex"]),
        "The name of upstream's provider for encoding.",
        "base64",
    )
    .or("utf-8"),
    Key::new(
        "filePermission",
        Holds::Text,
        "The permission bits of the file in octal, with or without quotes.",
        "\"0400\"",
    )
    .or("0644 in a pod, 0440 in a pod with an fsGroup, 0400 on a host"),
    Key::new(
        "byTags",
        Holds::Text,
        "A listing instead of one object: every enabled secret of the vault that has all of these tags. A key alone stands \
         for any value. Each is a file, named as the secret is.",
        "team=shop,stage=prod",
    ),
    DIRECTORY,
    MAX_FILES,
];
