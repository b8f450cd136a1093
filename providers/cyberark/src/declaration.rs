//! What a class may write for the Central Credential Provider.

use std::time::Duration;

use manifest::declaration::objects;
use provider::{Declaration, Holds, Key};

/// What this provider is called, and every key that it reads.
pub static DECLARATION: Declaration = Declaration {
    names: &["cyberark"],
    title: "CyberArk Central Credential Provider",
    about: "Accounts of CyberArk's vault are read over HTTPS from the Central Credential Provider (AIMWebService), as an \
            application that shows a client certificate. So the vault's own rights of that application decide. The \
            certificate comes from nodePublishSecretRef, or from the directory of the class's namespace. Unknown keys \
            are errors.",
    default_refresh: Duration::from_secs(300),
    credentials: &["tls.crt", "tls.key"],
    annotations: &[],
    parameters: PARAMETERS,
    object: OBJECT,
};

const PARAMETERS: &[Key] = &[
    Key::new(
        "url",
        Holds::Text,
        "The URL of the server, without the path of its service. Always https://.",
        "https://ccp.example.com",
    )
    .or("--cyberark-url of the node"),
    Key::new(
        "webService",
        Holds::Text,
        "The name of the web service there, for a server with several.",
        "AIMWebServiceCert",
    )
    .or("AIMWebService"),
    Key::new("appId", Holds::Text, "The application.", "shop").required(),
    Key::new("safe", Holds::Text, "The safe of objects that name none.", "Shop"),
    Key::new(
        "clientCertPath",
        Holds::ClientFile,
        "The client certificate (PEM) of the application.",
        "tls.crt",
    )
    .or("tls.crt of nodePublishSecretRef"),
    Key::new("clientKeyPath", Holds::ClientFile, "The key (PEM) of that certificate.", "tls.key")
        .or("tls.key of nodePublishSecretRef"),
    Key::new(
        "caCertPath",
        Holds::Authorities,
        "A file of certificate authorities (PEM) to trust instead of the system's.",
        "cyberark/ca.crt",
    )
    .or("--cyberark-ca of the node"),
    objects("- {objectName: db/password, safe: Shop, object: postgres-shop}"),
];

const OBJECT: &[Key] = &[
    Key::new("objectName", Holds::Text, "The path of the file in the volume.", "db/password").required(),
    Key::new("safe", Holds::Text, "The safe that the account is in.", "Shop").or("safe of the class"),
    Key::new("folder", Holds::Text, "The folder in the safe.", "Root").or("Root, by the server"),
    Key::new("object", Holds::Text, "The name of the account.", "postgres-shop"),
    Key::new("userName", Holds::Text, "The user name of the account.", "shop"),
    Key::new("address", Holds::Text, "The address of the account.", "db.example.com"),
    Key::new("database", Holds::Text, "The database of the account.", "shop"),
    Key::new("policyId", Holds::Text, "The platform of the account.", "PostgreSQL"),
    Key::new(
        "query",
        Holds::Text,
        "A query of CyberArk's in the place of the keys above.",
        "\"Safe=Shop;Object=postgres-shop\"",
    ),
    Key::new(
        "property",
        Holds::Text,
        "What of the account the file shows: Content is the password, others are such as UserName and Address.",
        "UserName",
    )
    .or("Content"),
    Key::new(
        "filePermission",
        Holds::Mode,
        "The permission bits of the file. A number without quotes.",
        "0400",
    )
    .or("0644 in a pod, 0440 in a pod with an fsGroup, 0400 on a host"),
];
