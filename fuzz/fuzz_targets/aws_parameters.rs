//! No parameter and no answer makes the provider panic, and a request tells the call that it was made of.
#![no_main]

use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use provider_aws::{Asked, AwsConfig, Call, Keys, Plan, Refusal};

fuzz_target!(|texts: (&str, &str, &str, &str)| {
    let (objects, region, endpoint, other) = texts;
    let parameters = [
        ("objects", objects),
        ("region", region),
        ("failoverRegion", "eu-central-1"),
        ("endpoint", endpoint),
        ("pathTranslation", other),
        ("assumeRoleArn", "arn:aws:iam::111122223333:role/shop"),
        ("sessionTags", other),
    ];
    let parameters = parameters.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    if let Err(faults) = Plan::new(&parameters, &AwsConfig::default()) {
        assert!(!faults.is_empty());
    }
    if let Some(call) = Call::of_request(&provider::Request::shared(objects)) {
        assert_eq!(Call::of_request(&call.request()), Some(call));
    }
    let body = provider::SecretBytes::from(objects.to_owned());
    let _ = (Keys::of_json(&body, Timestamp::UNIX_EPOCH), Keys::of_xml(&body, Timestamp::UNIX_EPOCH));
    let refusal = Refusal { status: 400, retry_after: Some(other), body: objects.as_bytes() };
    let told = refusal.error(Asked::Read, "a", &[], Timestamp::UNIX_EPOCH);
    assert!(!told.to_string().contains('\n'));
});
