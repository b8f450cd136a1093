use super::*;

const RSA: &[u8] = include_bytes!("../../../../tls-pair/tests/files/bundle.pem");
const PFX: &[u8] = include_bytes!("../../../../tls-pair/tests/files/ec-password.pfx");
const EC: &str = include_str!("../../../../tls-pair/tests/files/ec.crt");

fn class(secret_objects: &str) -> Class {
    let text = format!(
        "apiVersion: secrets-store.csi.x-k8s.io/v1\nkind: SecretProviderClass\nmetadata: {{name: shop, namespace: web}}\n\
         spec:\n  provider: vault\n  parameters: {{a: b}}\n  secretObjects: {secret_objects}\n"
    );
    Class::read(&text).unwrap().remove(0)
}

fn files(files: &[(&str, &[u8])]) -> Files {
    files.iter().map(|(path, contents)| ((*path).to_owned(), SecretBytes::new(contents.to_vec()))).collect()
}

/// The Secrets that are wanted if the volume shows these files and could also show `optional`.
fn plan(secret_objects: &str, shown: &Files) -> Vec<Wanted> {
    let known = shown.keys().cloned().chain(["optional".to_owned()]).collect();
    wanted(&class(secret_objects), shown, &known)
}

#[test]
fn keys_hold_the_bytes_of_files_by_their_paths() {
    let shown = files(&[("db/user", b"u"), ("pass", b"\x00\xff")]);
    let wanted = plan(
        "[{secretName: db, labels: {l: x}, annotations: {n: note}, data: [{objectName: db/user, key: user}, {objectName: pass, key: p}]}]",
        &shown,
    );

    let [secret] = wanted.as_slice() else { panic!("{wanted:?}") };
    assert_eq!((secret.name.as_str(), secret.kind.as_str()), ("db", "Opaque"));
    assert_eq!(secret.data["user"].expose(), b"u");
    assert_eq!(secret.data["p"].expose(), b"\x00\xff");
    assert_eq!((secret.labels["l"].as_str(), secret.annotations["n"].as_str()), ("x", "note"));
    assert_eq!(secret.faults, Vec::<String>::new());
}

#[test]
fn one_file_gives_both_keys_of_a_tls_secret() {
    let wanted = plan(
        "[{secretName: t, type: kubernetes.io/tls, data: [{objectName: web, key: tls.crt}, {objectName: web, key: tls.key}, {objectName: web, key: ca.crt}]}]",
        &files(&[("web", RSA)]),
    );

    let data = &wanted[0].data;
    assert!(data["tls.crt"].expose_str().unwrap().starts_with("-----BEGIN CERTIFICATE-----\n"));
    assert!(data["tls.key"].expose_str().unwrap().starts_with("-----BEGIN RSA PRIVATE KEY-----\n"));
    assert_eq!(data["ca.crt"].expose(), RSA, "other keys are left as they are");
}

#[test]
fn an_annotation_names_the_file_with_a_pfxs_password_and_is_not_copied() {
    let object = "[{secretName: t, type: kubernetes.io/tls, annotations: {secretfs.dev/pfx-password-object: pw}, \
                  data: [{objectName: web, key: tls.crt}]}]";
    let opened = plan(object, &files(&[("web", PFX), ("pw", b"hunter2\n")]));
    assert_eq!(opened[0].data["tls.crt"].expose_str(), Some(EC));
    assert!(opened[0].annotations.is_empty());

    let closed = plan(object, &files(&[("web", PFX)]));
    assert!(closed[0].unusable.contains("tls.crt"));
    assert_eq!(
        closed[0].faults,
        ["key tls.crt of Secret t: file \"web\": the volume has no file \"pw\" with its password"]
    );
}

#[test]
fn a_file_that_is_no_certificate_names_itself_and_shows_nothing() {
    let wanted = plan(
        "[{secretName: t, type: kubernetes.io/tls, data: [{objectName: web, key: tls.crt}]}]",
        &files(&[("web", b"hunter2")]),
    );

    assert_eq!(
        wanted[0].faults,
        ["key tls.crt of Secret t: file \"web\": it is neither PEM nor PKCS#12 (PFX)"]
    );
}

#[test]
fn an_optional_file_may_be_missing_and_one_that_cannot_be_is_told() {
    let wanted = plan(
        "[{secretName: s, data: [{objectName: optional, key: a}, {objectName: optional.previous, key: b}, {objectName: typo, key: c}]}]",
        &files(&[("other", b"")]),
    );

    assert_eq!(wanted[0].absent.len(), 3);
    assert_eq!(
        wanted[0].faults,
        ["key c of Secret s: the volume has no file \"typo\"; name a file by its path in the volume"]
    );
}

#[test]
fn secret_objects_of_one_name_are_one_secret_and_what_was_said_first_stands() {
    let shown = files(&[("x", b"1"), ("z", b"2")]);
    let wanted = plan(
        "[{secretName: s, labels: {l: first}, data: [{objectName: x, key: a}, {objectName: z, key: a}]}, \
          {secretName: s, labels: {l: second}, data: [{objectName: z, key: a}, {objectName: z, key: b}]}, \
          {secretName: s, type: kubernetes.io/basic-auth, data: [{objectName: z, key: c}]}]",
        &shown,
    );

    let [secret] = wanted.as_slice() else { panic!("{wanted:?}") };
    assert_eq!((secret.data["a"].expose(), secret.data["b"].expose()), (&b"1"[..], &b"2"[..]));
    assert_eq!(secret.labels["l"], "first");
    let twice = "key a of Secret s is written twice in the class";
    let types = "Secret s is written twice in the class, as Opaque and as kubernetes.io/basic-auth; the second is left out";
    assert_eq!(secret.faults, [twice, twice, types]);
}
