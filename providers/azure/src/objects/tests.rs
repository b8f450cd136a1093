use super::*;

fn read_with(text: &str, separate_files: bool) -> Result<(Vec<ObjectRef>, Vec<Part>), Vec<Invalid>> {
    let vault = |named: Named<'_>| match named {
        Named::Nothing => Ok("https://own".to_owned()),
        Named::Name(name) => Ok(format!("https://{name}")),
        Named::Url(url) => Ok(url.to_owned()),
    };
    let around = Around { vault, separate_files, on_expired: OnExpired::Keep };
    read(text, &around).map(|read| (read.objects, read.parts))
}

/// `keys` of one object.
fn one(keys: &str) -> Result<(Vec<ObjectRef>, Vec<Part>), Vec<Invalid>> {
    read_with(&format!("array:\n- |\n  {}\n", keys.replace("; ", "\n  ")), false)
}

fn paths(objects: &[ObjectRef]) -> Vec<&str> {
    objects.iter().map(|object| object.path.as_str()).collect()
}

fn refusal(keys: &str) -> String {
    one(keys).unwrap_err()[0].to_string()
}

#[test]
fn trap_parameter_holding_the_list_objects_is_a_map_whose_array_lists_texts_of_yaml() {
    let text =
        "array:\n  - |\n    objectName: a\n    objectType: secret\n  - \"objectName: b\\nobjectType: key\"\n";

    assert_eq!(paths(&read_with(text, false).unwrap().0), ["a", "b"]);
    assert!(
        read_with("- {objectName: a, objectType: secret}", false).is_err(),
        "a bare list is vault's form"
    );
}

#[test]
fn trap_yaml_dialect_keys_are_case_sensitive() {
    assert!(refusal("ObjectName: a; objectType: secret").contains("objects[0].objectName"));
    assert!(refusal("objectName: a; objectType: SECRET").contains("write secret, key or cert"));
}

#[test]
fn trap_unknown_keys_are_ignored() {
    let (objects, _) = one("objectName: a; objectType: secret; objectColour: red").unwrap();

    assert_eq!(paths(&objects), ["a"]);
    let remarks = unknown("array:\n- |\n  objectName: a\n  objectColour: red\n");
    assert!(remarks[0].to_string().contains("objectColour"), "{remarks:?}");
}

#[test]
fn trap_file_mode_key_is_octal_text_with_or_without_quotes_and_a_bad_one_is_an_error() {
    for (written, bits) in [("0400", 0o400), ("\"0400\"", 0o400), ("400", 0o400), ("00440", 0o440), ("0", 0)]
    {
        let (objects, _) =
            one(&format!("objectName: a; objectType: secret; filePermission: {written}")).unwrap();
        assert_eq!(objects[0].mode.unwrap().bits(), bits, "{written}");
    }
    for written in ["0o400", "rw", "0999", "01000", "-1", "\"7777777777777777777777777\""] {
        let told = refusal(&format!("objectName: a; objectType: secret; filePermission: {written}"));
        assert!(told.contains("objects[0].filePermission"), "{told}");
    }
}

#[test]
fn trap_scalars_as_names_stay_the_text_that_is_written() {
    for name in ["y", "on", "0123", "1e3", "true"] {
        let (objects, _) = one(&format!("objectName: {name}; objectType: secret")).unwrap();
        assert_eq!(paths(&objects), [name]);
    }
}

#[test]
fn trap_default_mode_is_the_volumes_own() {
    let (objects, _) = one("objectName: a; objectType: secret").unwrap();

    assert_eq!(objects[0].mode, None);
}

#[test]
fn trap_slash_in_file_name_is_allowed_by_an_alias() {
    let (objects, _) = one("objectName: a; objectType: secret; objectAlias: db/password").unwrap();

    assert_eq!(paths(&objects), ["db/password"]);
    assert!(refusal("objectName: a/b; objectType: secret").contains("objects[0].objectName"));
    for alias in ["/etc/passwd", "../a", "a/../../b"] {
        let told = refusal(&format!("objectName: a; objectType: secret; objectAlias: {alias}"));
        assert!(told.contains("objects[0].objectAlias"), "{told}");
    }
}

#[test]
fn a_history_is_a_directory_of_one_more_file_than_it_says() {
    let (objects, _) =
        one("objectName: a; objectType: secret; objectAlias: x; objectVersionHistory: 2").unwrap();

    assert_eq!(paths(&objects), ["x/0", "x/1", "x/2"]);
    let optional: Vec<_> = objects.iter().map(|object| object.optional).collect();
    assert_eq!(optional, [false, true, true], "older versions are shown as far as there are any");
    for few in ["0", "1"] {
        let (objects, _) =
            one(&format!("objectName: a; objectType: secret; objectVersionHistory: {few}")).unwrap();
        assert_eq!(paths(&objects), ["a"]);
    }
    assert!(refusal("objectName: a; objectType: secret; objectVersionHistory: 26").contains("more than 25"));
}

#[test]
fn what_is_taken_of_a_secret_is_taken_of_each_of_its_versions() {
    let (objects, _) =
        one("objectName: a; objectType: secret; objectVersionHistory: 2; jmesPath: key; default: x").unwrap();

    assert!(objects.iter().all(|object| object.jmes_path.as_deref() == Some("key")));
    let defaults: Vec<_> = objects.iter().map(|object| object.default.is_some()).collect();
    assert_eq!(defaults, [true, false, false]);
}

#[test]
fn only_secrets_have_a_format_and_an_encoding() {
    for key in ["objectEncoding", "encoding"] {
        let (objects, parts) =
            one(&format!("objectName: a; objectType: secret; objectFormat: PFX; {key}: Base64")).unwrap();
        assert_eq!((parts[0].piece, objects[0].encoding), (Piece::AsStored, Encoding::Base64));
    }
    for keys in ["objectFormat: PFX", "objectEncoding: hex", "encoding: hex"] {
        assert!(
            refusal(&format!("objectName: a; objectType: cert; {keys}")).contains("only a secret has"),
            "{keys}"
        );
    }
    assert!(
        refusal("objectName: a; objectType: secret; objectEncoding: rot13").contains("utf-8, base64 or hex")
    );
}

#[test]
fn certificates_have_files_of_their_own_for_certificate_and_key_where_asked() {
    let text =
        "array:\n- |\n  objectName: web\n  objectType: secret\n- |\n  objectName: k\n  objectType: key\n";

    let (objects, parts) = read_with(text, true).unwrap();

    assert_eq!(paths(&objects), ["web", "web.crt", "web.key", "k"]);
    let pieces: Vec<_> = parts.iter().map(|part| part.piece).collect();
    assert_eq!(pieces, [Piece::Pem, Piece::Certificates, Piece::Key, Piece::Pem]);
    let requests: std::collections::BTreeSet<_> = objects.iter().map(|object| &object.request).collect();
    assert_eq!(requests.len(), 2, "all of one certificate are one call");
}

#[test]
fn an_object_may_be_in_another_vault() {
    let (objects, _) = one("objectName: a; objectType: secret; keyvaultName: billing").unwrap();

    assert_eq!(Call::of_request(&objects[0].request).unwrap().vault, "https://billing");
}

#[test]
fn every_wrong_object_is_told_with_its_line() {
    let text =
        "array:\n- |\n  objectName: a\n- |\n  objectType: key\n- |\n  objectName: b\n  objectType: key\n";

    let told: Vec<_> = read_with(text, false).unwrap_err().iter().map(ToString::to_string).collect();

    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("objects[0].objectType (line "), "{told:?}");
    assert!(told[1].contains("objects[1].objectName (line "), "{told:?}");
}
