//! No parameter makes the provider panic, and what it accepts stays below the API's root.
#![no_main]

use libfuzzer_sys::fuzz_target;
use provider_vault::{Call, Plan, VaultConfig};

fuzz_target!(|texts: (&str, &str, &str, &str)| {
    let (objects, address, mount, certificate) = texts;
    let parameters = [
        ("roleName", "r"),
        ("objects", objects),
        ("vaultAddress", address),
        ("vaultAuthMountPath", mount),
        ("vaultCACertPath", certificate),
        ("vaultTLSClientCertPath", certificate),
        ("vaultTLSClientKeyPath", certificate),
    ];
    let parameters = parameters.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    if let Err(faults) = Plan::new(address, &parameters, &VaultConfig::default()) {
        assert!(!faults.is_empty());
    }
    if let Ok(call) = Call::new("GET", objects) {
        assert_eq!(Call::of_request(&call.request()), Some(call.clone()));
        assert!(!call.to_string().split('/').any(|component| component == ".."));
    }
});
