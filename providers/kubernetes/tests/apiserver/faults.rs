use std::time::Duration;

use provider::{Error, ErrorKind};
use provider_kubernetes::{Kubernetes, KubernetesConfig};
use testing::{Answer, Authority};

use crate::fixture::{Scripted, fetch, pod, secret, source};

async fn refusal(scripted: &Scripted) -> Error {
    fetch(&*scripted.source(), &pod("shop", "till", "t")).await.unwrap_err()
}

#[tokio::test]
async fn an_answer_that_is_no_answer_is_an_outage() {
    for answer in [
        Answer::Reset,
        Answer::Truncated(vec![b'x'; 100]),
        Answer::Huge(5 << 20),
        Answer::Endless(5 << 20),
        Answer::text(200, "text/html", "<html>hunter2</html>"),
        Answer::text(404, "text/html", "<html>hunter2</html>"),
        Answer::text(302, "text/html", "").with("location", "https://example.com/"),
    ] {
        let scripted = Scripted::new({
            let answer = answer.clone();
            move |_| answer.clone()
        });
        let told = refusal(&scripted).await;
        assert_eq!(told.kind(), ErrorKind::Unavailable, "{answer:?}");
        assert!(!told.to_string().contains("hunter2"), "{told}");
    }
}

#[tokio::test]
async fn an_api_server_that_hangs_is_given_up_in_time() {
    let mut scripted = Scripted::new(|_| Answer::Hang);
    scripted.config.total = Duration::from_millis(200);

    let told = refusal(&scripted).await;

    assert_eq!(told.kind(), ErrorKind::Unavailable);
    assert!(told.to_string().contains("did not answer in time"), "{told}");
}

#[tokio::test]
async fn an_api_server_that_sheds_load_says_how_long_to_wait() {
    let scripted =
        Scripted::new(|_| Answer::text(429, "text/plain", "too many requests").with("retry-after", "7"));

    let told = refusal(&scripted).await;

    assert_eq!((told.kind(), told.wait()), (ErrorKind::Unavailable, Some(Duration::from_secs(7))));
}

#[tokio::test]
async fn a_certificate_of_a_stranger_is_not_trusted() {
    let mut scripted = Scripted::new(|_| secret("1"));
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("other.pem");
    std::fs::write(&other, Authority::new().pem()).unwrap();
    scripted.config.ca = Some(other);

    let told = refusal(&scripted).await;

    assert_eq!(told.kind(), ErrorKind::Unavailable);
    assert!(told.to_string().contains("--kubernetes-ca"), "{told}");
    assert!(scripted.server.seen().is_empty(), "nothing was sent");
}

#[tokio::test]
async fn authorities_that_are_replaced_are_read_again() {
    let scripted = Scripted::new(|_| secret("1"));
    let ca = scripted.config.ca.clone().unwrap();
    let right = std::fs::read(&ca).unwrap();
    std::fs::write(&ca, Authority::new().pem()).unwrap();
    let source = scripted.source();
    let till = pod("shop", "till", "t");
    fetch(&*source, &till).await.unwrap_err();

    std::fs::write(&ca, right).unwrap();

    assert_eq!(fetch(&*source, &till).await.unwrap(), "one");
}

#[tokio::test]
async fn without_an_address_it_says_what_to_set() {
    let nowhere = Kubernetes::new(&KubernetesConfig::default()).unwrap();

    let told = fetch(&*source(&nowhere, "web", "k"), &pod("shop", "till", "t")).await.unwrap_err();

    assert!(told.to_string().contains("--kubernetes-api-server"), "{told}");
    for address in ["10.0.0.1:443", "http://10.0.0.1"] {
        let config = KubernetesConfig { api_server: Some(address.to_owned()), ..KubernetesConfig::default() };
        assert!(Kubernetes::new(&config).is_err(), "{address}");
    }
}
