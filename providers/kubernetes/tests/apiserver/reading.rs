use provider::{ErrorKind, Provider as _, SecretBytes};

use crate::fixture::{Namespace, fetch, pod, source};

#[tokio::test]
async fn a_pod_reads_the_secret_that_its_role_names_and_no_other() {
    let namespace = Namespace::new("named");
    namespace.put("private", "hidden");
    let till = namespace.pod_of("till");

    assert_eq!(fetch(&*namespace.source("web", "k"), &till).await.unwrap(), "one");
    let refused = fetch(&*namespace.source("private", "k"), &till).await.unwrap_err();

    assert_eq!(refused.kind(), ErrorKind::Denied);
}

#[tokio::test]
async fn another_service_account_is_refused_and_told_what_would_allow_it() {
    let namespace = Namespace::new("refused");

    let refused =
        fetch(&*namespace.source("web", "k"), &namespace.pod_of("stranger")).await.unwrap_err().to_string();

    for part in [
        "Secret refused/web as system:serviceaccount:refused:stranger",
        "the API server answered 403",
        "User \"system:serviceaccount:refused:stranger\" cannot get resource \"secrets\"",
        "Role in namespace refused",
        "resourceNames: [web], verbs: [get, watch]",
    ] {
        assert!(refused.contains(part), "{part:?} is not in {refused}");
    }
}

#[tokio::test]
async fn a_pod_reads_in_its_own_namespace_only() {
    let (own, other) = (Namespace::new("own"), Namespace::new("other"));
    own.put("web", "of-own");
    other.put("web", "of-other");

    let source = own.source("web", "k");
    assert_eq!(fetch(&*source, &own.pod_of("till")).await.unwrap(), "of-own");
    assert_eq!(fetch(&*source, &other.pod_of("till")).await.unwrap(), "of-other");

    // A token from another namespace. Kubelet never sends such a token.
    let crossed = pod("other", "till", &own.token("till", &[]));
    assert_eq!(fetch(&*source, &crossed).await.unwrap_err().kind(), ErrorKind::Denied);
}

#[tokio::test]
async fn a_secret_or_a_key_that_is_missing_is_not_found() {
    let namespace = Namespace::new("missing");
    let till = namespace.pod_of("till");

    for (secret, key) in [("absent", "k"), ("web", "absent")] {
        let missing = fetch(&*namespace.source(secret, key), &till).await.unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound, "{missing}");
    }
}

#[tokio::test]
async fn a_token_that_the_api_server_does_not_take_is_unauthenticated() {
    let namespace = Namespace::new("tokens");
    let source = namespace.source("web", "k");
    let foreign = namespace.token("till", &["--audience", "vault"]);

    for token in [foreign.as_str(), "hunter2", "two\nlines"] {
        let refused = fetch(&*source, &pod("tokens", "till", token)).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unauthenticated, "{refused}");
        assert!(!format!("{refused} {refused:?}").contains(token), "{refused}");
    }
}

#[tokio::test]
async fn a_host_reads_with_a_token_of_its_own() {
    let namespace = Namespace::new("host");
    let token = SecretBytes::from(namespace.token("till", &[]));
    let mut host = pod("host", "default", "");
    (host.pod, host.tokens) = (None, [].into());
    host.credentials.insert("token".to_owned(), token);

    assert_eq!(fetch(&*namespace.source("web", "k"), &host).await.unwrap(), "one");
}

#[tokio::test]
async fn the_version_is_the_api_servers_own() {
    let namespace = Namespace::new("version");
    let source = namespace.source("web", "k");
    let session = crate::fixture::session(&*source, &namespace.pod_of("till")).await;

    let object = crate::fixture::read(&*source, &*session).await.unwrap();

    let told = namespace.cluster.field(&["-n", "version", "secret/web"], ".metadata.resourceVersion");
    assert_eq!(object.version, told);
}

#[tokio::test]
async fn no_error_has_a_value_in_it() {
    let namespace = Namespace::new("canary");
    namespace.put("web", "hunter2");
    let till = namespace.pod_of("till");
    let provider = namespace.provider();
    let wrong = "- {objectName: file, secret: web, key: k, encoding: hex}";
    let encoded = provider.source("shop", &[("objects".to_owned(), wrong.to_owned())].into()).unwrap();
    let denied = namespace.pod_of("stranger");

    for error in [
        fetch(&*encoded, &till).await.unwrap_err(),
        fetch(&*source(&provider, "web", "absent"), &till).await.unwrap_err(),
        fetch(&*source(&provider, "web", "k"), &denied).await.unwrap_err(),
    ] {
        let told = format!("{error} {error:?}");
        assert!(!told.contains("hunter2") && !told.contains("aHVudGVyMg"), "{told}");
        for workload in [&till, &denied] {
            let token = workload.tokens[""].expose_str().unwrap();
            assert!(!told.contains(token), "{told}");
        }
    }
}
