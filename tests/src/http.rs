//! Raw HTTP, for requests that the typed client cannot make and for answers byte by byte.

use std::time::Duration;

use contracts::{ErrorCode, Operation, Problem, TicketId, command::CommandReceipt};
use reqwest::{
    Method, RequestBuilder, StatusCode,
    header::{CONTENT_TYPE, HeaderMap},
};
use serde_json::Value;
use uuid::Uuid;

use crate::wait;

/// A new key: a new intent.
pub fn key() -> String {
    Uuid::now_v7().to_string()
}

/// The path of an operation below `/api/v1`.
pub fn path(operation: Operation, ticket: Option<TicketId>) -> String {
    let id = ticket.map(|id| id.to_string()).unwrap_or_default();
    operation.path().replace("{id}", &id)
}

/// A connection pool of the tests' own.
#[derive(Debug, Clone)]
pub struct Http {
    client: reqwest::Client,
    base: String,
}

impl Http {
    /// Talks to the API at `base`, for example `http://127.0.0.1:8080`.
    pub fn new(base: impl Into<String>) -> Self {
        // Another part of the process may have chosen a provider before, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(60))
            .build()
            .expect("a client without TLS roots can be built");
        Self {
            client,
            base: base.into(),
        }
    }

    /// A request to a path below `/api/v1`.
    pub fn request(&self, method: Method, path: impl AsRef<str>) -> Ask {
        self.bare(method, format!("/api/v1{}", path.as_ref()))
    }

    /// A request to a path as it stands.
    pub fn bare(&self, method: Method, path: impl AsRef<str>) -> Ask {
        let url = format!("{}{}", self.base, path.as_ref());
        Ask(self.client.request(method, url))
    }

    /// `GET` below `/api/v1`.
    pub fn get(&self, path: impl AsRef<str>) -> Ask {
        self.request(Method::GET, path)
    }

    /// `POST` below `/api/v1`, with no body and no key yet.
    pub fn post(&self, path: impl AsRef<str>) -> Ask {
        self.request(Method::POST, path)
    }

    /// A command with its body and a new key.
    pub fn command(&self, operation: Operation, ticket: Option<TicketId>, body: &Value) -> Ask {
        let path = match body.get("approval_id").and_then(Value::as_str) {
            Some(approval) if operation.path().starts_with("/approvals/{id}") => {
                operation.path().replace("{id}", approval)
            }
            _ => path(operation, ticket),
        };
        self.post(path).key(key()).json(body)
    }
}

/// Sends a request again for as long as the answer is to come back later, as a caller does: under
/// load a lock or a connection may not be free in time. The request must carry its own key.
pub async fn patiently(ask: impl Fn() -> Ask) -> Reply {
    wait::until("an answer that stands", wait::BOUND, || async {
        let reply = ask().send().await;
        match reply.header("retry-after") {
            None => Ok(reply),
            Some(_) => Err(reply.text()),
        }
    })
    .await
}

/// A request in the making.
#[derive(Debug)]
#[must_use = "a request does nothing until it is sent"]
pub struct Ask(RequestBuilder);

impl Ask {
    /// Adds a header line; those of the same name stay.
    pub fn line(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let value = reqwest::header::HeaderValue::from_bytes(value.as_ref()).expect("a header");
        Self(self.0.header(name, value))
    }

    /// Sets a header; the last value counts.
    pub fn header(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let value = reqwest::header::HeaderValue::from_bytes(value.as_ref()).expect("a header");
        let name: reqwest::header::HeaderName = name.parse().expect("a header name");
        let headers = HeaderMap::from_iter([(name, value)]);
        Self(self.0.headers(headers))
    }

    /// Who asks.
    pub fn token(self, token: impl AsRef<str>) -> Self {
        self.header("authorization", format!("Bearer {}", token.as_ref()))
    }

    /// The request id.
    pub fn key(self, key: impl AsRef<str>) -> Self {
        self.header("idempotency-key", key.as_ref())
    }

    /// The version that the caller saw.
    pub fn expecting(self, version: u64) -> Self {
        self.header("if-match", format!("\"{version}\""))
    }

    /// Only tell what would happen.
    pub fn dry_run(self) -> Self {
        self.query("dry_run", "true")
    }

    /// A query parameter.
    pub fn query(self, name: &str, value: impl AsRef<str>) -> Self {
        Self(self.0.query(&[(name, value.as_ref())]))
    }

    /// A JSON body.
    pub fn json(self, body: &Value) -> Self {
        self.text(body.to_string())
    }

    /// A body that calls itself JSON.
    pub fn text(self, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        Self(self.0.body(body)).header(CONTENT_TYPE.as_str(), "application/json")
    }

    /// A body that calls itself something else, or nothing.
    pub fn body(self, content_type: Option<&str>, body: impl Into<Vec<u8>>) -> Self {
        let ask = Self(self.0.body(body.into()));
        match content_type {
            Some(content_type) => ask.header(CONTENT_TYPE.as_str(), content_type),
            None => ask,
        }
    }

    /// Sends it; an answer of any status will do.
    pub async fn send(self) -> Reply {
        self.try_send().await.expect("dispatch-api answers")
    }

    /// Sends it; the connection may break.
    pub async fn try_send(self) -> reqwest::Result<Reply> {
        let response = self.0.send().await?;
        Ok(Reply {
            status: response.status(),
            headers: response.headers().clone(),
            body: response.bytes().await?.to_vec(),
        })
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    /// HTTP status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Vec<u8>,
}

impl Reply {
    /// The body as text, for messages.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{} is not JSON ({e}): {}", self.status, self.text()))
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The answer of a command that was done.
    #[track_caller]
    pub fn receipt(&self) -> CommandReceipt {
        assert!(self.status.is_success(), "{}: {}", self.status, self.text());
        assert_eq!(self.header("content-type"), Some("application/json"));
        let receipt: CommandReceipt = serde_json::from_slice(&self.body).expect("a receipt");
        // Only a creation has no version that it was applied to.
        let created = receipt.applied_to_version == 0 && !receipt.dry_run;
        assert_eq!(self.status, if created { 201 } else { 200 });
        receipt
    }

    /// The problem, checked against all that RFC 9457 and our contract promise: media type,
    /// status, type and title of its code, no member that the contract does not know.
    #[track_caller]
    pub fn problem(&self, code: ErrorCode) -> Problem {
        let text = self.text();
        assert_eq!(self.status.as_u16(), code.status(), "{code}: {text}");
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{text}"
        );
        let problem: Problem = serde_json::from_slice(&self.body).expect(&text);
        assert_eq!(problem.code, code, "{text}");
        assert_eq!(problem.status, code.status(), "{text}");
        assert_eq!(problem.type_uri, code.type_uri(), "{text}");
        assert_eq!(problem.title, code.title(), "{text}");
        assert!(problem.detail.len() > 10, "{text}");
        assert!(problem.instance.starts_with("urn:uuid:"), "{text}");
        assert_eq!(
            serde_json::to_value(&problem).expect("JSON"),
            self.json(),
            "a member that the contract does not know"
        );
        problem
    }

    /// The problem of a request that was never an attempt: nothing about it is on record.
    #[track_caller]
    pub fn no_attempt(&self, code: ErrorCode) -> Problem {
        let problem = self.problem(code);
        assert_eq!(problem.command_id, None, "{}", self.text());
        assert_eq!(problem.decision_id, None, "{}", self.text());
        assert_eq!(self.header("x-command-id"), None);
        assert_eq!(self.header("x-decision-id"), None);
        problem
    }
}

/// The pointers of a problem's field errors.
pub fn pointers(problem: &Problem) -> Vec<&str> {
    let errors = problem.errors.iter();
    errors.map(|error| error.pointer.as_str()).collect()
}
