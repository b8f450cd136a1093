//! An API server that a test scripts. It gives answers that a real one gives only on bad days. Tests in `tests/cluster`
//! show what real ones answer.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::to_bytes;
use axum::http::{Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tower::service_fn;

/// The answer to one request.
#[derive(Debug, Clone)]
pub(super) enum Say {
    /// This body, with this HTTP status.
    Json(u16, Value),
    /// These events of a watch, and then its end.
    Events(Vec<Value>),
    /// No answer, ever.
    Hang,
    /// The connection breaks.
    Break,
}

/// A request.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) body: Value,
}

type Script = Box<dyn FnMut(&Asked) -> Say + Send>;

#[derive(Clone)]
pub(super) struct FakeApi {
    asked: Arc<Mutex<Vec<Asked>>>,
    script: Arc<Mutex<Script>>,
}

impl FakeApi {
    /// An API server that answers by `script`.
    pub(super) fn new(script: impl FnMut(&Asked) -> Say + Send + 'static) -> Self {
        Self { asked: Arc::default(), script: Arc::new(Mutex::new(Box::new(script))) }
    }

    /// An API server that gives these answers one after the other, and then hangs.
    pub(super) fn saying(answers: impl IntoIterator<Item = Say>) -> Self {
        let mut answers: VecDeque<_> = answers.into_iter().collect();
        Self::new(move |_| answers.pop_front().unwrap_or(Say::Hang))
    }

    /// All requests so far.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub(super) fn client(&self) -> Client {
        let api = self.clone();
        Client::new(
            service_fn(move |request: Request<Body>| {
                let api = api.clone();
                async move { api.answer(request).await }
            }),
            "default",
        )
    }

    async fn answer(&self, request: Request<Body>) -> std::io::Result<Response<Body>> {
        let (head, body) = request.into_parts();
        let body = to_bytes(axum::body::Body::new(body), usize::MAX).await.unwrap();
        let asked = Asked {
            method: head.method.to_string(),
            path: head.uri.to_string(),
            body: serde_json::from_slice(&body).unwrap_or_default(),
        };
        let say = (self.script.lock().unwrap())(&asked);
        self.asked.lock().unwrap().push(asked);
        match say {
            Say::Json(status, body) => Ok(respond(status, body.to_string())),
            Say::Events(events) => {
                Ok(respond(200, events.iter().map(|event| format!("{event}\n")).collect()))
            }
            Say::Hang => std::future::pending().await,
            Say::Break => Err(std::io::ErrorKind::ConnectionReset.into()),
        }
    }
}

fn respond(status: u16, body: String) -> Response<Body> {
    Response::builder().status(status).body(Body::from(body.into_bytes())).unwrap()
}

/// A refusal in the form that API servers use.
pub(super) fn refusal(code: u16, reason: &str, message: &str) -> Say {
    Say::Json(code, status(code, reason, message))
}

/// A `Status` object.
pub(super) fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message, "code": code})
}

/// Waits until `met` is true, in the test's time.
pub(super) async fn until(what: &str, mut met: impl FnMut() -> bool) {
    for _ in 0..100_000 {
        if met() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} never came");
}
