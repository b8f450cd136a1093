use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use provider::{ErrorKind, Tenure};
use serde_json::{Value, json};
use testing::Ccp;

use crate::support::{cyberark, each, only, shown, source, text, without_certificate, workload};

/// A stub whose application `shop` has this certificate and sees the safe `Shop`.
fn stub() -> (Ccp, testing::Identity) {
    let ccp = Ccp::start();
    let client = ccp.client("shop");
    ccp.application("shop", "shop", &["Shop"]);
    (ccp, client)
}

#[tokio::test]
async fn the_example_manifest_makes_exactly_its_table_of_files() {
    let (ccp, client) = stub();
    ccp.account(&json!({"Safe": "Shop", "Name": "postgres-shop", "Content": "hunter2", "UserName": "shop",
                        "Address": "db.example.com"}));
    ccp.account(&json!({"Safe": "Shop", "Name": "store", "Content": "AP8="}));
    let manifest = include_str!("../../../../examples/class-cyberark.yaml");
    let class: Value = manifest::yaml::read("example", manifest).unwrap();
    let parameters = class["spec"]["parameters"].as_object().unwrap();
    let objects = parameters["objects"].as_str().unwrap();
    let cyberark = cyberark(&ccp);
    let source = source(&cyberark, objects, &[]);

    let session = source.session(&workload(&client), Tenure::Shared).await.unwrap();
    let files = each(&*source, &*session).await;

    for (path, contents) in [("db/password", "hunter2"), ("db/user", "shop"), ("db/host", "db.example.com")] {
        assert_eq!(text(files[path].as_ref().unwrap()), contents, "{path}");
    }
    assert_eq!(files["store.p12"].as_ref().unwrap().contents.expose(), [0, 255]);
    assert_eq!(files["invoice-key"].as_ref().unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(files.len(), 5);
    assert_eq!(source.objects()[0].mode.map(|mode| mode.bits()), Some(0o400));
    assert_eq!(source.objects()[0].request, source.objects()[1].request, "one call for an account");
}

#[tokio::test]
async fn values_arrive_byte_for_byte_and_bytes_in_base64() {
    let (ccp, client) = stub();
    let all: Vec<u8> = (0..=255).collect();
    let large: Vec<u8> = all.iter().cycle().take(64 * 1024).copied().collect();
    let texts = ["", "\n", "é\u{1}\\\"\r\n", &"x".repeat(64 * 1024)];
    let cyberark = cyberark(&ccp);
    for (index, value) in texts.iter().enumerate() {
        ccp.account(&json!({"Safe": "Shop", "Name": format!("text{index}"), "Content": value}));
        let class = source(&cyberark, &format!("- {{objectName: a, object: text{index}}}"), &[]);
        assert!(shown(&*class, &workload(&client)).await.unwrap() == *value, "{index}");
    }
    for (index, value) in [&all[..], &large, b"\xff\xfe\n"].into_iter().enumerate() {
        ccp.account(&json!({"Safe": "Shop", "Name": format!("b{index}"), "Content": STANDARD.encode(value)}));
        let objects = format!("- {{objectName: a, object: b{index}, encoding: base64}}");
        let object = only(&*source(&cyberark, &objects, &[]), &workload(&client)).await.unwrap();
        assert!(object.contents.expose() == value, "{index}");
    }
}

#[tokio::test]
async fn an_account_is_found_by_its_parts_or_a_query_and_only_if_it_is_the_only_one() {
    let (ccp, client) = stub();
    for (name, user) in [("a", "u"), ("b", "v"), ("c", "v")] {
        ccp.account(&json!({"Safe": "Shop", "Name": name, "UserName": user, "Content": name}));
    }
    let cyberark = cyberark(&ccp);
    let read = async |keys: &str| {
        let class = source(&cyberark, &format!("- {{objectName: x, {keys}}}"), &[]);
        shown(&*class, &workload(&client)).await.map_err(|error| error.kind())
    };

    assert_eq!(read("object: a").await, Ok("a".to_owned()));
    assert_eq!(read("userName: u").await, Ok("a".to_owned()));
    assert_eq!(read("query: Safe=Shop;Object=b").await, Ok("b".to_owned()));
    assert_eq!(read("userName: v").await, Err(ErrorKind::Invalid));
    assert_eq!(read("object: none").await, Err(ErrorKind::NotFound));
    assert_eq!(read("safe: Bank, object: a").await, Err(ErrorKind::NotFound));
}

#[tokio::test]
async fn an_application_is_known_by_its_certificate_and_without_one_nobody_is_asked() {
    let (ccp, client) = stub();
    ccp.account(&json!({"Safe": "Shop", "Name": "a", "Content": "p"}));
    let cyberark = cyberark(&ccp);
    let class = source(&cyberark, "- {objectName: x, object: a}", &[]);

    assert_eq!(shown(&*class, &workload(&client)).await.unwrap(), "p");
    let stranger = shown(&*class, &workload(&ccp.client("bank"))).await.unwrap_err();
    assert_eq!(stranger.kind(), ErrorKind::Unauthenticated, "{stranger}");
    let unknown = source(&cyberark, "- {objectName: x, object: a}", &[("appId", "none")]);
    let unknown = shown(&*unknown, &workload(&client)).await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::Denied, "{unknown}");
    let before = ccp.asked("AIMWebService");
    let none = shown(&*class, &without_certificate()).await.unwrap_err();
    assert_eq!(none.kind(), ErrorKind::NoCredential);
    assert!(none.to_string().contains("tls.crt"), "{none}");
    assert_eq!(ccp.asked("AIMWebService"), before);

    let identity =
        async |client| class.session(&workload(client), Tenure::Shared).await.unwrap().identity().to_owned();
    assert_eq!(identity(&client).await, identity(&client).await);
    assert_ne!(identity(&client).await, identity(&ccp.client("shop")).await, "another certificate");
}

#[tokio::test]
async fn a_password_that_is_being_changed_is_asked_for_again_and_never_shown_before() {
    let (ccp, client) = stub();
    ccp.account(&json!({"Safe": "Shop", "Name": "a", "Content": "new"}));
    let cyberark = cyberark(&ccp);
    let class = source(&cyberark, "- {objectName: x, object: a}", &[]);
    let changing = json!({"Content": "old", "Name": "a", "Safe": "Shop", "PasswordChangeInProcess": "True"});
    let refused = json!({"ErrorCode": "APPAP282E", "ErrorMsg": "is being changed"});

    ccp.fault("Accounts", 1, 200, &changing);
    ccp.fault("Accounts", 1, 400, &refused);
    assert_eq!(shown(&*class, &workload(&client)).await.unwrap(), "new");
    assert_eq!(ccp.asked("Accounts"), 3);

    ccp.fault("Accounts", 3, 200, &changing);
    let error = shown(&*class, &workload(&client)).await.unwrap_err();
    assert_eq!((error.kind(), error.wait().unwrap().as_secs()), (ErrorKind::Unavailable, 5), "{error}");
    assert!(!error.to_string().contains("old"), "{error}");
    assert_eq!(shown(&*class, &workload(&client)).await.unwrap(), "new");
}
