//! What a class may write for Confidant.

use std::time::Duration;

use manifest::declaration::objects;
use provider::{Declaration, Holds, Key};

use crate::parameters::SHARE;

/// What this provider is called, and every key that it reads.
pub static DECLARATION: Declaration = Declaration {
    names: &["confidant"],
    title: "Confidant",
    about: "Credentials of a service are read over HTTPS with a token of kmsauth, which AWS KMS makes for the pod's own \
            IAM role. So the policies of KMS decide which service a pod is, and Confidant which credentials that has. \
            The role is assumed with the pod's token, or an access key from nodePublishSecretRef is used. Unknown keys \
            are errors.",
    default_refresh: Duration::from_secs(60),
    credentials: &["access-key-id", "secret-access-key", "session-token"],
    annotations: &[],
    parameters: PARAMETERS,
    object: OBJECT,
};

const PARAMETERS: &[Key] = &[
    Key::new(
        "url",
        Holds::Text,
        "The URL of the server. With http:// only where the administrator allows insecure stores.",
        "https://confidant.example.com",
    )
    .or("--confidant-url of the node"),
    Key::new("service", Holds::Text, "The service whose credentials are shown.", "shop-production")
        .required(),
    Key::new(
        "authKey",
        Holds::Text,
        "The KMS key that makes tokens: its id, ARN or alias. Confidant calls it AUTH_KEY.",
        "alias/authnz-production",
    )
    .required(),
    Key::new(
        "authContext",
        Holds::Text,
        "The name by which tokens are for this Confidant. Confidant calls it AUTH_CONTEXT.",
        "confidant-production",
    )
    .required(),
    Key::new("region", Holds::Text, "The region of AWS that the key is in.", "us-east-1").required(),
    Key::new(
        "roleArn",
        Holds::Text,
        "The IAM role to assume with the pod's token. It needs kms:Encrypt on the key for this service.",
        "arn:aws:iam::111122223333:role/shop",
    )
    .or("the access key of nodePublishSecretRef"),
    Key::new(
        "caCertPath",
        Holds::Authorities,
        "A file of certificate authorities (PEM) to trust instead of the system's, for Confidant.",
        "confidant/ca.crt",
    )
    .or("--confidant-ca of the node"),
    Key::new(
        SHARE,
        Holds::Choice(&["service-account", "pod"]),
        "Who shares a login: the pods of one service account, or nobody.",
        "pod",
    )
    .or("service-account"),
    objects("- {objectName: db/password, credential: shop db, key: password}"),
];

const OBJECT: &[Key] = &[
    Key::new("objectName", Holds::Text, "The path of the file in the volume.", "db/password").required(),
    Key::new("credential", Holds::Text, "The credential, by its name or its id.", "shop db")
        .or("the one of the service that has the key"),
    Key::new("key", Holds::Text, "The key of a pair in the credential.", "password").or("objectName"),
    Key::new(
        "filePermission",
        Holds::Mode,
        "The permission bits of the file. A number without quotes.",
        "0400",
    )
    .or("0644 in a pod, 0440 in a pod with an fsGroup, 0400 on a host"),
];
