use std::sync::Arc;

use provider::{ErrorKind, Tenure, Workload};

use crate::support::{HOST, conjur, shown, source, stub, without_token, workload};

const SECRETS: (&str, &str) = ("secrets", "- a: shop/a\n");

#[tokio::test]
async fn a_host_may_be_bound_to_a_pod_so_pods_share_a_login_only_if_the_class_says_so() {
    let (stub, issuer) = stub();
    let conjur = conjur(&stub);
    let share = |who| ("secretfs.dev/share", who);
    for (class, shared) in [
        (source(&conjur, [SECRETS]), false),
        (source(&conjur, [SECRETS, share("pod")]), false),
        (source(&conjur, [SECRETS, share("service-account")]), true),
    ] {
        let before = stub.asked("/authenticate");
        let one = class.session(&workload(&issuer, "web-0", "v1"), Tenure::Shared).await.unwrap();
        let two = class.session(&workload(&issuer, "web-1", "v2"), Tenure::Shared).await.unwrap();
        assert_eq!(Arc::ptr_eq(&one, &two), shared);
        assert_eq!(one.identity() == two.identity(), shared);
        assert_eq!(stub.asked("/authenticate") - before, if shared { 1 } else { 2 });
    }
}

#[tokio::test]
async fn a_host_that_the_class_names_is_asked_for_and_conjur_judges_whose_it_is() {
    let (stub, issuer) = stub();
    stub.trust("host/shop/other", "shop:other");
    stub.put("shop/a", b"A");
    let conjur = conjur(&stub);
    let workload = workload(&issuer, "web-0", "v1");

    let own = source(&conjur, [SECRETS, ("identity", HOST)]);
    assert_eq!(shown(&*own, &workload).await.unwrap(), "A");
    assert_eq!(stub.asked("/authn-jwt/kube/acme/host%2Fshop%2Fweb/authenticate"), 1);

    let other = source(&conjur, [SECRETS, ("identity", "host/shop/other")]);
    let error = shown(&*other, &workload).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert!(error.to_string().contains("as host/shop/other"), "{error}");
}

#[tokio::test]
async fn an_api_key_that_comes_with_the_volume_needs_no_token_and_is_shared_by_who_has_it() {
    let (stub, _) = stub();
    stub.put("shop/a", b"A");
    stub.api_key("host/batch", "k3y");
    stub.permit("host/batch", "shop/.*", &["execute"]);
    let conjur = conjur(&stub);
    let class = source(&conjur, [SECRETS, ("authnId", "authn")]);
    let with = |pod: &str, key: &str| {
        let credentials = [("login", "host/batch\n"), ("apiKey", key)];
        let credentials = credentials.map(|(name, text)| (name.to_owned(), text.to_owned().into()));
        Workload { credentials: credentials.into(), ..without_token(pod, pod) }
    };

    assert_eq!(class.audience(), None);
    assert_eq!(shown(&*class, &with("web-0", "k3y\n")).await.unwrap(), "A");
    let one = class.session(&with("web-0", "k3y"), Tenure::Shared).await.unwrap();
    let two = class.session(&with("web-1", "k3y"), Tenure::Shared).await.unwrap();
    assert!(Arc::ptr_eq(&one, &two));
    assert!(!one.identity().contains("k3y"), "{}", one.identity());

    let wrong = shown(&*class, &with("web-2", "other")).await.unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::Unauthenticated);
    assert!(!wrong.to_string().contains("other"), "{wrong}");
    let none = shown(&*class, &without_token("web-3", "v")).await.unwrap_err();
    assert_eq!(none.kind(), ErrorKind::NoCredential);
    assert!(
        none.to_string().contains("login") && none.to_string().contains("nodePublishSecretRef"),
        "{none}"
    );
}

#[tokio::test]
async fn trap_no_token_it_is_told_which_audience_is_missing() {
    let (stub, _) = stub();
    let conjur = conjur(&stub);
    let error = shown(&*source(&conjur, [SECRETS]), &without_token("web-0", "v1")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoCredential);
    let told = error.to_string();
    assert!(told.contains("\"conjur\"") && told.contains("tokenRequests"), "{told}");
}

#[tokio::test]
async fn a_token_that_ended_is_told_and_the_next_login_reads_again() {
    let (stub, issuer) = stub();
    stub.put("shop/a", b"A");
    let conjur = conjur(&stub);
    let class = source(&conjur, [SECRETS]);
    let session = class.session(&workload(&issuer, "web-0", "v1"), Tenure::Shared).await.unwrap();
    stub.expire();

    let request = &class.objects()[0].request;
    assert_eq!(session.read(request).await.unwrap_err().kind(), ErrorKind::Unauthenticated);
    session.discard();
    let session = class.session(&workload(&issuer, "web-0", "v1"), Tenure::Shared).await.unwrap();
    assert!(session.read(request).await.is_ok());
}
