//! An issuer on this machine: a listener that publishes what it is told to, counts, and can be slow
//! or ill.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use chrono::{DateTime, Utc};
use jsonwebtoken::{EncodingKey, jwk::Jwk};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

use super::{Algorithm, access_claims, signed};

/// A key pair of an issuer, made for these tests and used nowhere else.
#[derive(Clone)]
pub(super) struct Pair {
    pub(super) kid: &'static str,
    pub(super) algorithm: Algorithm,
    pub(super) key: EncodingKey,
}

impl Pair {
    pub(super) fn rsa(kid: &'static str) -> Self {
        let pem = match kid {
            "r2" => include_bytes!("keys/rsa_2.pem").as_slice(),
            _ => include_bytes!("keys/rsa_1.pem").as_slice(),
        };
        Self {
            kid,
            algorithm: Algorithm::Rs256,
            key: EncodingKey::from_rsa_pem(pem).unwrap(),
        }
    }

    pub(super) fn elliptic(kid: &'static str) -> Self {
        let pem = match kid {
            "e2" => include_bytes!("keys/p256_2.pem").as_slice(),
            _ => include_bytes!("keys/p256_1.pem").as_slice(),
        };
        Self {
            kid,
            algorithm: Algorithm::Es256,
            key: EncodingKey::from_ec_pem(pem).unwrap(),
        }
    }

    pub(super) fn edwards(kid: &'static str) -> Self {
        Self {
            kid,
            algorithm: Algorithm::EdDsa,
            key: EncodingKey::from_ed_pem(include_bytes!("keys/ed25519_1.pem")).unwrap(),
        }
    }

    /// The public half, as it is published.
    pub(super) fn public(&self) -> Value {
        let jwk = Jwk::from_encoding_key(&self.key, self.algorithm.of_library()).unwrap();
        let mut jwk = serde_json::to_value(jwk).unwrap();
        jwk["kid"] = json!(self.kid);
        jwk["use"] = json!("sig");
        jwk
    }

    pub(super) fn header(&self) -> Value {
        json!({ "alg": self.algorithm, "kid": self.kid, "typ": "at+jwt" })
    }

    pub(super) fn sign(&self, claims: &Value) -> String {
        self.sign_as(&self.header(), claims)
    }

    pub(super) fn sign_as(&self, header: &Value, claims: &Value) -> String {
        signed(
            header.to_string(),
            claims.to_string(),
            &self.key,
            self.algorithm.of_library(),
        )
    }
}

#[derive(Clone)]
pub(super) enum Answer {
    Json(Value),
    Raw(String),
    Status(u16),
    Redirect(String),
}

pub(super) struct Shared {
    pub(super) discovery: Mutex<Option<Answer>>,
    pub(super) keys: Mutex<Answer>,
    pub(super) cache_control: Mutex<Option<&'static str>>,
    pub(super) asked: AtomicUsize,
    /// It takes the question and never answers.
    pub(super) hangs: AtomicBool,
    url: Mutex<String>,
}

pub(super) struct Provider {
    pub(super) url: String,
    pub(super) shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Provider {
    /// Publishes the public halves of these.
    pub(super) async fn start(pairs: &[&Pair]) -> Self {
        // As the program does; a second time is no matter.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/realms/field", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            discovery: Mutex::new(None),
            keys: Mutex::new(set(pairs)),
            cache_control: Mutex::new(None),
            asked: AtomicUsize::new(0),
            hangs: AtomicBool::new(false),
            url: Mutex::new(url.clone()),
        });
        let router = Router::new()
            .route(
                "/realms/field/.well-known/openid-configuration",
                get(discovery),
            )
            .route("/realms/field/certs", get(keys))
            .with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, shared, task }
    }

    pub(super) fn publish(&self, pairs: &[&Pair]) {
        self.answer(set(pairs));
    }

    pub(super) fn answer(&self, answer: Answer) {
        *self.shared.keys.lock().unwrap() = answer;
    }

    pub(super) fn discover(&self, document: Value) {
        *self.shared.discovery.lock().unwrap() = Some(Answer::Json(document));
    }

    /// How often keys were asked for.
    pub(super) fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::SeqCst)
    }

    /// It answers nobody any more.
    pub(super) async fn stop(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    pub(super) fn claims(&self, now: DateTime<Utc>) -> Value {
        access_claims(&self.url, now)
    }
}

fn set(pairs: &[&Pair]) -> Answer {
    let keys: Vec<_> = pairs.iter().map(|pair| pair.public()).collect();
    Answer::Json(json!({ "keys": keys }))
}

async fn discovery(State(shared): State<Arc<Shared>>) -> Response {
    let url = shared.url.lock().unwrap().clone();
    let given = shared.discovery.lock().unwrap().clone();
    let usual = json!({ "issuer": url, "jwks_uri": format!("{url}/certs") });
    given.unwrap_or(Answer::Json(usual)).into_response()
}

async fn keys(State(shared): State<Arc<Shared>>) -> Response {
    shared.asked.fetch_add(1, Ordering::SeqCst);
    if shared.hangs.load(Ordering::SeqCst) {
        std::future::pending::<()>().await;
    }
    let answer = shared.keys.lock().unwrap().clone();
    let mut response = answer.into_response();
    let cache = *shared.cache_control.lock().unwrap();
    if let Some(value) = cache {
        response
            .headers_mut()
            .insert(header::CACHE_CONTROL, value.parse().unwrap());
    }
    response
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        match self {
            Self::Json(value) => axum::Json(value).into_response(),
            Self::Raw(text) => text.into_response(),
            Self::Status(code) => StatusCode::from_u16(code).unwrap().into_response(),
            Self::Redirect(to) => (StatusCode::FOUND, [(header::LOCATION, to)], "").into_response(),
        }
    }
}

/// Until it holds, for ten seconds at most.
pub(super) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait)
        .await
        .unwrap_or_else(|_| panic!("{what}"));
}
