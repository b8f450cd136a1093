use std::time::Duration;

use provider::ErrorKind;
use provider_cyberark::{CyberArk, CyberArkConfig, Patience};
use serde_json::json;
use testing::Ccp;

use crate::support::{cyberark, shown, source, workload};

const OBJECTS: &str = "- {objectName: x, object: a}";

#[tokio::test]
async fn each_fault_of_the_store_is_told_by_object_reason_and_remedy_and_heals() {
    let ccp = Ccp::start();
    let client = ccp.client("shop");
    ccp.application("shop", "shop", &["Shop"]);
    ccp.account(&json!({"Safe": "Shop", "Name": "a", "Content": "p"}));
    let cyberark = cyberark(&ccp);
    let (class, workload) = (source(&cyberark, OBJECTS, &[]), workload(&client));
    for (status, code, kind, remedy) in [
        (404, "APPAP004E", ErrorKind::NotFound, "members of the safe"),
        (403, "APPAP008E", ErrorKind::Denied, "appId"),
        (403, "APPAP306E", ErrorKind::Unauthenticated, "certificate"),
        (400, "APPAP229E", ErrorKind::Invalid, "narrower"),
        (500, "APPAP007E", ErrorKind::Unavailable, ""),
    ] {
        ccp.fault("Accounts", 1, status, &json!({"ErrorCode": code, "ErrorMsg": "it is so"}));
        let error = shown(&*class, &workload).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        let told = error.to_string();
        assert!(told.contains("account Safe=Shop;Object=a as shop/web"), "{told}");
        assert!(told.contains(code) && told.contains("it is so") && told.contains(remedy), "{told}");
        assert_eq!(shown(&*class, &workload).await.unwrap(), "p", "after {status}");
    }
}

#[tokio::test]
async fn a_server_that_is_away_is_given_up_in_time() {
    let client = testing::Authority::new().client("shop");
    let patience = Patience { first_byte: Duration::from_millis(200), ..Patience::default() };
    // Nobody listens there.
    let url = Some("https://127.0.0.1:9".to_owned());
    let cyberark = CyberArk::new(CyberArkConfig { url, patience, ..CyberArkConfig::default() }).unwrap();
    let error = shown(&*source(&cyberark, OBJECTS, &[]), &workload(&client)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("refuses"), "{error}");
}
