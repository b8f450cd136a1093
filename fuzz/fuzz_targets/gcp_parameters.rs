//! No parameter and no key file makes the provider panic, and what it accepts stays at the hosts that the class names.
#![no_main]

use libfuzzer_sys::fuzz_target;
use provider::SecretBytes;
use provider_gcp::{GcpConfig, KeyFile, Plan, Resource};

const OAUTH: &str = "https://oauth2.googleapis.com";

fuzz_target!(|texts: (&str, &str, &str, &str)| {
    let (secrets, endpoint, provider, pool) = texts;
    let parameters = [
        ("secrets", secrets),
        ("endpoint", endpoint),
        ("workloadIdentityProvider", provider),
        ("workloadIdentityPool", pool),
        ("serviceAccount", pool),
        ("caCertPath", endpoint),
    ];
    let parameters = parameters.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    if let Err(faults) = Plan::new(&parameters, &GcpConfig::default()) {
        assert!(!faults.is_empty());
    }
    if let Ok(resource) = Resource::parse(secrets) {
        let name = resource.to_string();
        assert!(!name.split('/').any(|component| matches!(component, "" | "." | "..")));
        assert_eq!(Resource::parse(&name), Ok(resource));
    }
    if let Ok(key) = KeyFile::read(&SecretBytes::from(secrets.to_owned()), OAUTH) {
        assert!(key.claims(0).is_ascii());
    }
});
