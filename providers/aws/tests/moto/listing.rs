//! What a listing brings: parameters below a path, secrets by tags and by the beginning of their names.

use std::collections::BTreeMap;
use std::sync::Arc;

use provider::{Error, ErrorKind, Found, Packed, Query, Reading, Session, Source};
use serde_json::{Value, json};
use testing::{Answer, FaultServer, Moto, Seen};

use crate::support::{REGION, aws, class, session, source, workload};

/// What the one listing of `source` brings to who holds `held`.
async fn listed(source: &dyn Source, session: &dyn Session, held: Option<&str>) -> Result<Found, Error> {
    let query = Query { request: source.trees()[0].request.clone(), held: held.map(str::to_owned) };
    session.read_many(&[query]).await.pop().unwrap()
}

/// The files of a class of one listing, by their paths below its directory.
async fn files(source: &Arc<dyn Source>) -> Result<BTreeMap<String, Result<String, ErrorKind>>, Error> {
    let session = session(&**source, &workload("v")).await?;
    Ok(unpacked(&listed(&**source, &*session, None).await?.reading(None)?))
}

fn unpacked(reading: &Reading) -> BTreeMap<String, Result<String, ErrorKind>> {
    let file = |leaf: Packed<'_>| {
        let found = leaf.found().map(|reading| reading.body.expose_str().unwrap().to_owned());
        (leaf.path.to_owned(), found.map_err(|error| error.kind()))
    };
    Packed::all(reading).unwrap().into_iter().map(file).collect()
}

fn values<const N: usize>(files: [(&str, &str); N]) -> BTreeMap<String, Result<String, ErrorKind>> {
    files.map(|(path, text)| (path.to_owned(), Ok(text.to_owned()))).into()
}

fn tagged(moto: &Moto, name: &str, text: &str, tags: &[(&str, &str)]) {
    let tags: Vec<_> = tags.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect();
    moto.secrets(REGION, "CreateSecret", &json!({"Name": name, "SecretString": text, "Tags": tags}));
}

/// `count` parameters below `/many`, each with its number.
fn put_many(moto: &Moto, count: usize) {
    for n in 0..count {
        moto.put_parameter(REGION, &format!("/many/p{n:02}"), &n.to_string());
    }
}

fn calls(front: &FaultServer, operation: &str) -> usize {
    front.seen().iter().filter(|seen| is_call(seen, operation)).count()
}

fn is_call(seen: &Seen, operation: &str) -> bool {
    seen.header("x-amz-target").is_some_and(|target| target.split('.').next_back() == Some(operation))
}

#[tokio::test]
async fn every_parameter_below_a_path_is_a_file_named_by_what_is_below_it() {
    let moto = Moto::start();
    for (name, text) in [
        ("/shop/prod/db/user", "u"),
        ("/shop/prod/key", "k"),
        ("/shop/production", "no"),
        ("/shop/test/x", "no"),
    ] {
        moto.put_parameter(REGION, name, text);
    }
    let source = class(&aws(&moto.url()), "- {byPath: /shop/prod, directory: conf}");

    let found = files(&source).await.unwrap();

    assert_eq!(found, values([("db/user", "u"), ("key", "k")]));
}

#[tokio::test]
async fn parameters_come_by_ten_in_as_many_pages_as_they_take() {
    let moto = Moto::start();
    put_many(&moto, 25);
    let front = FaultServer::before(&moto.url());
    let source = class(&aws(&front.url()), "- {byPath: /many, directory: conf}");

    let found = files(&source).await.unwrap();

    assert_eq!((found.len(), found["p24"].as_deref()), (25, Ok("24")));
    assert_eq!((calls(&front, "GetParametersByPath"), calls(&front, "GetParameters")), (3, 0));
}

#[tokio::test]
async fn more_parameters_than_a_listing_may_have_are_an_error_and_no_further_page_is_asked_for() {
    let moto = Moto::start();
    put_many(&moto, 35);
    let front = FaultServer::before(&moto.url());
    let source = class(&aws(&front.url()), "- {byPath: /many, directory: conf, maxFiles: 15}");

    let error = files(&source).await.unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("more than 15 files"), "{error}");
    assert_eq!(calls(&front, "GetParametersByPath"), 2);
}

#[tokio::test]
async fn secrets_are_listed_by_all_of_their_tags_and_by_the_beginning_of_their_names() {
    let moto = Moto::start();
    tagged(&moto, "shop/db", "1", &[("team", "shop"), ("stage", "prod")]);
    tagged(&moto, "shop/key", "2", &[("team", "shop"), ("stage", "prod")]);
    tagged(&moto, "shop/test", "no", &[("team", "shop"), ("stage", "test")]);
    // A key and a value, but of two tags.
    tagged(&moto, "till/odd", "no", &[("team", "till"), ("owner", "shop"), ("stage", "prod")]);
    tagged(&moto, "till/db", "3", &[("team", "till")]);
    let aws = aws(&moto.url());
    let by = |keys: &str| class(&aws, &format!("- {{{keys}, directory: keys}}"));

    let by_tags = files(&by("byTags: \"team=shop,stage=prod\"")).await.unwrap();
    assert_eq!(by_tags, values([("shop/db", "1"), ("shop/key", "2")]));
    let by_key = files(&by("byTags: owner")).await.unwrap();
    assert_eq!(by_key.len(), 1);
    let by_prefix = files(&by("byPrefix: till/")).await.unwrap();
    assert_eq!(by_prefix, values([("db", "3"), ("odd", "no")]));
    let by_both = files(&by("byPrefix: shop/d, byTags: stage=prod")).await.unwrap();
    assert_eq!(by_both, values([("db", "1")]));
    assert!(files(&by("byPrefix: nobody/")).await.unwrap().is_empty());
}

#[tokio::test]
async fn listed_secrets_are_read_by_twenty_and_one_that_is_deleted_is_not_listed() {
    let moto = Moto::start();
    (0..45).for_each(|n| tagged(&moto, &format!("s{n:02}"), &n.to_string(), &[("team", "shop")]));
    moto.secrets(REGION, "DeleteSecret", &json!({"SecretId": "s44"}));
    let front = FaultServer::before(&moto.url());
    let source = class(&aws(&front.url()), "- {byTags: team=shop, directory: keys}");

    let found = files(&source).await.unwrap();

    assert_eq!((found.len(), found["s43"].as_deref()), (44, Ok("43")));
    let count = |operation| calls(&front, operation);
    assert_eq!((count("ListSecrets"), count("BatchGetSecretValue"), count("GetSecretValue")), (1, 3, 0));
}

#[tokio::test]
async fn with_a_probe_a_listing_of_the_same_versions_brings_no_value() {
    let moto = Moto::start();
    (0..3).for_each(|n| tagged(&moto, &format!("s{n}"), "v", &[("team", "shop")]));
    let front = FaultServer::before(&moto.url());
    let objects = "- {byTags: team=shop, directory: keys}";
    let source = source(&aws(&front.url()), &[("secretfs.dev/probe", "describe"), ("objects", objects)]);
    let session = session(&*source, &workload("v")).await.unwrap();
    let count = |operation| calls(&front, operation);

    let first = listed(&*source, &*session, None).await.unwrap().reading(None).unwrap();
    let held = first.version.as_deref();
    assert!(matches!(listed(&*source, &*session, held).await, Ok(Found::Unchanged)));
    assert_eq!((count("ListSecrets"), count("BatchGetSecretValue")), (2, 1));

    moto.put_secret(REGION, "s1", "changed");
    let changed = listed(&*source, &*session, held).await.unwrap().reading(None).unwrap();
    assert_eq!(unpacked(&changed)["s1"].as_deref(), Ok("changed"));
    assert_ne!(changed.version, first.version);
}

/// moto lets everybody do everything: the refusals are the front's, in AWS's words.
fn answering(moto: &Moto, operation: &'static str, answer: Value) -> FaultServer {
    let behind = moto.url().trim_start_matches("http://").to_owned();
    FaultServer::http(move |seen| match is_call(seen, operation) {
        true => Answer::json(400, &answer),
        false => Answer::Forward(behind.clone()),
    })
}

#[tokio::test]
async fn a_listing_that_is_refused_or_fails_is_an_error_that_says_what_to_allow() {
    let moto = Moto::start();
    for (operation, keys, right) in [
        ("GetParametersByPath", "byPath: /shop", "ssm:GetParametersByPath"),
        ("ListSecrets", "byTags: team=shop", "secretsmanager:ListSecrets"),
    ] {
        for (code, kind) in [
            ("AccessDeniedException", ErrorKind::Denied),
            ("ThrottlingException", ErrorKind::Unavailable),
            ("ExpiredTokenException", ErrorKind::Unauthenticated),
        ] {
            let front = answering(&moto, operation, json!({"__type": code, "Message": "no"}));
            let source = class(&aws(&front.url()), &format!("- {{{keys}, directory: a}}"));

            let error = files(&source).await.unwrap_err();

            assert_eq!(error.kind(), kind, "{error}");
            assert!(kind != ErrorKind::Denied || error.to_string().contains(right), "{error}");
        }
    }
}

#[tokio::test]
async fn one_secret_that_is_refused_takes_no_other_along_and_an_outage_is_one_of_the_listing() {
    let moto = Moto::start();
    ["mine", "theirs"].iter().for_each(|name| tagged(&moto, name, "v", &[("team", "shop")]));
    let behind = moto.url().trim_start_matches("http://").to_owned();
    let front = |code: &'static str| {
        let behind = behind.clone();
        FaultServer::http(move |seen| {
            let asked: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
            let is_refused = is_call(seen, "BatchGetSecretValue") && code == "AccessDeniedException"
                || is_call(seen, "GetSecretValue") && asked["SecretId"] == "theirs"
                || is_call(seen, "BatchGetSecretValue") && code == "ThrottlingException";
            match is_refused {
                true => Answer::json(400, &json!({"__type": code, "Message": "no"})),
                false => Answer::Forward(behind.clone()),
            }
        })
    };
    let by_tag = |front: &FaultServer| class(&aws(&front.url()), "- {byTags: team=shop, directory: a}");

    let refused = front("AccessDeniedException");
    let found = files(&by_tag(&refused)).await.unwrap();
    assert_eq!(found["mine"].as_deref(), Ok("v"));
    assert_eq!(found["theirs"], Err(ErrorKind::Denied));

    let away = front("ThrottlingException");
    assert_eq!(files(&by_tag(&away)).await.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn an_answer_that_is_no_listing_is_not_an_empty_one() {
    let moto = Moto::start();
    for (operation, keys) in [("GetParametersByPath", "byPath: /shop"), ("ListSecrets", "byTags: team=shop")]
    {
        let front = FaultServer::before(&moto.url());
        let behind = moto.url().trim_start_matches("http://").to_owned();
        front.script(move |seen| match is_call(seen, operation) {
            true => Answer::json(200, &json!({"ok": true})),
            false => Answer::Forward(behind.clone()),
        });
        let source = class(&aws(&front.url()), &format!("- {{{keys}, directory: a}}"));

        assert_eq!(files(&source).await.unwrap_err().kind(), ErrorKind::Unavailable, "{operation}");
    }
}

#[tokio::test]
async fn pages_without_an_end_are_given_up() {
    let front = FaultServer::http(|seen| match seen.header("x-amz-target") {
        Some(_) => Answer::json(200, &json!({"Parameters": [], "SecretList": [], "NextToken": "again"})),
        None => Answer::text(
            200,
            "text/xml",
            "<R><Credentials><AccessKeyId>ASIA1</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t\
             </SessionToken><Expiration>2999-01-01T00:00:00Z</Expiration></Credentials></R>",
        ),
    });
    let aws = aws(&front.url());
    for keys in ["byPath: /shop", "byTags: team=shop"] {
        let error = files(&class(&aws, &format!("- {{{keys}, directory: a}}"))).await.unwrap_err();
        assert!(error.to_string().contains("too many pages"), "{error}");
    }
    assert!(front.seen().len() < 40, "{}", front.seen().len());
}

#[tokio::test]
async fn a_listing_is_asked_for_in_the_other_region_while_the_first_one_is_out() {
    let moto = Moto::start();
    moto.put_parameter("eu-central-1", "/shop/key", "replica");
    let behind = moto.url().trim_start_matches("http://").to_owned();
    let front = FaultServer::http(move |seen| {
        let is_first = seen.header("authorization").is_some_and(|scope| scope.contains(REGION));
        match is_call(seen, "GetParametersByPath") && is_first {
            true => Answer::json(500, &json!({"__type": "InternalServerError"})),
            false => Answer::Forward(behind.clone()),
        }
    });
    let objects = "- {byPath: /shop, directory: a}";
    let source = source(&aws(&front.url()), &[("failoverRegion", "eu-central-1"), ("objects", objects)]);

    assert_eq!(files(&source).await.unwrap(), values([("key", "replica")]));
}
