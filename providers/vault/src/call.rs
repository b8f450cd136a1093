use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use provider::{Ownership, Request};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::form_urlencoded;

/// One call to the API, in canonical form: calls that mean the same are equal, however a class writes them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// The method, in capitals.
    pub(crate) method: String,
    /// The path below `v1/`, not percent-encoded.
    pub(crate) path: String,
    /// The query, encoded, sorted by key.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) query: String,
    /// The body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) args: Option<BTreeMap<String, Value>>,
    /// Lifetime of a wrapped answer, in the server's notation for durations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) wrap: Option<String>,
    /// Whether it makes nothing, although its method is not GET.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) makes_nothing: bool,
}

impl Call {
    /// The call with `method` (GET if empty) and path `raw`.
    ///
    /// # Errors
    ///
    /// Why they are not a valid call.
    pub fn new(method: &str, raw: &str) -> Result<Self, &'static str> {
        let (path, query) = raw.split_once('?').unwrap_or((raw, ""));
        let path = path.strip_prefix('/').unwrap_or(path);
        let path = path.strip_prefix("v1/").unwrap_or(path);
        match refusal(path) {
            Some(reason) => Err(reason),
            None => Ok(Self {
                method: verb(method)?,
                path: path.to_owned(),
                query: sorted(query),
                args: None,
                wrap: None,
                makes_nothing: false,
            }),
        }
    }

    /// The request that makes this call.
    pub fn request(&self) -> Request {
        // Maps are sorted, so equal calls are equal texts.
        let text = serde_json::to_string(self).unwrap_or_default();
        Request { text: Arc::from(text), ownership: self.ownership() }
    }

    /// The call in a request that [`request`](Self::request) made.
    pub fn of_request(request: &Request) -> Option<Self> {
        serde_json::from_str(&request.text).ok()
    }

    /// A method other than GET, or a wrapped answer, creates something new, so the volume owns the answer.
    pub(crate) fn ownership(&self) -> Ownership {
        let only_reads = self.method == "GET" || self.makes_nothing;
        if only_reads && self.wrap.is_none() { Ownership::Shared } else { Ownership::Volume }
    }
}

/// Method and path. The query is left out, because it may hold what a log must not show.
impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

fn refusal(path: &str) -> Option<&'static str> {
    if path.trim_matches('/').is_empty() {
        return Some("it names no path");
    }
    if path.chars().any(char::is_control) {
        return Some("it has a control character");
    }
    // A path with a slash at its end lists a folder.
    let inner = path.strip_suffix('/').unwrap_or(path);
    inner.split('/').find_map(|component| match component {
        "" => Some("it has an empty component"),
        "." | ".." => Some("it has a `.` or `..` component"),
        _ => None,
    })
}

fn verb(raw: &str) -> Result<String, &'static str> {
    if raw.is_empty() {
        return Ok("GET".to_owned());
    }
    let plain = raw.len() <= 16 && raw.bytes().all(|byte| byte.is_ascii_alphabetic());
    if plain { Ok(raw.to_ascii_uppercase()) } else { Err("its method is no HTTP method") }
}

fn sorted(query: &str) -> String {
    let mut pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
    pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_path_means_the_same_with_and_without_v1_and_slash() {
        let plain = Call::new("", "secret/data/x").unwrap();
        for raw in ["/secret/data/x", "v1/secret/data/x", "/v1/secret/data/x"] {
            assert_eq!(Call::new("GET", raw).unwrap(), plain, "{raw}");
        }
    }

    #[test]
    fn a_query_is_part_of_the_call_and_its_order_is_not() {
        let call = |raw| Call::new("", raw).unwrap();
        assert_eq!(call("s/x?version=3&a=b"), call("s/x?a=b&version=3"));
        assert_ne!(call("s/x?version=3").request(), call("s/x?version=2").request());
        assert_eq!(call("s/x?version=3").to_string(), "GET s/x");
    }

    #[test]
    fn arguments_are_part_of_the_request_and_keep_their_types() {
        let with = |args: Value| {
            let mut call = Call::new("put", "pki/issue/x").unwrap();
            call.args = serde_json::from_value(args).unwrap();
            call.request()
        };
        assert_ne!(with(serde_json::json!({"ttl": 1})), with(serde_json::json!({"ttl": "1"})));
        assert_eq!(
            &*with(serde_json::json!({"b": true, "a": [1.5]})).text,
            r#"{"method":"PUT","path":"pki/issue/x","args":{"a":[1.5],"b":true}}"#
        );
        assert_eq!(with(serde_json::json!({})).ownership, Ownership::Volume);
        assert_eq!(Call::new("get", "s/x").unwrap().request().ownership, Ownership::Shared);
    }

    #[test]
    fn a_path_that_leaves_the_api_is_refused() {
        for raw in ["", "/", "v1/", "a/../../sys/x", "./a", "a//b", "//a", "a\n", "?x=1"] {
            assert!(Call::new("", raw).is_err(), "{raw:?}");
        }
        assert!(Call::new("G ET", "a").is_err());
    }

    proptest! {
        #[test]
        fn what_is_accepted_stays_below_v1_and_survives_its_text(raw in r"(/?v1)?[a-z/.%?=&# ]{0,24}|\PC{0,40}") {
            if let Ok(call) = Call::new("", &raw) {
                prop_assert!(!call.path.starts_with('/') && !call.path.split('/').any(|part| part == ".."));
                prop_assert_eq!(Call::of_request(&call.request()), Some(call.clone()));
                let again = Call::new("", &format!("/v1/{}?{}", call.path, call.query)).unwrap();
                prop_assert_eq!(again, call);
            }
        }
    }
}
