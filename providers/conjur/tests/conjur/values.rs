use std::num::NonZeroUsize;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use provider::{ErrorKind, Tenure};
use serde_json::json;

use crate::support::{HOST, conjur, each, files, only, shown, source, stub, text, workload};

fn one(variable: &str) -> String {
    format!("- file: {variable}\n")
}

#[tokio::test]
async fn values_arrive_byte_for_byte() {
    let (stub, issuer) = stub();
    let conjur = conjur(&stub);
    let workload = workload(&issuer, "web-0", "v1");
    let all: Vec<u8> = (0..=255).collect();
    let large: Vec<u8> = all.iter().cycle().take(64 * 1024).copied().collect();
    let values = [
        ("binary", &all[..]),
        ("empty", b""),
        ("large", &large),
        ("text", b"\xff\xfe\n"),
        ("newline", b"\n"),
    ];
    for (name, value) in values {
        stub.put(&format!("shop/{name}"), value);
        for parameters in [
            [("versionNumbers", "false"), ("secrets", &*one(&format!("shop/{name}")))],
            [("versionNumbers", "true"), ("secrets", &*one(&format!("shop/{name}")))],
        ] {
            let object = only(&*source(&conjur, parameters), &workload).await.unwrap();
            assert!(object.contents.expose() == value, "{name}: {} bytes", object.contents.len());
        }
    }

    let secrets: String = values.iter().map(|(name, _)| format!("- {name}: shop/{name}\n")).collect();
    let class = source(&conjur, [("secrets", &secrets)]);
    let before = stub.asked("/secrets");
    let session = class.session(&workload, Tenure::Shared).await.unwrap();
    let files = files(&*class, &*session).await.unwrap();
    assert!(values.iter().all(|(name, value)| files[*name].contents.expose() == *value));
    assert_eq!(stub.asked("/secrets") - before, 1, "all of them in one call");
}

#[tokio::test]
async fn a_server_that_knows_no_base64_is_read_as_it_answers_and_binary_values_alone() {
    let (stub, issuer) = stub();
    stub.put("shop/a", b"AP8=");
    let conjur = conjur(&stub);
    let class = source(&conjur, [("secrets", &one("shop/a"))]);
    stub.fault("/secrets", 1, 200, &json!({}), &json!({"acme:variable:shop/a": "AP8="}));

    let shown = shown(&*class, &workload(&issuer, "web-0", "v1")).await.unwrap();

    assert_eq!(shown, "AP8=", "it is not decoded though it looks so");
}

#[tokio::test]
async fn a_version_is_read_as_named_and_the_newest_follows_a_rotation() {
    let (stub, issuer) = stub();
    stub.put("shop/api", b"A");
    let conjur = conjur(&stub);
    let objects = "- {objectName: new, variable: shop/api}\n\
                   - {objectName: first, variable: shop/api, version: 1}\n\
                   - {objectName: third, variable: shop/api, version: 3}\n";
    let class = source(&conjur, [("objects", objects), ("versionNumbers", "true")]);
    let session = class.session(&workload(&issuer, "web-0", "v1"), Tenure::Shared).await.unwrap();
    let now = async || {
        let files = each(&*class, &*session).await;
        let read = |name: &str| {
            files[name].as_ref().map(|object| (text(object), object.version.clone().unwrap())).ok()
        };
        (read("new"), read("first"), read("third"))
    };
    let version = |value: &str, number: &str| Some((value.to_owned(), number.to_owned()));

    assert_eq!(now().await, (version("A", "1"), version("A", "1"), None));
    stub.put("shop/api", b"B");
    assert_eq!(now().await, (version("B", "2"), version("A", "1"), None));
    stub.put("shop/api", b"C");
    assert_eq!(now().await, (version("C", "3"), version("A", "1"), version("C", "3")));
}

#[tokio::test]
async fn trap_version_no_number_is_made_up_where_the_host_may_not_see_it() {
    let (stub, issuer) = stub();
    stub.put("shop/api", b"A");
    stub.permit(HOST, "shop/.*", &["execute"]);
    let conjur = conjur(&stub);
    let class = source(&conjur, [("secrets", &one("shop/api")), ("versionNumbers", "true")]);

    let object = only(&*class, &workload(&issuer, "web-0", "v1")).await.unwrap();

    assert_eq!((text(&object), object.version), ("A".to_owned(), None));
}

#[tokio::test]
async fn trap_one_bad_object_a_variable_that_is_missing_or_forbidden_keeps_no_other_from_arriving() {
    let (stub, issuer) = stub();
    stub.put("shop/good", b"A");
    stub.put("bank/secret", b"B");
    stub.declare("shop/empty");
    let conjur = conjur(&stub);
    let secrets = "- good: shop/good\n- gone: shop/gone\n- empty: shop/empty\n- theirs: bank/secret\n";
    let class = source(&conjur, [("secrets", secrets)]);
    let session = class.session(&workload(&issuer, "web-0", "v1"), Tenure::Shared).await.unwrap();

    let files = each(&*class, &*session).await;

    assert_eq!(text(files["good"].as_ref().unwrap()), "A");
    for name in ["gone", "empty", "theirs"] {
        let error = files[name].as_ref().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert!(error.to_string().contains("Conjur's policy"), "{error}");
    }
    stub.permit(HOST, "shop/.*", &["read"]);
    let files = each(&*class, &*session).await;
    assert_eq!(files["good"].as_ref().unwrap_err().kind(), ErrorKind::Denied);
}

#[tokio::test]
async fn many_variables_are_read_by_few_calls() {
    let (stub, issuer) = stub();
    let secrets: String = (0..120).map(|n| format!("- f{n}: shop/v{n}\n")).collect();
    for n in 0..120 {
        stub.put(&format!("shop/v{n}"), STANDARD.encode(n.to_string()).as_bytes());
    }
    let conjur = conjur(&stub);
    let class = source(&conjur, [("secrets", &secrets)]);
    let session = class.session(&workload(&issuer, "web-0", "v1"), Tenure::Shared).await.unwrap();

    let files = files(&*class, &*session).await.unwrap();

    assert_eq!(class.requests_per_call(0).map(NonZeroUsize::get), Some(50));
    assert!((0..120).all(|n| text(&files[&format!("f{n}")]) == STANDARD.encode(n.to_string())));
    assert_eq!(stub.asked("/secrets"), 3);
}

#[tokio::test]
async fn an_id_may_hold_anything_that_a_path_or_a_list_gives_a_meaning_to() {
    let (stub, issuer) = stub();
    let conjur = conjur(&stub);
    for id in ["shop/a b", "shop/a,b", "shop/a%2Fb", "shop/a?version=1", "shop/a:b", "shop/../a", "shop/ü"] {
        stub.put(id, id.as_bytes());
        for version in ["", ", version: 1"] {
            let objects = format!("- {{objectName: file, variable: '{id}'{version}}}");
            let class = source(&conjur, [("objects", &objects)]);
            assert_eq!(shown(&*class, &workload(&issuer, "web-0", "v1")).await.unwrap(), id);
        }
    }
}
