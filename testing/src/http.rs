use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, RequestBuilder};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;

use crate::background::wait;

/// A client for plain HTTP that ignores the environment, keeps no connections and waits at most 20 seconds.
pub fn http_client() -> Client {
    let tls = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("protocol versions")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .timeout(Duration::from_secs(20))
        // No idle connections, because a server may be stopped and started again.
        .pool_max_idle_per_host(0)
        .build()
        .expect("an HTTP client")
}

/// Status and answer of a request with `body`; status 0 if there was no answer.
pub(crate) fn asked(request: RequestBuilder, body: Option<&Value>) -> (u16, Value) {
    let request = match body {
        Some(body) => request.json(body),
        None => request,
    };
    wait(async move {
        let Ok(response) = request.send().await else { return (0, Value::Null) };
        let status = response.status().as_u16();
        (status, response.json().await.unwrap_or(Value::Null))
    })
}
