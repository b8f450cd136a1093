//! No parameter and no answer makes the provider panic, and what it accepts stays one object of one vault.
#![no_main]

use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use provider::Reading;
use provider_azure::{Asked, AzureConfig, Call, Plan, Refusal, extract, reading};

/// A class with an object of each kind, in each form.
const OBJECTS: &str = "array:
- '{objectName: a, objectType: secret}'
- '{objectName: b, objectType: key}'
- '{objectName: c, objectType: cert}'
- '{objectName: d, objectType: secret, objectFormat: pfx, objectEncoding: base64}'
";

fuzz_target!(|texts: (&str, &str, &str, &[u8])| {
    let (objects, address, id, answer) = texts;
    let parameters = [
        ("keyvaultName", id),
        ("keyvaultURL", address),
        ("tenantID", id),
        ("clientID", id),
        ("cloudName", address),
        ("keyvaultCACertPath", address),
        ("objects", objects),
    ];
    let parameters = parameters.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    if let Err(faults) = Plan::new(&parameters, &AzureConfig::default()) {
        assert!(!faults.is_empty());
    }
    let request = provider::Request::shared(objects);
    if let Some(call) = Call::of_request(&request) {
        assert_eq!(Call::of_request(&call.request()), Some(call.clone()));
        let _ = reading(&call, answer.to_vec().into(), Timestamp::UNIX_EPOCH);
    }
    let class = [
        ("keyvaultName", "shop-kv"),
        ("tenantID", "t"),
        ("certAndKeyInSeparateFiles", "true"),
        ("objects", OBJECTS),
    ];
    let class = class.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let plan = Plan::new(&class, &AzureConfig::default()).expect("a class that is right");
    for index in 0..8 {
        let _ = extract(&plan, index, &Reading::new(answer.to_vec().into()), Timestamp::UNIX_EPOCH);
    }
    for asked in [Asked::Vault, Asked::Entra, Asked::Machine] {
        let refusal = Refusal { status: 403, retry_after: Some(id), redirected_to: None, body: answer };
        let told = refusal.error(asked, "what", &[], Timestamp::UNIX_EPOCH).to_string();
        assert!(!told.contains(char::is_control));
    }
});
