//! What a class may write for Google Cloud.

use std::time::Duration;

use manifest::declaration::{DIRECTORY, MAX_FILES};
use provider::{Declaration, Holds, Key};

use crate::parameters::SHARE;

/// What this provider is called, and every key that it reads.
pub static DECLARATION: Declaration = Declaration {
    names: &["gcp"],
    title: "Google Secret Manager and Parameter Manager",
    about: "Secrets and rendered parameters are read over HTTPS with a Google access token that the pod's own service \
            account token is exchanged for, so that Google's own IAM decides. Manifests of upstream's gcp provider \
            work as they are. Unknown keys are ignored, as upstream does; `secretfs check` warns about them.",
    default_refresh: Duration::from_secs(60),
    credentials: &["key.json"],
    annotations: &[ACCOUNT_ANNOTATION],
    parameters: PARAMETERS,
    object: OBJECT,
};

/// As GKE has it (<https://docs.cloud.google.com/kubernetes-engine/docs/how-to/workload-identity>).
pub(crate) const ACCOUNT_ANNOTATION: Key = Key::new(
    "iam.gke.io/gcp-service-account",
    Holds::Text,
    "The Google service account to read as, where the class has no serviceAccount. It is looked at only if the pod's \
     own token is exchanged.",
    "shop@shop-prod.iam.gserviceaccount.com",
)
.or("none: the pod's own identity is granted its rights directly");

const PARAMETERS: &[Key] = &[
    Key::new(
        "auth",
        Holds::Choice(&["pod-adc", "provider-adc"]),
        "Whose identity reads. pod-adc is the pod's service account; provider-adc is the machine's, only where the \
         administrator allows it. With either, a key from nodePublishSecretRef is an error.",
        "pod-adc",
    )
    .or("the key key.json from nodePublishSecretRef if there is one, else pod-adc"),
    Key::new(
        "workloadIdentityProvider",
        Holds::Text,
        "Who vouches for the pod's token at Google. A provider of workload identity federation, or the URL of a GKE \
         cluster.",
        "//iam.googleapis.com/projects/123456/locations/global/workloadIdentityPools/clusters/providers/shop",
    )
    .or("--gcp-workload-identity-provider of the node"),
    Key::new(
        "workloadIdentityPool",
        Holds::Text,
        "The identity namespace of a GKE cluster or of a fleet.",
        "shop-prod.svc.id.goog",
    )
    .or("--gcp-workload-identity-pool of the node, else PROJECT.svc.id.goog of the cluster's URL"),
    Key::new(
        "audience",
        Holds::Text,
        "The audience of the service account token that is exchanged. tokenRequests of the CSIDriver object has to \
         list it.",
        "shop-prod.svc.id.goog",
    )
    .or("the identity namespace, or the provider of the federation"),
    Key::new(
        "serviceAccount",
        Holds::Text,
        "The Google service account to read as. Whoever logs in needs the role Workload Identity User on it.",
        "shop@shop-prod.iam.gserviceaccount.com",
    )
    .or(
        "the annotation iam.gke.io/gcp-service-account of the service account, else none: the pod's own identity is \
         granted its rights directly",
    ),
    Key::new(
        "endpoint",
        Holds::Text,
        "The URL of Google's APIs, in which {service} stands for the name of each, such as secretmanager. With \
         http:// only where the administrator allows insecure stores.",
        "https://{service}.googleapis.com",
    )
    .or("--gcp-endpoint of the node"),
    Key::new(
        "caCertPath",
        Holds::Authorities,
        "A file of certificate authorities (PEM) to trust instead of the system's.",
        "google/ca.crt",
    )
    .or("--gcp-ca of the node"),
    Key::new(
        SHARE,
        Holds::Choice(&["service-account", "pod"]),
        "Who shares a login: the pods of one service account, or nobody.",
        "service-account",
    )
    .or("service-account, but pod with a federation, whose attributes may tell pods apart"),
    Key::new(
        "secrets",
        Holds::Objects,
        "What the volume shows: a list of objects, each of which makes a file.",
        "- {resourceName: projects/shop-prod/secrets/api/versions/latest, path: api/key}",
    )
    .required(),
];

const OBJECT: &[Key] = &[
    Key::new(
        "resourceName",
        Holds::Text,
        "The version of a secret, of a regional secret, or of a parameter, which is rendered. A secret's version is a \
         number, an alias or latest. Of a ciphertext, the key: projects/P/locations/L/keyRings/R/cryptoKeys/K. A \
         listing has none.",
        "projects/shop-prod/secrets/api/versions/latest",
    ),
    Key::new(
        "path",
        Holds::Text,
        "The path of the file in the volume. A listing has a directory instead.",
        "api/key",
    ),
    Key::new("fileName", Holds::Text, "The path of the file in the volume.", "api/key").older_than("path"),
    Key::new("mode", Holds::Mode, "The permission bits of the file. A number without quotes.", "0400")
        .or("0644 in a pod, 0440 in a pod with an fsGroup, 0400 on a host"),
    Key::new(
        "extractJSONKey",
        Holds::Text,
        "The key of a JSON object whose text the file holds. For anything but text there is jmesPath.",
        "password",
    )
    .or("the whole value"),
    Key::new(
        "extractYAMLKey",
        Holds::Text,
        "The same of a map in YAML. An object has one of both at most.",
        "password",
    )
    .or("the whole value"),
    Key::new(
        "ciphertext",
        Holds::Text,
        "What Cloud KMS decrypts with the rights of the pod, in base64. The file shows the plaintext. resourceName is then \
         the key.",
        "CiQAE2=",
    ),
    Key::new(
        "ciphertextFrom",
        Holds::Text,
        "The version of a secret that holds the ciphertext, instead of ciphertext: as bytes, or in base64.",
        "projects/shop-prod/secrets/api/versions/latest",
    ),
    Key::new(
        "additionalAuthenticatedData",
        Holds::Text,
        "The additional authenticated data that a ciphertext is bound to, as text.",
        "shop",
    ),
    Key::new(
        "parent",
        Holds::Text,
        "A listing instead of one object: the project that its secrets are in, or the project and the location of regional \
         ones.",
        "projects/shop-prod",
    ),
    Key::new(
        "byFilter",
        Holds::Text,
        "A listing instead of one object: every secret that this filter of Secret Manager finds. Each is a file, named as \
         the secret is, with the newest version.",
        "labels.team=shop",
    ),
    DIRECTORY,
    MAX_FILES,
];
