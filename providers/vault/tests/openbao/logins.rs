use std::sync::Arc;
use std::time::Duration;

use futures::future::{join_all, try_join_all};
use provider::{ErrorKind, Session, Source, Tenure, Workload};
use serde_json::json;
use testing::{Claims, OpenBao};

use crate::support::{class, leases, only, source, store, vault, with_credentials, with_token, workload};

const OBJECT: &str = "- {objectName: a, secretPath: secret/data/app, secretKey: key}";

fn put(bao: &OpenBao) {
    bao.put("secret", "app", &json!({"key": "v"}));
}

async fn shared(source: &dyn Source, workload: &Workload) -> Arc<dyn Session> {
    source.session(workload, Tenure::Shared).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn thirty_volumes_of_one_service_account_log_in_once() {
    let (bao, issuer) = store();
    let vault = vault(&bao.address());
    let workloads: Vec<_> =
        (0..30).map(|n| workload(&issuer, &format!("web-{n}"), &format!("v{n}"))).collect();

    let logins = workloads.iter().map(|workload| {
        let source = class(&vault, OBJECT);
        async move { source.session(workload, Tenure::Shared).await }
    });
    let sessions = try_join_all(logins).await.unwrap();

    assert_eq!(bao.requests("update", "auth/kubernetes/login"), 1);
    assert!(sessions.iter().all(|session| session.identity() == sessions[0].identity()));
}

#[tokio::test(flavor = "multi_thread")]
async fn at_a_jwt_mount_each_pod_logs_in_for_itself() {
    let (bao, issuer) = store();
    let vault = vault(&bao.address());
    let workloads: Vec<_> =
        (0..6).map(|n| workload(&issuer, &format!("web-{}", n / 2), &format!("v{n}"))).collect();
    let source = source(&vault, [("roleName", "app"), ("vaultAuthMountPath", "jwt"), ("objects", OBJECT)]);

    let logins = workloads.iter().map(|workload| source.session(workload, Tenure::Shared));
    let sessions = try_join_all(logins).await.unwrap();

    assert_eq!(bao.requests("update", "auth/jwt/login"), 3, "two volumes of one pod share");
    assert_ne!(sessions[0].identity(), sessions[2].identity());
}

#[tokio::test]
async fn a_role_bound_to_one_pod_serves_it_and_refuses_its_sibling() {
    let (bao, issuer) = store();
    put(&bao);
    bao.write(
        "auth/jwt/role/web-0",
        &json!({
            "role_type": "jwt", "user_claim": "sub", "bound_audiences": ["vault"], "token_policies": "app",
            "bound_claims": {"/kubernetes.io/pod/name": "web-0"},
        }),
    );
    let vault = vault(&bao.address());
    let source = source(&vault, [("roleName", "web-0"), ("vaultAuthMountPath", "jwt"), ("objects", OBJECT)]);
    let token = issuer.mint(&Claims::of("shop", "web").pod("web-1"));

    let bound = only(&*source, &workload(&issuer, "web-0", "v0")).await.unwrap();
    let sibling = only(&*source, &with_token(token.clone(), "web-1", "v1")).await.unwrap_err();

    assert_eq!(bound, "v");
    assert_eq!(sibling.kind(), ErrorKind::Unauthenticated);
    let told = sibling.to_string();
    assert!(told.contains("login of shop/web at auth/jwt as role web-0"), "{told}");
    assert!(told.contains("what the role binds") && !told.contains(&token), "{told}");
}

#[tokio::test]
async fn a_class_may_say_who_shares() {
    let (bao, issuer) = store();
    let vault = vault(&bao.address());
    let pods = [workload(&issuer, "web-0", "v0"), workload(&issuer, "web-1", "v1")];
    let class = |mount, share| {
        source(
            &vault,
            [
                ("roleName", "app"),
                ("vaultAuthMountPath", mount),
                ("secretfs.dev/share", share),
                ("objects", OBJECT),
            ],
        )
    };

    for (mount, share, logins) in [("kubernetes", "pod", 2), ("jwt", "service-account", 1)] {
        let source = class(mount, share);
        let _sessions =
            try_join_all(pods.iter().map(|pod| source.session(pod, Tenure::Shared))).await.unwrap();
        assert_eq!(bao.requests("update", &format!("auth/{mount}/login")), logins, "{mount}");
    }
}

#[tokio::test]
async fn another_service_account_is_another_login_and_a_forbidden_one_is_refused() {
    let (bao, issuer) = store();
    let vault = vault(&bao.address());
    let source = class(&vault, OBJECT);
    let _web = shared(&*source, &workload(&issuer, "web-0", "v0")).await;
    let mut batch = with_token(issuer.mint(&Claims::of("shop", "batch").pod("batch-0")), "batch-0", "v1");
    batch.identity.name = "batch".to_owned();

    let error = source.session(&batch, Tenure::Shared).await.unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert!(error.to_string().contains("login of shop/batch"), "{error}");
    assert!(error.to_string().contains("service account name not authorized"), "{error}");
}

#[tokio::test]
async fn a_login_that_nobody_holds_is_gone() {
    let (bao, issuer) = store();
    let vault = vault(&bao.address());
    let source = class(&vault, OBJECT);
    let pod = workload(&issuer, "web-0", "v0");

    drop(shared(&*source, &pod).await);
    drop(shared(&*source, &pod).await);

    assert_eq!(bao.requests("update", "auth/kubernetes/login"), 2);
}

#[tokio::test]
async fn a_login_that_ends_is_replaced_before() {
    let (bao, issuer) = store();
    bao.write("auth/kubernetes/role/app", &json!({
        "bound_service_account_names": "web", "bound_service_account_namespaces": "shop", "token_ttl": "2s",
    }));
    let vault = vault(&bao.address());
    let source = class(&vault, OBJECT);
    let pod = workload(&issuer, "web-0", "v0");
    let first = shared(&*source, &pod).await;
    assert!(leases(&first).validity().unwrap().renewable);

    while leases(&first).validity().unwrap().duration.get() > Duration::from_millis(150) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let second = shared(&*source, &pod).await;

    assert!(!Arc::ptr_eq(&first, &second));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_was_revoked_in_between_costs_one_more_login() {
    let (bao, issuer) = store();
    put(&bao);
    let vault = vault(&bao.address());
    let source = class(&vault, OBJECT);
    let pods: Vec<_> = (0..10).map(|n| workload(&issuer, &format!("web-{n}"), &format!("v{n}"))).collect();
    let sessions = join_all(pods.iter().map(|pod| shared(&*source, pod))).await;
    bao.write("sys/leases/revoke-prefix/auth/kubernetes/login", &json!({"sync": true}));

    let again = pods.iter().zip(&sessions).map(|(pod, session)| async {
        let error = session.read(&source.objects()[0].request).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Denied | ErrorKind::Unauthenticated), "{error}");
        session.discard();
        let session = shared(&*source, pod).await;
        session.read(&source.objects()[0].request).await.map(|_| session)
    });
    let again = try_join_all(again).await.unwrap();

    assert!(again.iter().all(|session| Arc::ptr_eq(session, &again[0])));
    assert_eq!(bao.requests("update", "auth/kubernetes/login"), 2);
}

#[tokio::test]
async fn a_volume_has_a_login_of_its_own_and_keeps_it() {
    let (bao, issuer) = store();
    let vault = vault(&bao.address());
    let source = class(&vault, OBJECT);
    let (one, two) = (workload(&issuer, "web-0", "v0"), workload(&issuer, "web-1", "v1"));

    let shared = shared(&*source, &one).await;
    let own = source.session(&one, Tenure::Volume).await.unwrap();
    let again = source.session(&one, Tenure::Volume).await.unwrap();
    let others = source.session(&two, Tenure::Volume).await.unwrap();

    assert!(Arc::ptr_eq(&own, &again));
    assert!(!Arc::ptr_eq(&own, &others) && !Arc::ptr_eq(&own, &shared));
    assert_eq!(own.identity(), shared.identity());
    assert!(leases(&own).claim("v0") && !leases(&own).claim("v1"));
}

#[tokio::test]
async fn a_login_that_one_volume_has_becomes_its_own_and_one_that_two_have_does_not() {
    let (bao, issuer) = store();
    let vault = vault(&bao.address());
    let source = class(&vault, OBJECT);
    let (one, two) = (workload(&issuer, "web-0", "v0"), workload(&issuer, "web-1", "v1"));

    let first = shared(&*source, &one).await;
    assert!(leases(&first).claim("v0"));
    let second = shared(&*source, &two).await;
    let again = shared(&*source, &one).await;

    assert!(Arc::ptr_eq(&source.session(&one, Tenure::Volume).await.unwrap(), &first));
    assert!(!Arc::ptr_eq(&first, &second), "nobody else is given it");
    assert!(Arc::ptr_eq(&second, &again));
    assert!(!leases(&second).claim("v0") && !leases(&second).claim("v1"));
}

#[tokio::test]
async fn a_missing_token_names_the_audience_and_where_to_add_it() {
    let (bao, issuer) = store();
    let vault = vault(&bao.address());
    let source = source(&vault, [("roleName", "app"), ("audience", "bank"), ("objects", OBJECT)]);

    let error = source.session(&workload(&issuer, "web-0", "v0"), Tenure::Shared).await.unwrap_err();

    assert_eq!(source.audience(), Some("bank"));
    let told = error.to_string();
    assert!(
        told.contains("\"bank\" (there is: \"vault\")") && told.contains("tokenRequests of the CSIDriver"),
        "{told}"
    );
}

#[tokio::test]
async fn an_approle_logs_in_with_the_workloads_credentials() {
    let (bao, _issuer) = store();
    put(&bao);
    bao.write("sys/auth/approle", &json!({"type": "approle"}));
    bao.write("auth/approle/role/app", &json!({"token_policies": "app"}));
    let role = bao.read("auth/approle/role/app/role-id")["data"]["role_id"].as_str().unwrap().to_owned();
    let secret = bao.write("auth/approle/role/app/secret-id", &json!({}));
    let secret = secret["data"]["secret_id"].as_str().unwrap().to_owned();
    let vault = vault(&bao.address());
    let source = source(&vault, [("secretfs.dev/auth", "approle"), ("objects", OBJECT)]);

    let right = with_credentials([("role-id", &format!("{role}\n")), ("secret-id", &secret)]);
    let wrong = with_credentials([("role-id", &role), ("secret-id", "5ecret-guess")]);

    assert_eq!(only(&*source, &right).await.unwrap(), "v");
    assert_eq!(source.audience(), None);
    let error = only(&*source, &wrong).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert!(!error.to_string().contains("5ecret-guess"), "{error}");
    let error = only(&*source, &with_credentials([("role_id", "x")])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoCredential);
    assert!(error.to_string().contains("\"role-id\" is missing"), "{error}");
    assert!(error.to_string().contains("nodePublishSecretRef"), "{error}");
}

#[tokio::test]
async fn a_token_is_used_as_it_is_and_another_is_another_identity() {
    let (bao, _issuer) = store();
    put(&bao);
    let make = || {
        let made = bao.write("auth/token/create", &json!({"policies": ["app"], "ttl": "1h"}));
        made["auth"]["client_token"].as_str().unwrap().to_owned()
    };
    let vault = vault(&bao.address());
    let source = source(&vault, [("secretfs.dev/auth", "token"), ("objects", OBJECT)]);
    let [one, two] = [make(), make()].map(|token| with_credentials([("token", &token)]));

    assert_eq!(only(&*source, &one).await.unwrap(), "v");
    let (one, two) = (shared(&*source, &one).await, shared(&*source, &two).await);
    assert_ne!(one.identity(), two.identity());
    assert!(leases(&one).remains().is_none(), "a token from the outside is not ours to end");
    leases(&one).revoke().await.unwrap();
    assert!(one.read(&source.objects()[0].request).await.is_ok());

    let error = only(&*source, &with_credentials([("token", "s.unknown")])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert!(!error.to_string().contains("s.unknown"), "{error}");
}

#[tokio::test]
async fn an_outage_at_the_login_is_everybodys_who_waited_and_nobodys_after() {
    let (bao, issuer) = store();
    put(&bao);
    let front = testing::FaultServer::http(|_| testing::Answer::json(503, &json!({"errors": ["sealed"]})));
    let vault = vault(&front.url());
    let source = class(&vault, OBJECT);
    let pods: Vec<_> = (0..10).map(|n| workload(&issuer, &format!("web-{n}"), &format!("v{n}"))).collect();

    let outcomes = join_all(pods.iter().map(|pod| source.session(pod, Tenure::Shared))).await;

    assert!(
        outcomes.iter().all(|outcome| outcome.as_ref().is_err_and(|e| e.kind() == ErrorKind::Unavailable))
    );
    assert_eq!(front.seen().len(), 1);
    front.forward(&bao.address());
    assert_eq!(only(&*source, &pods[0]).await.unwrap(), "v");
}
