//! Whatever a store holds, it becomes PEM that gives itself again, or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tls_pair::{certificates, private_key};

fuzz_target!(|file: &[u8]| {
    for password in ["", "hunter2"] {
        if let Ok(key) = private_key(file, password) {
            assert_eq!(*private_key(key.as_bytes(), "").expect("a key of ours"), *key);
        }
        if let Ok(chain) = certificates(file, password) {
            assert_eq!(certificates(chain.as_bytes(), "").expect("certificates of ours"), chain);
        }
    }
});
