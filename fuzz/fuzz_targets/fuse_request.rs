//! Whatever bytes a request has, it is parsed or refused, and what is parsed lies within the bytes.
#![no_main]

use fuse_session::Agreed;
use fuse_session::wire::{Operation, REQUEST_MAX, Request, RequestError};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let request = match Request::parse(bytes) {
        Ok(request) => request,
        Err(RequestError::Nameless) => return assert!(bytes.len() < 40),
        Err(RequestError::Malformed(..)) => return,
    };
    let is_name = |name: &&[u8]| !name.is_empty() && name.len() <= REQUEST_MAX && !name.contains(&0);
    match request.operation {
        Operation::Lookup(name) | Operation::Unlink(name) | Operation::RemoveDirectory(name) => {
            assert!(is_name(&name) && !name.contains(&b'/'));
        }
        Operation::Link(name, target) => assert!(is_name(&name) && !name.contains(&b'/') && is_name(&target)),
        Operation::Rename { from, to, .. } => {
            assert!([from, to].iter().all(|name| is_name(name) && !name.contains(&b'/')));
        }
        Operation::Init(init) => {
            let agreed = Agreed::with(&init);
            assert!(agreed.is_none_or(|agreed| agreed.to_string().parse() == Ok(agreed)));
        }
        _ => {}
    }
});
