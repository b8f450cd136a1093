//! Activation and expiry dates of a vault.

use jiff::Timestamp;
use provider::{ErrorKind, Span, Tenure};
use serde_json::json;

use crate::support::{CLIENT, Cloud, array};

const ONE: &str = "objectName: a, objectType: secret";
const HOUR: i64 = 3_600;

fn with_dates(cloud: &Cloud, attributes: &serde_json::Value) {
    let version = cloud.vault.put_into("shop-kv", "a", "v");
    cloud.vault.attributes_in("shop-kv", "a", &version, attributes);
}

fn now() -> i64 {
    Timestamp::now().as_second()
}

#[tokio::test]
async fn a_version_is_not_shown_before_its_activation_date_and_is_due_then() {
    let cloud = Cloud::start();
    with_dates(&cloud, &json!({"nbf": now() + HOUR}));
    let source = cloud.class(ONE);
    let session = source.session(&cloud.workload("web-0"), Tenure::Shared).await.unwrap();

    let reading = session.read(&source.objects()[0].request).await.unwrap();
    let error = source.extract(0, &reading).unwrap_err();

    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("not valid before"), "{error}");
    let due = reading.validity.unwrap().duration;
    assert!(due > Span::from_secs(3_590) && due <= Span::from_secs(3_600), "{due:?}");
}

#[tokio::test]
async fn what_has_expired_is_kept_or_removed_as_the_class_says() {
    let cloud = Cloud::start();
    with_dates(&cloud, &json!({"exp": now() - 1}));
    let objects = array(ONE);
    let class = |on_expired| {
        cloud.source(&[("clientID", CLIENT), ("secretfs.dev/on-expired", on_expired), ("objects", &objects)])
    };

    assert_eq!(cloud.only(&*cloud.class(ONE)).await.unwrap(), "v", "by default it is kept");
    assert_eq!(cloud.only(&*class("keep")).await.unwrap(), "v");
    let error = cloud.files(&*class("remove")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Revoked);
    assert!(error.to_string().contains("it expired on"), "{error}");
}
