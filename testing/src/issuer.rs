use std::net::SocketAddr;
use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};
use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::background::{Running, wait};
use crate::node::PodVolume;

/// Does what a cluster does for stores that check service accounts: signs their tokens, publishes the keys (OIDC
/// discovery) and reviews tokens (TokenReview).
#[derive(Debug)]
pub struct Issuer {
    signer: Arc<Signer>,
    _server: Running,
}

/// The claims of a token.
#[derive(Debug, Clone)]
pub struct Claims {
    /// Namespace of the service account.
    pub namespace: String,
    /// Name of the service account. Its uid is made from both names.
    pub service_account: String,
    /// Name and uid of the pod to which the token is bound.
    pub pod: Option<(String, String)>,
    /// The audience of the token.
    pub audience: String,
    /// Lifetime in seconds. Negative for a token that has expired.
    pub seconds: i64,
}

impl Claims {
    /// The claims of `service_account` for the audience `vault`, with a lifetime of ten minutes.
    pub fn of(namespace: &str, service_account: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            service_account: service_account.to_owned(),
            pod: None,
            audience: "vault".to_owned(),
            seconds: 600,
        }
    }

    /// Binds the token to a pod. The pod's uid is that of [`PodVolume`].
    #[must_use]
    pub fn pod(mut self, name: &str) -> Self {
        self.pod = Some((name.to_owned(), format!("uid-{name}")));
        self
    }

    /// Sets another audience.
    #[must_use]
    pub fn audience(mut self, audience: &str) -> Self {
        audience.clone_into(&mut self.audience);
        self
    }

    /// Sets another lifetime.
    #[must_use]
    pub fn seconds(mut self, seconds: i64) -> Self {
        self.seconds = seconds;
        self
    }
}

impl Issuer {
    /// Starts an issuer with a new key.
    pub fn start() -> Self {
        let (listener, address) = wait(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port on 127.0.0.1");
            let address = listener.local_addr().expect("the port just bound");
            (listener, address)
        });
        let signer = Arc::new(Signer::new(address));
        let routes = routes(Arc::clone(&signer));
        let server = Running::start(async move {
            axum::serve(listener, routes).await.expect("the issuer to serve");
        });
        Self { signer, _server: server }
    }

    /// The issuer's URL, which is also the cluster's API address for token reviews.
    pub fn url(&self) -> &str {
        &self.signer.url
    }

    /// A pod of `namespace` with `service_account` and a volume of `class`, with the token that kubelet would send for
    /// the audience `vault`.
    pub fn pod(&self, namespace: &str, service_account: &str, name: &str, class: &str) -> PodVolume {
        let token = self.mint(&Claims::of(namespace, service_account).pod(name));
        let pod = PodVolume::new(name, class).token("vault", token);
        PodVolume { namespace: namespace.to_owned(), service_account: service_account.to_owned(), ..pod }
    }

    /// A signed token.
    pub fn mint(&self, claims: &Claims) -> String {
        self.signer.sign(&self.signer.payload(claims))
    }
}

#[derive(Debug)]
struct Signer {
    url: String,
    key: EcdsaKeyPair,
}

impl Signer {
    fn new(address: SocketAddr) -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("an ECDSA key");
        Self { url: format!("http://{address}"), key }
    }

    fn payload(&self, claims: &Claims) -> Value {
        let Claims { namespace, service_account, pod, audience, seconds } = claims;
        let now = Timestamp::now().as_second();
        let mut kubernetes = json!({
            "namespace": namespace,
            "serviceaccount": {"name": service_account, "uid": format!("uid-of-{namespace}-{service_account}")},
        });
        if let Some((name, uid)) = pod {
            kubernetes["pod"] = json!({"name": name, "uid": uid});
        }
        json!({
            "iss": self.url,
            "sub": format!("system:serviceaccount:{namespace}:{service_account}"),
            "aud": [audience],
            "iat": now.min(now + seconds - 1),
            "nbf": now.min(now + seconds - 1),
            "exp": now + seconds,
            "jti": format!("{:032x}", fastrand::u128(..)),
            "kubernetes.io": kubernetes,
        })
    }

    fn sign(&self, payload: &Value) -> String {
        let header = json!({"alg": "ES256", "kid": "1", "typ": "JWT"});
        let signed = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header.to_string()),
            URL_SAFE_NO_PAD.encode(payload.to_string())
        );
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes()).expect("a signature");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// The claims of a token, if this issuer signed it and it has not expired.
    fn verify(&self, token: &str) -> Option<Value> {
        let (signed, signature) = token.rsplit_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.key.public_key().as_ref())
            .verify(signed.as_bytes(), &signature)
            .ok()?;
        let payload = URL_SAFE_NO_PAD.decode(signed.split_once('.')?.1).ok()?;
        let claims: Value = serde_json::from_slice(&payload).ok()?;
        (claims["exp"].as_i64()? > Timestamp::now().as_second()).then_some(claims)
    }

    fn keys(&self) -> Value {
        // The point is uncompressed: 0x04, then both coordinates.
        let point = self.key.public_key().as_ref();
        json!({"keys": [{
            "kty": "EC", "alg": "ES256", "use": "sig", "kid": "1", "crv": "P-256",
            "x": URL_SAFE_NO_PAD.encode(&point[1..33]),
            "y": URL_SAFE_NO_PAD.encode(&point[33..65]),
        }]})
    }
}

fn routes(signer: Arc<Signer>) -> Router {
    Router::new()
        .route("/.well-known/openid-configuration", get(discovery))
        .route("/openid/v1/jwks", get(|State(signer): State<Arc<Signer>>| async move { Json(signer.keys()) }))
        .route("/apis/authentication.k8s.io/v1/tokenreviews", post(review))
        .with_state(signer)
}

async fn discovery(State(signer): State<Arc<Signer>>) -> Json<Value> {
    Json(json!({
        "issuer": signer.url,
        "jwks_uri": format!("{}/openid/v1/jwks", signer.url),
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    }))
}

async fn review(State(signer): State<Arc<Signer>>, Json(mut review): Json<Value>) -> Json<Value> {
    let claims = review["spec"]["token"].as_str().and_then(|token| signer.verify(token));
    review["status"] = claims.map_or_else(refusal, |claims| {
        json!({
            "authenticated": true,
            "user": {
                "username": claims["sub"],
                "uid": claims["kubernetes.io"]["serviceaccount"]["uid"],
                "groups": ["system:serviceaccounts"],
            },
            "audiences": claims["aud"],
        })
    });
    Json(review)
}

fn refusal() -> Value {
    json!({"authenticated": false, "error": "the token is not of this issuer or has expired"})
}
