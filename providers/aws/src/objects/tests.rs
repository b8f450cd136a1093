use super::*;
use crate::region::Region;

fn regions(failover: Option<&str>) -> Regions {
    let region = |raw| Region::new(raw).unwrap();
    Regions { first: region("eu-west-1"), failover: failover.map(region) }
}

fn read_in(failover: Option<&str>, text: &str) -> Result<Vec<ObjectRef>, Vec<String>> {
    let around = Around { regions: &regions(failover), translation: Translation::To('_'), probe: false };
    read(text, &around).map(|(objects, _)| objects).map_err(|faults| texts(&faults))
}

fn texts(faults: &[Invalid]) -> Vec<String> {
    faults.iter().map(ToString::to_string).collect()
}

fn read_text(text: &str) -> Result<Vec<ObjectRef>, Vec<String>> {
    read_in(None, text)
}

fn refusal(text: &str) -> String {
    read_text(text).unwrap_err().remove(0)
}

fn call(object: &ObjectRef) -> Call {
    Call::of_request(&object.request).unwrap()
}

fn paths(objects: &[ObjectRef]) -> Vec<&str> {
    objects.iter().map(|object| object.path.as_str()).collect()
}

/// The manifest of upstream's that shows every kind of object.
const EXAMPLE: &str = r#"
- objectName: arn:aws:secretsmanager:eu-west-1:111122223333:secret:shop/rds-a1b2c3
  objectAlias: rds.json
  filePermission: "0400"
  failoverObject: {objectName: "arn:aws:secretsmanager:eu-central-1:111122223333:secret:shop/rds-d4e5f6"}
  jmesPath:
  - {path: username, objectAlias: dbuser}
  - {path: credentials.password, objectAlias: dbpass, filePermission: "0440"}
- {objectName: shop/token, objectType: secretsmanager, objectVersionLabel: AWSPREVIOUS, objectAlias: token-prev}
- {objectName: /shop/prod/flag, objectType: ssmparameter}
- {objectName: /shop/prod/pin, objectType: ssmparameter, objectVersion: "3", objectAlias: pin}
"#;

#[test]
fn the_example_manifest_makes_exactly_its_files() {
    let objects = read_in(Some("eu-central-1"), EXAMPLE).unwrap();

    let files: Vec<_> = objects
        .iter()
        .map(|object| (object.path.as_str(), object.mode.map(FileMode::bits), object.jmes_path.as_deref()))
        .collect();
    assert_eq!(
        files,
        [
            ("rds.json", Some(0o400), None),
            ("dbuser", Some(0o400), Some("username")),
            ("dbpass", Some(0o440), Some("credentials.password")),
            ("token-prev", None, None),
            ("_shop_prod_flag", None, None),
            ("pin", None, None),
        ]
    );
    assert_eq!(call(&objects[0]), call(&objects[2]), "one secret is read once");
    assert!(call(&objects[0]).failover.unwrap().id.ends_with("d4e5f6"));
    assert_eq!(call(&objects[3]).first.label.as_deref(), Some("AWSPREVIOUS"));
    assert_eq!(call(&objects[4]).failover.unwrap().id, "/shop/prod/flag");
    assert_eq!(call(&objects[5]).first.selector(), "/shop/prod/pin:3");
}

#[test]
fn a_ciphertext_stands_in_the_class_or_in_another_object_and_nowhere_else() {
    let of_kms =
        |more: &str| read_in(Some("eu-central-1"), &format!("- {{objectName: a, objectType: kms, {more}}}"));
    let written = of_kms("ciphertext: \"AQ ID\", kmsKey: alias/shop").unwrap();
    let (of_class, none) = (call(&written[0]), None::<Wanted>);
    assert_eq!((of_class.first.id.as_str(), of_class.failover), ("alias/shop", none));
    let held = call(&of_kms("ciphertextFrom: ssmparameter, objectVersion: \"3\"").unwrap()[0]);
    let wanted = Wanted { id: "a".to_owned(), version: Some("3".to_owned()), label: None };
    assert_eq!(held.opened.unwrap().ciphertext, Blob::In(Service::Ssm, wanted));

    for (more, key) in [
        ("ciphertext: \"*\"", "ciphertext"),
        ("optional: true", "ciphertext"),
        ("ciphertext: AQID, ciphertextFrom: ssmparameter", "ciphertext"),
        ("ciphertextFrom: kms", "ciphertextFrom"),
        ("ciphertext: AQID, objectVersion: \"3\"", "objectVersion"),
        ("ciphertext: AQID, kmsKey: \"a b\"", "kmsKey"),
        ("ciphertext: AQID, failoverObject: {objectName: b}", "failoverObject"),
    ] {
        let told = of_kms(more).unwrap_err().remove(0);
        assert!(told.contains(&format!("objects[0].{key}")), "{more}: {told}");
    }
    for key in ["ciphertext: AQID", "ciphertextFrom: ssmparameter", "kmsKey: a", "encryptionContext: {}"] {
        let told = refusal(&format!("- {{objectName: a, objectType: ssmparameter, {key}}}"));
        assert!(told.contains("objects[0].objectType"), "{key}: {told}");
    }
}

#[test]
fn trap_yaml_dialect_and_key_case() {
    let read = read_text(
        "- {ObjectName: a, OBJECTTYPE: secretsmanager, objectalias: b, JmesPath: [{Path: x, ObjectAlias: c}]}",
    );

    assert_eq!(paths(&read.unwrap()), ["b", "c"]);
}

#[test]
fn trap_unknown_keys_are_ignored_and_told_with_what_was_meant() {
    let text = "- {objectName: a, objectType: secretsmanager, objectAlais: b}";

    assert_eq!(paths(&read_text(text).unwrap()), ["a"]);
    let told: Vec<_> = unknown(text).iter().map(ToString::to_string).collect();
    assert!(told.len() == 1 && told[0].contains("did you mean objectAlias?"), "{told:?}");
    assert_eq!(unknown("- {OBJECTNAME: a, objecttype: secretsmanager}"), []);
}

#[test]
fn trap_file_mode_is_quoted_and_unquoted_is_an_error_with_a_remedy() {
    let mode = |written: &str| {
        let read =
            read_text(&format!("- {{objectName: a, objectType: secretsmanager, filePermission: {written}}}"));
        read.map(|objects| objects[0].mode.map(FileMode::bits)).map_err(|mut told| told.remove(0))
    };
    assert_eq!(mode("\"0400\"").unwrap(), Some(0o400));
    assert_eq!(mode("'0777'").unwrap(), Some(0o777));
    assert_eq!(mode("").unwrap(), None);
    for written in ["0644", "420", "0o644", "\"644\"", "\"1777\"", "\"0888\"", "rw", "\"00644\""] {
        let told = mode(written).unwrap_err();
        assert!(
            told.contains("objects[0].filePermission (line 1)") && told.contains("in quotes"),
            "{written}: {told}"
        );
    }
    let part = "- {objectName: a, objectType: secretsmanager, jmesPath: [{path: x, objectAlias: b, filePermission: 0644}]}";
    assert!(refusal(part).contains("a file mode between 0000 and 0777"), "{}", refusal(part));
}

#[test]
fn trap_default_mode_is_the_volumes_own() {
    let objects = read_text("- {objectName: a, objectType: secretsmanager}").unwrap();

    assert_eq!(objects[0].mode, None);
}

#[test]
fn trap_scalars_as_names_are_what_yaml_1_1_makes_of_them() {
    for (written, name) in
        [("y", "true"), ("on", "true"), ("No", "false"), ("0123", "83"), ("\"0123\"", "0123"), ("'y'", "y")]
    {
        let objects = read_text(&format!("- {{objectName: {written}, objectType: ssmparameter}}")).unwrap();
        assert_eq!(
            (call(&objects[0]).first.id.as_str(), objects[0].path.as_str()),
            (name, name),
            "{written}"
        );
    }
}

#[test]
fn trap_slashes_in_file_names_are_translated() {
    let text = "- {objectName: /shop/db, objectType: ssmparameter, jmesPath: [{path: u, objectAlias: a/b}]}\n\
                - {objectName: x, objectType: ssmparameter, objectAlias: c/d}";
    let in_way = |translation| {
        let around = Around { regions: &regions(None), translation, probe: false };
        read(text, &around).unwrap().0.iter().map(|object| object.path.to_string()).collect::<Vec<_>>()
    };

    assert_eq!(in_way(Translation::To('_')), ["_shop_db", "a_b", "c_d"]);
    assert_eq!(in_way(Translation::To('-')), ["-shop-db", "a-b", "c-d"]);
    assert_eq!(in_way(Translation::Off), ["shop/db", "a/b", "c/d"]);
}

#[test]
fn a_name_that_leads_out_of_the_volume_is_refused() {
    let around = Around { regions: &regions(None), translation: Translation::Off, probe: false };
    for name in ["../a", "a/../../b", "..", "/"] {
        assert!(
            read(&format!("- {{objectName: {name}, objectType: ssmparameter}}"), &around).is_err(),
            "{name}"
        );
    }
    assert!(refusal("- {objectName: \"..\", objectType: ssmparameter}").contains("objects[0].objectName"));
}

#[test]
fn an_object_may_be_listed_twice_where_each_has_a_file_of_its_own() {
    let twice = |more: &str| {
        read_text(&format!(
            "- {{objectName: a, objectType: secretsmanager}}\n- {{objectName: a, objectType: secretsmanager{more}}}"
        ))
    };

    assert_eq!(paths(&twice(", objectAlias: b").unwrap()), ["a", "b"]);
    assert_eq!(paths(&twice(", objectAlias: b, objectVersionLabel: AWSPREVIOUS").unwrap()), ["a", "b"]);
    assert!(twice("").unwrap_err()[0].contains("is also the path of objects[0]"));
    assert!(
        twice(", objectVersionLabel: AWSPREVIOUS").unwrap_err()[0]
            .contains("give every object a path of its own")
    );
    let aliases =
        "- {objectName: a, objectType: ssmparameter, objectAlias: x, jmesPath: [{path: u, objectAlias: x}]}";
    assert!(refusal(aliases).contains("is also the path of"));
}

#[test]
fn a_type_is_said_unless_an_arn_tells_it_and_then_they_agree() {
    let arn = "arn:aws:ssm:eu-west-1:111122223333:parameter/a";
    let of = |more: &str| read_text(&format!("- {{objectName: \"{arn}\", objectAlias: a{more}}}"));

    assert_eq!(call(&of("").unwrap()[0]).service, Service::Ssm);
    assert_eq!(call(&of(", objectType: ssmparameter").unwrap()[0]).service, Service::Ssm);
    assert!(of(", objectType: secretsmanager").unwrap_err()[0].contains("objectType"));
    assert!(refusal("- objectName: a").contains("objects[0].objectType (line 1): it is missing"));
    assert!(refusal("- {objectName: a, objectType: SecretsManager}").contains("it is none we know"));
    assert!(
        refusal("- {objectName: \"arn:aws:s3:eu-west-1:1:x\"}").contains("neither secretsmanager nor ssm")
    );
    assert!(refusal("- {objectType: ssmparameter}").contains("objectName"));
}

#[test]
fn an_arn_is_of_the_region_of_its_class() {
    let text = "- {objectName: \"arn:aws:ssm:us-east-1:111122223333:parameter/a\"}";
    assert!(refusal(text).contains("its ARN is of another region"));
}

#[test]
fn versions_are_what_each_service_has() {
    let ssm = |more: &str| read_text(&format!("- {{objectName: a, objectType: ssmparameter, {more}}}"));

    assert_eq!(call(&ssm("objectVersion: 3").unwrap()[0]).first.selector(), "a:3");
    assert_eq!(call(&ssm("objectVersionLabel: prod").unwrap()[0]).first.selector(), "a:prod");
    assert!(ssm("objectVersion: \"3\", objectVersionLabel: prod").unwrap_err()[0].contains("keep one"));
    assert!(ssm("objectVersion: latest").unwrap_err()[0].contains("is a number"));
    let both =
        "- {objectName: a, objectType: secretsmanager, objectVersion: v1, objectVersionLabel: AWSCURRENT}";
    assert_eq!(call(&read_text(both).unwrap()[0]).first.version.as_deref(), Some("v1"));
}

#[test]
fn a_failover_object_fits_its_object() {
    let with = |failover, object: &str, other: &str| {
        read_in(failover, &format!("- {{objectType: secretsmanager, {object}, failoverObject: {other}}}"))
    };
    let there = Some("eu-central-1");

    let made =
        with(there, "objectName: a, objectAlias: f", "{objectName: b, objectVersionLabel: x}").unwrap();
    assert_eq!(call(&made[0]).failover.unwrap().to_string(), "b at x");
    for (failover, object, other, words) in [
        (None, "objectName: a, objectAlias: f", "{objectName: b}", "no failoverRegion"),
        (there, "objectName: a", "{objectName: b}", "no objectAlias"),
        (there, "objectName: a, objectAlias: f", "{}", "objectName is missing"),
        (
            there,
            "objectName: a, objectAlias: f",
            "{objectName: b, objectVersion: v}",
            "objectVersion is another",
        ),
        (
            there,
            "objectName: a, objectAlias: f",
            "{objectName: \"arn:aws:ssm:eu-central-1:1:parameter/a\"}",
            "another objectType",
        ),
        (
            there,
            "objectName: a, objectAlias: f",
            "{objectName: \"arn:aws:secretsmanager:eu-west-1:1:secret:a\"}",
            "another region",
        ),
    ] {
        let told = with(failover, object, other).unwrap_err();
        assert!(told[0].contains(words), "{object} {other}: {told:?}");
    }
}

#[test]
fn every_provider_s_own_keys_are_there_too() {
    let text = "- {objectName: a, objectType: secretsmanager, optional: true, default: none, file: false}";
    let object = &read_text(text).unwrap()[0];

    assert!(object.optional && !object.file);
    assert_eq!(object.default.as_deref(), Some("none"));
    assert!(
        refusal("- {objectName: a, objectType: secretsmanager, default: 7}").contains("objects[0].default")
    );
}

fn trees(failover: Option<&str>, text: &str) -> Result<Vec<Tree>, Vec<String>> {
    let around = Around { regions: &regions(failover), translation: Translation::To('_'), probe: true };
    read(text, &around).map(|(_, trees)| trees).map_err(|faults| texts(&faults))
}

#[test]
fn a_listing_is_of_parameters_below_a_path_or_of_secrets_by_tags_and_name() {
    let text = "- {byPath: /shop/prod/, directory: conf, maxFiles: 500, filePermission: \"0400\"}\n\
                - {byTags: \"team=shop,public\", byPrefix: shop/, objectType: secretsmanager, directory: keys, encoding: hex}";

    let trees = trees(Some("eu-central-1"), text).unwrap();

    assert_eq!(
        &*trees[0].request.text,
        r#"{"service":"ssm","first":{"id":"/shop/prod"},"failover":{"id":"/shop/prod"},"sought":{"most":500}}"#
    );
    assert_eq!(
        (trees[0].mode.map(|mode| mode.bits()), trees[0].name.as_str()),
        (Some(0o400), "/shop/prod/*")
    );
    assert_eq!(
        &*trees[1].request.text,
        r#"{"service":"secretsmanager","first":{"id":"shop/"},"failover":{"id":"shop/"},"probe":true,"sought":{"tags":{"public":null,"team":"shop"},"most":100}}"#
    );
    assert_eq!((trees[1].encoding, trees[1].directory.as_str()), (provider::Encoding::Hex, "keys"));
    assert_eq!((trees[0].least_calls, trees[1].least_calls), (1, 2));
}

#[test]
fn what_is_wrong_with_a_listing_is_told_by_its_key() {
    for (keys, told) in [
        ("byPath: shop, directory: a", "objects[0].byPath (line 1)"),
        ("byPath: /, directory: a", "is all parameters"),
        ("byPath: /shop", "objects[0].directory"),
        ("byPath: /shop, directory: ../a", "objects[0].directory"),
        ("byPath: /shop, byTags: a, directory: a", "make two objects"),
        ("byPath: /shop, objectName: a, directory: a", "objects[0].objectName"),
        ("byPath: /shop, objectAlias: a, directory: a", "objects[0].objectAlias"),
        ("byPath: /shop, objectType: secretsmanager, directory: a", "is of ssmparameter"),
        ("byTags: \"a=1,a=2\", directory: a", "objects[0].byTags"),
        ("byPath: /shop, directory: a, maxFiles: many", "objects[0].maxFiles"),
        ("objectName: a, objectType: ssmparameter, directory: a", "it is for a listing"),
        ("objectName: a, objectType: ssmparameter, maxFiles: 7", "objects[0].maxFiles"),
    ] {
        let faults = trees(None, &format!("- {{{keys}}}")).unwrap_err();
        assert!(faults[0].contains(told), "{keys}: {faults:?}");
    }
    let blocked =
        "- {byPath: /shop, directory: a/b}\n- {objectName: x, objectType: ssmparameter, objectAlias: a}";
    assert!(trees(None, blocked).unwrap_err()[0].contains("needs a directory"));
}
