//! Faults of a store, and their effects: pods that have their files notice nothing, and new pods get a message with
//! object, reason and remedy.

use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::json;
use testing::{Answer, Authority, FaultServer, PodVolume, RunningNode, Seen};
use tonic::{Code, Status};

use super::support::{SOON, Shop, class, node, until};

const ONE: &str = "- {objectName: db/password, secretPath: secret/data/app, secretKey: key}";
const VALUE: &str = "value-of-the-first-version";

/// One fault: the answer to reads, and the message for a new pod.
struct Fault {
    name: &'static str,
    answer: Answer,
    code: Code,
    told: &'static [&'static str],
}

fn faults() -> Vec<Fault> {
    let away = |name, answer, told| Fault { name, answer, code: Code::Unavailable, told };
    let good = json!({"data": {"data": {"key": VALUE}, "metadata": {"version": 1}}}).to_string();
    vec![
        away("reset", Answer::Reset, &["127.0.0.1"]),
        away("status 500", Answer::json(500, &json!({"errors": ["disk full"]})), &["500", "disk full"]),
        Fault {
            name: "status 429",
            answer: Answer::json(429, &json!({"errors": []})).with("retry-after", "3"),
            // Asked once more at the time that the store named. A third time would be after the deadline.
            code: Code::DeadlineExceeded,
            told: &["429", "sheds load", "asked again later"],
        },
        away(
            "sealed",
            Answer::json(503, &json!({"errors": ["Vault is sealed"]})),
            &["503", "sealed", "unseal the store"],
        ),
        away("truncated", Answer::Truncated(good.clone().into()), &["broke off in the middle"]),
        away("100 MiB", Answer::Huge(100 << 20), &["longer than 2097152 bytes"]),
        away(
            "a web page",
            Answer::text(200, "text/html", "<html>hello</html>"),
            &["no JSON object", "proxy"],
        ),
        Fault {
            name: "other JSON",
            answer: Answer::json(200, &json!({"data": {"data": {"other": VALUE}}})),
            code: Code::NotFound,
            told: &["key"],
        },
        Fault {
            name: "hanging",
            answer: Answer::Hang,
            code: Code::DeadlineExceeded,
            told: &["did not answer within 4 s", "http://127.0.0.1:", "is it up"],
        },
        Fault {
            name: "a byte at a time",
            answer: Answer::Drip(good.into(), Duration::from_millis(80)),
            code: Code::DeadlineExceeded,
            told: &["did not answer within 4 s", "http://127.0.0.1:", "is it up"],
        },
        Fault {
            name: "status 403",
            answer: Answer::json(403, &json!({"errors": ["permission denied"]})),
            code: Code::PermissionDenied,
            told: &["403", "permission denied", "shop/other", "role shop", "policies of the role"],
        },
    ]
}

/// Forwards logins to the server at `url`, and answers reads with `answer`.
fn spoil(url: &str, answer: Answer) -> impl Fn(&Seen) -> Answer + Send + Sync + 'static {
    let url = url.trim_start_matches("http://").to_owned();
    move |seen| {
        if seen.target.contains("/data/") { answer.clone() } else { Answer::Forward(url.clone()) }
    }
}

/// Checks a message for people: it has the object and the reason, and never a value or a token.
fn check_message(name: &str, refused: &Status, code: Code, told: &[&str], pod: &PodVolume) {
    let message = refused.message();
    println!("{name}: {:?}: {message}", refused.code());
    assert_eq!(refused.code(), code, "{name}: {message}");
    assert_eq!(message.matches("object db/password:").count(), 1, "{name}: {message}");
    for part in told {
        assert!(message.contains(part), "{name}: {part:?} is missing in: {message}");
    }
    let hidden = pod.tokens.values().map(String::as_str).chain([VALUE, "hvs.", "s."]);
    for secret in hidden.filter(|secret| secret.len() > 2) {
        assert!(!message.contains(secret), "{name}: {message}");
    }
}

/// Republishes a served volume: the answer is OK, at once, and the file stays.
async fn republish(name: &str, node: &RunningNode, pod: &PodVolume) {
    let started = Instant::now();
    node.publish(pod).await.unwrap_or_else(|status| panic!("{name}: {status}"));
    println!("{name}: the republish took {:.1} ms", started.elapsed().as_secs_f64() * 1e3);
    assert_eq!(node.text(pod, "db/password").as_deref(), Some(VALUE), "{name}");
}

#[tokio::test]
async fn a_store_that_fails_hurts_no_pod_that_runs_tells_those_that_come_and_heals_by_itself() {
    let shop = Shop::start();
    shop.put("app", VALUE);
    let faults: Vec<_> = faults().into_iter().zip(0..).collect();
    let servers: Vec<_> = faults.iter().map(|_| FaultServer::before(&shop.bao.address())).collect();
    let of_store =
        |n: usize| class(&format!("app-{n}"), &servers[n].url(), ONE).with("secretfs.dev/timeout", "4s");
    let node = node(&faults.iter().map(|(_, n)| of_store(*n)).collect::<Vec<_>>()).await;
    let served = |n: usize| shop.pod(&format!("served-{n}"), &format!("app-{n}"));
    join_all(faults.iter().map(|(_, n)| async { node.publish(&served(*n)).await.unwrap() })).await;

    let suffer = async |fault: &Fault, n: usize| {
        servers[n].script(spoil(&shop.bao.address(), fault.answer.clone()));
        let next = shop.pod_of("other", &format!("next-{n}"), &format!("app-{n}"));
        let refused = node.publish(&next).await.expect_err(fault.name);
        check_message(fault.name, &refused, fault.code, fault.told, &next);
        republish(fault.name, &node, &served(n)).await;
        next
    };
    let waiting = join_all(faults.iter().map(|(fault, n)| suffer(fault, *n))).await;

    shop.put("app", "v2");
    servers.iter().for_each(|server| server.forward(&shop.bao.address()));
    let heal = async |(fault, n): &(Fault, usize), next: &PodVolume| {
        let started = Instant::now();
        node.text_becomes(&served(*n), "db/password", Some("v2"), SOON).await;
        println!("{}: healed after {:?}", fault.name, started.elapsed());
        node.publish_until_done(next).await;
        assert_eq!(node.text(next, "db/password").as_deref(), Some("v2"), "{}", fault.name);
    };
    join_all(faults.iter().zip(&waiting).map(|(fault, next)| heal(fault, next))).await;
    assert!(!node.log().contains(VALUE) && !node.audit().contains(VALUE));
}

#[tokio::test]
async fn a_server_whose_certificate_is_wrong_is_not_talked_to_and_the_message_says_what_is_wrong() {
    let (trusted, unknown) = (Authority::new(), Authority::new());
    let answer = |_: &Seen| Answer::json(200, &json!({}));
    let servers = [
        ("expired", FaultServer::https(&trusted.expired_server(&["localhost"]), answer), "expired", "renew"),
        (
            "another name",
            FaultServer::https(&trusted.server(&["elsewhere"]), answer),
            "another name",
            "vaultTLSServerName",
        ),
        (
            "unknown authority",
            FaultServer::https(&unknown.server(&["localhost"]), answer),
            "not trusted",
            "vaultCACertPath",
        ),
    ];
    let shop = Shop::start();
    let mut node = RunningNode::prepare(super::support::SECRETFS, &[]);
    let certificates = node.path("tls");
    std::fs::create_dir(&certificates).unwrap();
    std::fs::write(certificates.join("ca.pem"), trusted.pem()).unwrap();
    node.flag("--tls-dir", certificates.to_str().unwrap());
    for (n, (_, server, _, _)) in servers.iter().enumerate() {
        class(&format!("app-{n}"), &server.url(), ONE).with("vaultCACertPath", "/ca.pem").serve(&node);
    }
    node.start_node().await;

    for (n, (name, server, reason, remedy)) in servers.iter().enumerate() {
        let pod = shop.pod(&format!("web-{n}"), &format!("app-{n}"));
        let refused = node.publish(&pod).await.unwrap_err();
        check_message(name, &refused, Code::Unavailable, &[reason, remedy], &pod);
        assert!(server.seen().is_empty(), "{name}: no token was sent");
    }
}

#[tokio::test]
async fn openbao_sealed_frozen_and_without_a_grant_keeps_files_and_each_heals_by_itself() {
    let shop = Shop::start();
    shop.put("app", VALUE);
    let class = shop.class("app", ONE).with("secretfs.dev/timeout", "3s");
    let node = node(&[class]).await;
    let pod = shop.pod("web-0", "app");
    node.publish(&pod).await.unwrap();
    // Each has an account of its own, because a reading for one account may serve the account's next pod.
    let [one, two, three] =
        ["other", "third", "fourth"].map(|account| shop.pod_of(account, &format!("{account}-0"), "app"));

    shop.bao.seal();
    let refused = node.publish(&one).await.unwrap_err();
    check_message("sealed", &refused, Code::Unavailable, &["503", "unseal"], &one);
    republish("sealed", &node, &pod).await;
    shop.bao.unseal();
    node.publish_until_done(&one).await;

    shop.withdraw_grant();
    let refused = node.publish(&two).await.unwrap_err();
    let told = &["403", "shop/third", "auth/kubernetes", "role shop", "policies of the role"];
    check_message("no grant", &refused, Code::PermissionDenied, told, &two);
    republish("no grant", &node, &pod).await;
    shop.grant();
    node.publish_until_done(&two).await;

    shop.bao.freeze();
    let refused = node.publish(&three).await.unwrap_err();
    check_message("frozen", &refused, Code::DeadlineExceeded, &["did not answer within 3 s"], &three);
    republish("frozen", &node, &pod).await;
    let started = Instant::now();
    node.unpublish(&two).await.unwrap();
    println!("frozen: the unpublish took {:.1} ms", started.elapsed().as_secs_f64() * 1e3);
    shop.bao.thaw();
    shop.put("app", "v2");
    node.text_becomes(&pod, "db/password", Some("v2"), SOON).await;
}

#[tokio::test]
async fn a_deleted_secret_is_withdrawn_after_two_polls_and_one_that_is_not_found_stays() {
    let shop = Shop::start();
    for path in ["deleted", "lost"] {
        shop.put(path, VALUE);
    }
    let object =
        |name: &str| format!("- {{objectName: db/password, secretPath: secret/data/{name}, secretKey: key}}");
    let node = node(&["deleted", "lost"].map(|name| shop.class(name, &object(name)))).await;
    let (deleted, lost) = (shop.pod("deleted", "deleted"), shop.pod("lost", "lost"));
    node.publish(&deleted).await.unwrap();
    node.publish(&lost).await.unwrap();

    let started = Instant::now();
    shop.bao.delete("secret/data/deleted");
    shop.bao.delete("secret/metadata/lost");
    for (name, pod, told) in [("deleted", &deleted, "restore a version"), ("lost", &lost, "write the secret")]
    {
        let next = shop.pod_of("other", &format!("next-{name}"), name);
        let refused = node.publish(&next).await.unwrap_err();
        check_message(name, &refused, Code::NotFound, &["404", told], &next);
        republish(name, &node, pod).await;
    }
    let target = node.target(&deleted);
    until(|| !target.join("db/password").exists(), || node.log()).await;

    println!("a deleted secret was withdrawn after {:?}", started.elapsed());
    assert!(started.elapsed() >= Duration::from_secs(30), "two answers 30 s apart make a withdrawal");
    node.publish(&deleted).await.unwrap();
    republish("lost", &node, &lost).await;
    shop.put("deleted", "v2");
    node.text_becomes(&deleted, "db/password", Some("v2"), SOON).await;
    assert!(node.audit().lines().any(|line| line.contains(r#""operation":"withdraw""#)));
}

crate::modes::again_in_mode_fuse! {
    a_store_that_fails_hurts_no_pod_that_runs_tells_those_that_come_and_heals_by_itself,
    a_server_whose_certificate_is_wrong_is_not_talked_to_and_the_message_says_what_is_wrong,
    openbao_sealed_frozen_and_without_a_grant_keeps_files_and_each_heals_by_itself,
    a_deleted_secret_is_withdrawn_after_two_polls_and_one_that_is_not_found_stays,
}
