//! The keys that every class may have, whatever its provider: what stands where, what holds where it is absent, and
//! what it does. Providers declare theirs in the same form.

use provider::{Holds, Key};

use crate::compose::FORMATS;
use crate::read::API_VERSIONS;

const PERIOD: Holds =
    Holds::Form { pattern: "^[0-9]*[1-9][0-9]*(ms|s|m|h|d)$", words: "a duration such as \"30s\" or \"5m\"" };
const PERIOD_OR_NONE: Holds =
    Holds::Form { pattern: "^(0+|[0-9]+(ms|s|m|h|d))$", words: "a duration such as \"24h\" or \"0\"" };
const SHORT_PERIOD: Holds = Holds::Form {
    pattern: "^0*([1-5]m|([1-9][0-9]?|[12][0-9][0-9]|300)s|([1-9][0-9]{0,4}|[12][0-9]{5}|300000)ms)$",
    words: "a duration of at most five minutes such as \"30s\"",
};
const VERSIONS: Holds = Holds::Form { pattern: "^[+]?0*([0-9]|10)$", words: "a number from \"0\" to \"10\"" };
const LOGIN: Holds =
    Holds::Form { pattern: "^[a-z0-9-]+$", words: "a login method such as kubernetes, jwt or approle" };
const OBJECT_NAME: Holds =
    Holds::Form { pattern: "^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", words: "lower-case letters, digits, - and ." };
const NAMESPACE: Holds =
    Holds::Form { pattern: "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", words: "lower-case letters, digits and -" };
const PROVIDER: Holds =
    Holds::Form { pattern: "^[A-Za-z0-9_-]{1,30}$", words: "at most 30 letters, digits, - and _" };

const PART_MODE: Holds =
    Holds::Form { pattern: "^0[0-7]{3}$", words: "a file mode such as 0400, with or without quotes" };

/// The keys of a SecretProviderClass that mean something to a node, by their paths.
pub const CLASS: &[Key] = &[
    Key::new("apiVersion", Holds::Choice(&API_VERSIONS), "The version of the resource.", API_VERSIONS[0])
        .required(),
    Key::new(
        "kind",
        Holds::Choice(&["SecretProviderClass"]),
        "The kind of the resource.",
        "SecretProviderClass",
    )
    .required(),
    Key::new("metadata.name", OBJECT_NAME, "The name that pods mount the class by.", "shop").required(),
    Key::new(
        "metadata.namespace",
        NAMESPACE,
        "The namespace of the class. Pods find the classes of their own namespace only.",
        "shop",
    )
    .or("default"),
    Key::new(
        "spec.provider",
        PROVIDER,
        "The kind of store. A name that is not built in is an external provider, which listens on a socket of that \
         name on the node.",
        "vault",
    )
    .required(),
    Key::new(
        "spec.parameters",
        Holds::Map,
        "The provider's parameters and the settings that begin with secretfs.dev/. Every value is text.",
        "{roleName: shop}",
    )
    .required(),
    Key::new(
        "spec.secretObjects",
        Holds::List,
        "Kubernetes Secrets that are made of the mounted files. They exist while a pod mounts the class, where the \
         administrator has switched that on.",
        "[{secretName: shop-db, data: [{objectName: db/user, key: username}]}]",
    ),
];

/// The keys of one of `spec.secretObjects`.
pub const SECRET_OBJECT: &[Key] = &[
    Key::new("secretName", Holds::Text, "The name of the Secret.", "shop-db").required(),
    Key::new("type", Holds::Text, "The type of the Secret.", "kubernetes.io/tls").or("Opaque"),
    Key::new("labels", Holds::Map, "Labels of the Secret.", "{app: shop}"),
    Key::new("annotations", Holds::Map, "Annotations of the Secret.", "{team: shop}"),
    Key::new("data", Holds::List, "The keys of the Secret.", "[{objectName: db/user, key: username}]")
        .required(),
];

/// The keys of one of `data` of `spec.secretObjects`.
pub const SECRET_DATA: &[Key] = &[
    Key::new("objectName", Holds::Text, "The path of the file in the volume.", "db/user").required(),
    Key::new("key", Holds::Text, "The key of the Secret that holds what is in the file.", "username")
        .required(),
];

/// The settings of a class: parameters that begin with `secretfs.dev/`.
pub const SETTINGS: &[Key] = &[
    Key::new("secretfs.dev/mode", Holds::Choice(&["tmpfs", "fuse"]), "How files are shown.", "fuse").or("tmpfs"),
    Key::new("secretfs.dev/refresh", PERIOD, "How old a value may grow before it is read again.", "5m")
        .or("--rotation-poll-interval of the node, or what suits the store"),
    Key::new(
        "secretfs.dev/max-stale",
        PERIOD_OR_NONE,
        "How long files may show what the store has not confirmed. Then on-stale decides. 0 means forever.",
        "24h",
    )
    .or("24h"),
    Key::new(
        "secretfs.dev/on-stale",
        Holds::Choice(&["keep", "remove"]),
        "What happens to files that the store has not confirmed for max-stale.",
        "remove",
    )
    .or("keep"),
    Key::new(
        "secretfs.dev/on-denied",
        Holds::Choice(&["keep", "remove"]),
        "What happens to files that the store refuses now.",
        "remove",
    )
    .or("keep"),
    Key::new(
        "secretfs.dev/on-revoked",
        Holds::Choice(&["remove", "keep"]),
        "What happens to files whose secret the store revoked: it was deleted or destroyed.",
        "keep",
    )
    .or("remove"),
    Key::new(
        "secretfs.dev/on-rotate",
        Holds::Choice(&["none", "restart-workload"]),
        "What happens after a pod has got new versions. With restart-workload its Deployment, StatefulSet or DaemonSet is \
         rolled out, once for each version, in namespaces where the administrator granted that. Only in a cluster.",
        "restart-workload",
    )
    .or("none"),
    Key::new(
        "secretfs.dev/on-expired",
        Holds::Choice(&["keep", "remove"]),
        "What happens to files whose secret has passed the expiry date that it has in the store. With remove they go as if \
         the secret was revoked. Only for stores whose secrets have such a date.",
        "remove",
    )
    .or("keep"),
    Key::new(
        "secretfs.dev/start",
        Holds::Choice(&["fresh", "cached"]),
        "What a pod may start on. With fresh the store has to answer; with cached a pod may start on what the node \
         shows to the same identity already, while the store is away.",
        "cached",
    )
    .or("fresh"),
    Key::new(
        "secretfs.dev/share",
        Holds::Choice(&["service-account", "pod"]),
        "Who shares a login: the pods of one service account, or nobody. Only for providers with logins.",
        "pod",
    )
    .or("what the answer to the login tells"),
    Key::new(
        "secretfs.dev/probe",
        Holds::Choice(&["batch", "describe"]),
        "How values are read again. batch: many in one call. describe: one call for each secret, and its value only after \
         its version has changed. Only for providers that can do both.",
        "describe",
    )
    .or("batch"),
    Key::new(
        "secretfs.dev/fetch",
        Holds::Choice(&["eager", "on-open"]),
        "When values are read. eager: before the pod starts, and again while it runs. on-open: when a process opens a file, \
         and never before. Only with mode fuse, and not with secretObjects.",
        "on-open",
    )
    .or("eager"),
    Key::new(
        "secretfs.dev/hold",
        SHORT_PERIOD,
        "How long a value that was read for who opened a file stays in memory, at most 5m. Who opens the file within that \
         time costs no call. Only with fetch on-open.",
        "10s",
    )
    .or("30 seconds"),
    Key::new(
        "secretfs.dev/keep-previous",
        VERSIONS,
        "How many older versions stay beside each file. They are called name.previous, name.previous.2 and so on.",
        "\"1\"",
    )
    .or("0"),
    Key::new(
        "secretfs.dev/auth",
        LOGIN,
        "The login method, for providers that have several. The provider's page lists them.",
        "jwt",
    )
    .or("the provider's first"),
    Key::new(
        "secretfs.dev/files",
        Holds::Objects,
        "Files that are composed of several objects.",
        "- {path: app.env, format: dotenv, from: {DB_USER: db/user, DB_PASS: db/pass}}",
    ),
    Key::new(
        "secretfs.dev/access",
        Holds::Objects,
        "Which containers may open which files. With rules, what no rule allows is denied to everybody. Only with mode \
         fuse, and only in pods.",
        "- {containers: [web], paths: [\"db/**\"]}",
    ),
    Key::new(
        "secretfs.dev/access-unsafe",
        Holds::Choice(&["refuse", "allow"]),
        "What happens to pods whose containers can reach each other's processes, so that access keeps nobody out who means \
         to get in: pods that share a process namespace or use the node's, and those with a privileged container.",
        "allow",
    )
    .or("refuse"),
    Key::new(
        "secretfs.dev/overridable",
        Holds::Text,
        "The keys that a pod's author may set in volumeAttributes. They are separated by commas or white space.",
        "roleName, secretfs.dev/refresh",
    )
    .or("none"),
    Key::new(
        "secretfs.dev/timeout",
        PERIOD,
        "How long the start of a pod may wait for the store.",
        "30s",
    )
    .or("30s"),
];

/// The keys of one file of `secretfs.dev/files`.
pub const COMPOSED_FILE: &[Key] = &[
    Key::new("path", Holds::Text, "Where the file appears in the volume.", "app.env").required(),
    Key::new(
        "format",
        Holds::Choice(&FORMATS),
        "How the file is written. dotenv has lines of KEY='value', json and yaml have one map whose values are text, \
         properties is what Java reads, pem has one object after the other, and template is a text of your own.",
        "dotenv",
    )
    .required(),
    Key::new(
        "from",
        Holds::Map,
        "What the file is made of: each key of the file with the objectName of its value. With format pem it may be a \
         list of objectNames.",
        "{DB_USER: db/user}",
    )
    .required(),
    Key::new(
        "template",
        Holds::Text,
        "The text of a file with format template. {{ KEY }} stands for the value of a key, {{ KEY | json }} for the \
         value in the form that JSON needs; the other filters are yaml, properties, shell, xml, url, base64 and trim. \
         {% if KEY %}…{% else %}…{% endif %} asks whether a value is there.",
        "\"user={{ DB_USER }}\"",
    ),
    Key::new(
        "mode",
        Holds::Form { pattern: "^0?[0-7]{1,3}$", words: "a file mode such as \"0440\"" },
        "The permission bits of the file.",
        "\"0440\"",
    )
    .or("as for other files of the volume"),
];

/// The keys of one rule of `secretfs.dev/access`.
pub const ACCESS_RULE: &[Key] = &[
    Key::new(
        "containers",
        Holds::List,
        "Names of containers: ordinary, init, sidecar and ephemeral ones.",
        "[web]",
    )
    .required(),
    Key::new(
        "paths",
        Holds::List,
        "Paths of files in the volume. * stands for any part of a name, and ** for any number of directories. An older \
         version beside a file is a file of its own.",
        "[\"db/**\"]",
    )
    .required(),
];

/// The keys that the objects of every provider may have, beside the provider's own;
/// see [`ObjectExtras`](crate::objects::ObjectExtras).
pub const OBJECT: &[Key] = &[
    Key::new("optional", Holds::Boolean, "Whether the secret may be missing in the store.", "true")
        .or("false"),
    Key::new(
        "default",
        Holds::TextOnly,
        "What the file holds while the store has no such secret.",
        "welcome",
    ),
    Key::new(
        "encoding",
        Holds::Choice(&["none", "utf-8", "base64", "hex"]),
        "How the value is written in the store. The file holds what it stands for. jmesPath is applied after that.",
        "base64",
    )
    .or("none"),
    Key::new(
        "jmesPath",
        Holds::TextOrList,
        "A JMESPath expression that takes a part of a secret that is JSON. Or a list of such parts: each makes a file \
         of its own, beside the file of the whole secret.",
        "password",
    ),
    Key::new(
        "file",
        Holds::Boolean,
        "Whether the object is a file of its own. With false it is part of composed files only.",
        "false",
    )
    .or("true"),
];

/// For objects that are listings: the directory of what they find.
pub const DIRECTORY: Key = Key::new(
    "directory",
    Holds::Text,
    "For a listing: the directory in the volume that the files are below. Composed files name a file by its path in the \
     volume.",
    "shop",
);

/// For objects that are listings: how much they may find.
pub const MAX_FILES: Key = Key::new(
    "maxFiles",
    Holds::Number,
    "For a listing: how many files it may have. If the store has more, that is an error and not a part of them.",
    "500",
)
.or("100; at most 1000");

/// The keys of one part, where `jmesPath` is a list; see [`JsonPart`](crate::JsonPart).
pub const PART: &[Key] = &[
    Key::new("path", Holds::Text, "The JMESPath expression that finds the part.", "user").required(),
    Key::new("objectAlias", Holds::Text, "The path of the part's file in the volume.", "db/user").required(),
    Key::new("filePermission", PART_MODE, "The permission bits of the part's file.", "\"0400\"")
        .or("as the object has them"),
];

/// The parameter `objects`, which most providers have, with an example of theirs.
pub const fn objects(example: &'static str) -> Key {
    Key::new(
        crate::objects::PARAMETER,
        Holds::Objects,
        "What the volume shows: a list of objects, each of which makes a file.",
        example,
    )
    .required()
}

/// The key `filePermission` of an object, of providers that have it.
pub const FILE_PERMISSION: Key = Key::new(
    "filePermission",
    Holds::Mode,
    "The permission bits of the file. A number without quotes.",
    "0400",
)
.or("0644 in a pod, 0440 in a pod with an fsGroup, 0400 on a host");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::PREFIX;
    use crate::yaml;
    use crate::{JmesPath, Settings};

    fn set(key: &str, text: &str) -> Result<Settings, String> {
        let mut settings = Settings::default();
        match settings.set(key, text) {
            Ok(()) => Ok(settings),
            Err(faults) => Err(faults.iter().map(ToString::to_string).collect()),
        }
    }

    #[test]
    fn every_setting_takes_its_example() {
        for key in SETTINGS {
            assert!(key.name.starts_with(PREFIX), "{}", key.name);
            set(key.name, key.example.trim_matches('"')).unwrap();
        }
    }

    #[test]
    fn a_choice_takes_each_of_its_words_and_a_refusal_lists_them_all() {
        for key in SETTINGS {
            let Holds::Choice(choices) = key.holds else { continue };
            for choice in choices {
                set(key.name, choice).unwrap();
            }
            let refusal = set(key.name, "neither").unwrap_err();
            let remedy = refusal.split_once("; write ").unwrap().1;
            assert!(remedy.starts_with(&choices.join(" or ")), "{refusal}");
        }
    }

    #[test]
    fn a_setting_that_is_absent_holds_what_is_declared() {
        for key in SETTINGS {
            let Some(default) = key.default.filter(|default| set(key.name, default).is_ok()) else {
                continue;
            };
            let said = set(key.name, default).unwrap();
            let unsaid = Settings::default();
            // Where the provider or the login decides there is nothing to compare with.
            let same = said == unsaid || said.on_revoked.is_some() || !said.overridable.is_empty();
            assert!(same, "{}: {said:?}", key.name);
        }
    }

    #[test]
    fn every_key_of_a_composed_file_takes_its_example_and_no_other_key_is_taken() {
        let written = |key: &Key| match key.name {
            "format" => "format: template".to_owned(),
            name => format!("{name}: {}", key.example),
        };
        let all: Vec<_> = COMPOSED_FILE.iter().map(written).collect();

        let set_files = |more: &str| set("secretfs.dev/files", &format!("- {{{}{more}}}", all.join(", ")));

        set_files("").unwrap();
        let refusal = set_files(", owner: root").unwrap_err();
        assert!(refusal.contains("unknown key"), "{refusal}");
    }

    #[test]
    fn a_part_of_an_object_takes_the_example_of_each_of_its_keys() {
        let all: Vec<_> = PART.iter().map(|key| format!("{}: {}", key.name, key.example)).collect();

        let read: JmesPath = yaml::read("jmesPath", &format!("[{{{}}}]", all.join(", "))).unwrap();

        let JmesPath::Parts(parts) = read else { panic!("{read:?}") };
        assert_eq!((parts[0].path.as_str(), parts[0].object_alias.as_str()), ("user", "db/user"));
        assert!(parts[0].file_permission.is_some());
    }

    #[test]
    fn a_part_lacks_no_key_that_is_required() {
        for missing in PART.iter().filter(|key| key.is_required) {
            let rest = PART.iter().filter(|key| key.name != missing.name);
            let rest: Vec<_> = rest.map(|key| format!("{}: {}", key.name, key.example)).collect();

            let read = yaml::read::<JmesPath>("jmesPath", &format!("[{{{}}}]", rest.join(", ")));

            assert!(read.unwrap_err().reason.contains(missing.name), "{}", missing.name);
        }
    }
}
