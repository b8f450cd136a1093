//! What a class may write for AWS.

use std::time::Duration;

use manifest::GO_BOOLEAN;
use manifest::declaration::{DIRECTORY, MAX_FILES, objects};
use provider::{Declaration, Holds, Key};

use crate::parameters::{AUTH, PROBE, SHARE};

const ROLE: Holds =
    Holds::Form { pattern: "^arn:aws[a-z-]*:iam::[0-9]{12}:role/.+$", words: "the ARN of a role" };
const REGION: Holds =
    Holds::Form { pattern: "^[a-z][a-z0-9-]*[a-z0-9]$", words: "a region such as eu-west-1" };
const QUOTED_MODE: Holds = Holds::Form {
    pattern: "^0[0-7]{3}$",
    words: "a file mode of four octal digits in quotes, such as \"0400\"",
};

/// What this provider is called, and every key that it reads.
pub static DECLARATION: Declaration = Declaration {
    names: &["aws"],
    title: "AWS Secrets Manager and Parameter Store",
    about: "Secrets are read over HTTPS as the IAM role of the pod, so that IAM decides. Manifests of upstream's aws \
            provider work as they are. As there, the text of objects is YAML 1.1 (a bare 0123 is the name \"83\"), the \
            case of its keys does not count, and unknown keys are ignored; `secretfs check` warns about them.",
    default_refresh: Duration::from_secs(300),
    credentials: &["access-key-id", "secret-access-key", "session-token"],
    annotations: &[ROLE_ANNOTATION],
    parameters: PARAMETERS,
    object: OBJECT,
};

/// What EKS's own webhook reads as well
/// (<https://docs.aws.amazon.com/eks/latest/userguide/associate-service-account-role.html>).
pub(crate) const ROLE_ANNOTATION: Key = Key::new(
    "eks.amazonaws.com/role-arn",
    ROLE,
    "The IAM role of the service account, where the class has no roleArn. It is looked at only if pods log in by irsa.",
    "arn:aws:iam::111122223333:role/shop",
)
.or("--aws-role-arn of the node");

const PARAMETERS: &[Key] = &[
    Key::new("region", REGION, "The region to read in.", "eu-west-1").or("--aws-region of the node"),
    Key::new(
        "failoverRegion",
        REGION,
        "The region to read in while the first one is out or sheds load. That the first one has no such secret, or \
         refuses it, is an answer: the other region is not asked then.",
        "eu-central-1",
    )
    .or("none"),
    Key::new(
        "pathTranslation",
        Holds::Text,
        "The character that stands for a slash in file names. With \"False\" slashes make directories.",
        "\"-\"",
    )
    .or("_"),
    Key::new("usePodIdentity", GO_BOOLEAN, "Whether EKS Pod Identity gives the credentials.", "\"false\"").or("false"),
    Key::new(
        "preferredAddressType",
        Holds::Text,
        "By which address the agent of Pod Identity is asked: ipv4 or ipv6.",
        "ipv6",
    )
    .or("IPv4, then IPv6"),
    Key::new(
        "roleArn",
        ROLE,
        "The IAM role of the pod's service account. The role has to trust the cluster's OIDC issuer.",
        "arn:aws:iam::111122223333:role/shop",
    )
    .or("the annotation eks.amazonaws.com/role-arn of the service account, else --aws-role-arn of the node"),
    Key::new(
        "assumeRoleArn",
        ROLE,
        "A second role that the first one takes on to read, in another account for example.",
        "arn:aws:iam::444455556666:role/shop-secrets",
    )
    .or("none"),
    Key::new("externalId", Holds::Text, "The external id that the second role asks for.", "shop-4711"),
    Key::new("sessionTags", Holds::Text, "Tags of the session of the second role.", "team=shop,stage=prod"),
    Key::new(
        "endpoint",
        Holds::Text,
        "The URL of the services instead of AWS's own. {service} and {region} in it stand for theirs. With http:// only \
         where the administrator allows insecure stores.",
        "https://vpce-0a1b2c.{service}.{region}.vpce.amazonaws.com",
    )
    .or("--aws-endpoint of the node, else AWS's own"),
    Key::new(
        "caCertPath",
        Holds::Authorities,
        "A file of certificate authorities (PEM) to trust instead of the system's.",
        "aws/ca.crt",
    ),
    Key::new("useFIPSEndpoint", GO_BOOLEAN, "Whether to call the endpoints that are validated by FIPS 140.", "\"true\"")
        .or("--aws-use-fips-endpoint of the node"),
    Key::new(
        AUTH,
        Holds::Choice(&["irsa", "pod-identity", "keys", "node"]),
        "Where the credentials come from. irsa: STS, for the pod's token. pod-identity: the agent of EKS Pod Identity. \
         keys: an access key that came with the volume. node: the instance role of the machine, where the \
         administrator allows it.",
        "keys",
    )
    .or("keys where an access key came with the volume, else irsa"),
    Key::new(
        SHARE,
        Holds::Choice(&["service-account", "pod"]),
        "Who shares a login: the pods of one service account, or nobody.",
        "pod",
    )
    .or("pod with Pod Identity, which can tell pods apart, else service-account"),
    Key::new(
        PROBE,
        Holds::Choice(&["batch", "describe"]),
        "How secrets of Secrets Manager are read again. batch: up to 20 values in one call. describe: one call for each \
         secret, and its value only after its version has changed.",
        "describe",
    )
    .or("batch"),
    objects("- {objectName: shop/db, objectType: secretsmanager, objectAlias: db.json}"),
];

const OBJECT: &[Key] = &[
    Key::new(
        "objectName",
        Holds::Text,
        "The name or the ARN of a secret or a parameter. Also the file's name where there is no objectAlias. A listing has \
         none.",
        "shop/db",
    ),
    Key::new(
        "objectType",
        Holds::Choice(&["secretsmanager", "ssmparameter", "kms"]),
        "Which service has it. Only an ARN tells that by itself.",
        "secretsmanager",
    ),
    Key::new("objectAlias", Holds::Text, "The name of the file.", "db.json").or("objectName"),
    Key::new(
        "objectVersion",
        Holds::Text,
        "The version to read: a VersionId of a secret, the number of a parameter's version.",
        "\"3\"",
    )
    .or("the current one"),
    Key::new(
        "objectVersionLabel",
        Holds::Text,
        "The version to read, by its stage (Secrets Manager) or its label (Parameter Store).",
        "AWSPREVIOUS",
    )
    .or("AWSCURRENT"),
    Key::new("filePermission", QUOTED_MODE, "The permission bits of the file. Text in quotes.", "\"0400\"")
        .or("0644 in a pod, 0440 in a pod with an fsGroup, 0400 on a host"),
    Key::new(
        "failoverObject",
        Holds::Map,
        "What it is called in the failover region: objectName, objectVersion, objectVersionLabel. It needs an \
         objectAlias.",
        "{objectName: shop/db-replica, objectVersion: \"3\"}",
    )
    .or("the same name; an ARN has none there"),
    Key::new(
        "byPath",
        Holds::Text,
        "A listing instead of one object: every parameter below this path, at any depth. Each is a file, named by what is \
         below the path.",
        "/shop/prod",
    ),
    Key::new(
        "byTags",
        Holds::Text,
        "A listing instead of one object: every secret that has all of these tags. A key alone stands for any value. Each is \
         a file, named as the secret is.",
        "team=shop,stage=prod",
    ),
    Key::new(
        "byPrefix",
        Holds::Text,
        "A listing instead of one object: every secret whose name begins so. Each is a file, named by what is below the last \
         slash of this. Together with byTags both count.",
        "shop/prod/",
    ),
    Key::new(
        "ciphertext",
        Holds::Text,
        "What KMS decrypts with the rights of the pod, in base64. The file shows the plaintext. Only with objectType kms; \
         objectName is then the file's name alone.",
        "AQICAHh2=",
    ),
    Key::new(
        "ciphertextFrom",
        Holds::Choice(&["secretsmanager", "ssmparameter"]),
        "The service that holds the ciphertext as objectName, instead of ciphertext: as bytes, or in base64. Only with \
         objectType kms.",
        "secretsmanager",
    ),
    Key::new(
        "kmsKey",
        Holds::Text,
        "The key of a ciphertext: its ARN, its id or an alias. A ciphertext of another key is refused.",
        "alias/shop",
    )
    .or("whichever key it is of"),
    Key::new(
        "encryptionContext",
        Holds::Map,
        "The encryption context that a ciphertext is bound to.",
        "{app: shop}",
    ),
    DIRECTORY,
    MAX_FILES,
];
