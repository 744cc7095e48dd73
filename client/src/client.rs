//! One call: attempts, headers, answers.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, Utc};
use contracts::{
    CorrelationId, Operation, Problem, TenantId, TicketId, TraceContext,
    actor::TOOL_NAME_HEADER,
    command::CommandReceipt,
    filing::FilingReceipt,
    kill_switch::{KILL_SWITCH_HEADER, KillState},
    service_account::{KEY_EXPIRES_HEADER, TENANT_HEADER},
    trace::{CORRELATION_HEADER, TRACEPARENT_HEADER, TRACESTATE_HEADER},
};
use reqwest::{
    Method, RequestBuilder, Response, StatusCode,
    header::{ACCEPT, CONTENT_TYPE, IF_MATCH, RETRY_AFTER},
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::Instant;
use url::Url;

use crate::{CallOptions, ClientError, RetryPolicy, TokenProvider};

/// Marks the stored answer to an earlier request.
const REPLAYED_HEADER: &str = "idempotent-replayed";

/// How long a copy of everything may take.
const LONG_READ: Duration = Duration::from_secs(60 * 60);

/// A client of one dispatch-api, acting as one caller. Clones share connections.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    token: Arc<dyn TokenProvider>,
    pub(crate) retry: RetryPolicy,
    correlation_id: Option<CorrelationId>,
    trace: Option<TraceContext>,
    tenant: Option<TenantId>,
    heard: Option<KillWatch>,
    key_end: KeyEnd,
}

/// When the caller's API key ends, as the last answer told.
#[derive(Clone, Default)]
struct KeyEnd(Arc<Mutex<Option<DateTime<Utc>>>>);

impl KeyEnd {
    fn last(&self) -> Option<DateTime<Utc>> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, response: &Response) {
        let header = response.headers().get(KEY_EXPIRES_HEADER);
        let told = header.and_then(|value| value.to_str().ok()?.parse().ok());
        if told.is_some() {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = told;
        }
    }
}

/// What the last answer said of the kill switches; answers to people say nothing of them.
#[derive(Debug, Clone, Default)]
pub struct KillWatch(Arc<Mutex<Option<KillState>>>);

impl KillWatch {
    /// How they stand, as far as an answer told.
    pub fn last(&self) -> Option<KillState> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.clone()
    }

    fn note(&self, response: &Response) {
        let header = response.headers().get(KILL_SWITCH_HEADER);
        let told = header.and_then(|value| value.to_str().ok()?.parse().ok());
        if told.is_some() {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = told;
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("base", &self.base.as_str())
            .finish_non_exhaustive()
    }
}

/// One attempt's content, the same each time.
pub(crate) struct Request {
    pub method: Method,
    pub path: String,
    pub query: Vec<(&'static str, String)>,
    pub headers: Vec<(&'static str, String)>,
    pub body: Option<Vec<u8>>,
    /// A status besides success whose body is an answer too.
    pub also: Option<u16>,
}

impl Request {
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self {
            method: Method::GET,
            path: path.into(),
            query: Vec::new(),
            headers: Vec::new(),
            body: None,
            also: None,
        }
    }
}

impl Client {
    /// A client of the server at `base` (for example `http://127.0.0.1:8080`; `/api/v1` at its end is taken off),
    /// with a token or a [`TokenProvider`]. Fails only when TLS cannot be set up.
    pub fn new(base: &Url, token: impl Into<Box<dyn TokenProvider>>) -> Result<Self, ClientError> {
        // The process may have chosen a provider before us, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("dispatch-client/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(3))
            .redirect(reqwest::redirect::Policy::none());
        if is_loopback(base) {
            // No proxy can reach our own machine's loopback for us.
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|source| ClientError::Transport {
            url: base.to_string(),
            source,
        })?;
        let mut base = base.clone();
        // What `dispatch dev` prints and people paste.
        let path = base.path().trim_end_matches('/');
        let bare = path
            .strip_suffix("/api/v1")
            .or_else(|| path.strip_suffix("/api"));
        if let Some(bare) = bare.map(str::to_owned) {
            base.set_path(&bare);
        }
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        Ok(Self {
            http,
            base,
            token: Arc::from(token.into()),
            retry: RetryPolicy::default(),
            correlation_id: None,
            trace: None,
            tenant: None,
            heard: None,
            key_end: KeyEnd::default(),
        })
    }

    /// The same server as another caller, over the same connections.
    #[must_use]
    pub fn with_token(&self, token: impl Into<Box<dyn TokenProvider>>) -> Self {
        Self {
            token: Arc::from(token.into()),
            key_end: KeyEnd::default(),
            ..self.clone()
        }
    }

    /// The same in this tenant: for a caller with the API key of an account that acts in any, and for
    /// nobody else.
    #[must_use]
    pub fn in_tenant(&self, tenant: TenantId) -> Self {
        Self {
            tenant: Some(tenant),
            ..self.clone()
        }
    }

    /// The same with other bounds.
    #[must_use]
    pub fn with_retry(&self, retry: RetryPolicy) -> Self {
        Self {
            retry,
            ..self.clone()
        }
    }

    /// The same within a conversation and a trace: they go along with each call, reads too.
    #[must_use]
    pub fn within(
        &self,
        correlation_id: Option<CorrelationId>,
        trace: Option<TraceContext>,
    ) -> Self {
        Self {
            correlation_id,
            trace,
            ..self.clone()
        }
    }

    /// The same; it notes what the answers say of the kill switches.
    #[must_use]
    pub fn watching(&self, heard: &KillWatch) -> Self {
        Self {
            heard: Some(heard.clone()),
            ..self.clone()
        }
    }

    /// How many days are left of the API key that this and its clones call with, by the last answer to
    /// any of them; `None` before that, and with a token.
    pub fn key_days_left(&self) -> Option<i64> {
        self.key_end.last().map(|end| (end - Utc::now()).num_days())
    }

    /// Where the server is.
    pub fn base_url(&self) -> &Url {
        &self.base
    }

    /// Sends any command on a ticket. The typed methods are this with the operation filled in.
    pub async fn command<B: Serialize + Sync>(
        &self,
        operation: Operation,
        ticket: Option<TicketId>,
        body: &B,
        options: &CallOptions,
    ) -> Result<CommandReceipt, ClientError> {
        self.send(operation, ticket, body, options).await
    }

    /// Sends any filing: a command about something other than a ticket.
    pub async fn filing<B: Serialize + Sync>(
        &self,
        operation: Operation,
        body: &B,
        options: &CallOptions,
    ) -> Result<FilingReceipt, ClientError> {
        self.send(operation, None, body, options).await
    }

    async fn send<B: Serialize + Sync, R: DeserializeOwned>(
        &self,
        operation: Operation,
        ticket: Option<TicketId>,
        body: &B,
        options: &CallOptions,
    ) -> Result<R, ClientError> {
        let about = match ticket {
            // The same command at the ticket's own place.
            Some(id) if operation == Operation::DecideApproval => {
                let path = format!("/tickets/{id}/approval/decide");
                return self.post(&path, body, options).await;
            }
            _ if operation.path().starts_with("/approvals/{id}") => approval_of(body),
            ticket => ticket.map(|id| id.to_string()),
        };
        self.send_about(operation, about, body, options).await
    }

    /// Sends a command; `about` stands in its path.
    pub(crate) async fn send_about<B: Serialize + Sync, R: DeserializeOwned>(
        &self,
        operation: Operation,
        about: Option<String>,
        body: &B,
        options: &CallOptions,
    ) -> Result<R, ClientError> {
        let path = match about {
            Some(id) => operation.path().replace("{id}", &id),
            None => operation.path().to_owned(),
        };
        self.post(&path, body, options).await
    }

    /// Sends what changes something to a path below `/api/v1`.
    pub(crate) async fn post<B: Serialize + Sync, R: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
        options: &CallOptions,
    ) -> Result<R, ClientError> {
        let mut headers = vec![("idempotency-key", options.key())];
        if let Some(version) = options.expected_version {
            headers.push((IF_MATCH.as_str(), format!("\"{version}\"")));
        }
        if let Some(tool) = &options.tool_name {
            headers.push((TOOL_NAME_HEADER, tool.clone()));
        }
        let context = self.within(
            options
                .correlation_id
                .clone()
                .or(self.correlation_id.clone()),
            options.trace.clone().or(self.trace.clone()),
        );
        let request = Request {
            method: Method::POST,
            path: format!("api/v1{path}"),
            query: options
                .dry_run
                .then(|| ("dry_run", "true".to_owned()))
                .into_iter()
                .collect(),
            headers,
            // Bodies are our own structs of strings and numbers with string keys.
            body: Some(serde_json::to_vec(body).expect("a command body is JSON")),
            also: None,
        };
        context.call(&request).await
    }

    /// Sends the request until an answer stands, and reads it.
    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        request: &Request,
    ) -> Result<T, ClientError> {
        let started = Instant::now();
        let mut attempt = 1;
        loop {
            let left = self.retry.total.saturating_sub(started.elapsed());
            let error = match self.attempt(request, left).await {
                Ok(body) => return Ok(body),
                Err(error) => error,
            };
            let pause = error.is_transient().then(|| {
                self.retry.pause(
                    attempt,
                    started.elapsed(),
                    error.retry_after(),
                    &mut rand::rng(),
                )
            });
            let Some(pause) = pause.flatten() else {
                return Err(error);
            };
            tracing::debug!(attempt, path = request.path, error = %error, ?pause, "call repeated");
            tokio::time::sleep(pause).await;
            attempt += 1;
        }
    }

    /// With who calls, and in which tenant where that has to be said.
    fn as_caller(&self, request: RequestBuilder) -> Result<RequestBuilder, ClientError> {
        let request = request.bearer_auth(self.token.token()?);
        Ok(match self.tenant {
            Some(tenant) => request.header(TENANT_HEADER, tenant.to_string()),
            None => request,
        })
    }

    /// Asks once for what is too long to be read whole, and hands on the answer when it is one.
    pub(crate) async fn open(
        &self,
        path: &str,
        query: &[(&'static str, String)],
    ) -> Result<Response, ClientError> {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path()));
        let place = format!("{}{path}", self.base);
        let transport = |source| ClientError::Transport {
            url: place.clone(),
            source,
        };
        let request = self.http.get(url).query(query).timeout(LONG_READ);
        let request = self.as_caller(request)?;
        let response = request.send().await.map_err(transport)?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let retry_after = retry_after(&response);
        let bytes = response.bytes().await.map_err(transport)?;
        let problem =
            serde_json::from_slice::<Problem>(&bytes).map_err(|error| ClientError::Decode {
                url: place.clone(),
                status: status.as_u16(),
                detail: format!("{error}; the body begins with {:?}", beginning(&bytes)),
                retry_after,
            })?;
        Err(ClientError::Problem {
            problem: Box::new(problem),
            retry_after,
            replayed: false,
        })
    }

    async fn attempt<T: DeserializeOwned>(
        &self,
        request: &Request,
        left: Duration,
    ) -> Result<T, ClientError> {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{}", self.base.path(), request.path));
        let transport = |source| ClientError::Transport {
            url: format!("{}{}", self.base, request.path),
            source,
        };
        let mut builder = self
            .http
            .request(request.method.clone(), url)
            .timeout(self.retry.attempt.min(left.max(Duration::from_millis(1))))
            .header(ACCEPT, "application/json, application/problem+json");
        builder = self.as_caller(builder)?;
        if !request.query.is_empty() {
            builder = builder.query(&request.query);
        }
        for (name, value) in &request.headers {
            builder = builder.header(*name, value);
        }
        if let Some(id) = &self.correlation_id {
            builder = builder.header(CORRELATION_HEADER, id.as_str());
        }
        if let Some(trace) = &self.trace {
            builder = builder.header(TRACEPARENT_HEADER, &trace.traceparent);
            if let Some(state) = &trace.tracestate {
                builder = builder.header(TRACESTATE_HEADER, state);
            }
        }
        if let Some(body) = &request.body {
            builder = builder
                .header(CONTENT_TYPE, "application/json")
                .body(body.clone());
        }
        let response = builder.send().await.map_err(transport)?;
        if let Some(heard) = &self.heard {
            heard.note(&response);
        }
        self.key_end.note(&response);
        let status = response.status();
        let retry_after = retry_after(&response);
        let replayed = response.headers().contains_key(REPLAYED_HEADER);
        let bytes = response.bytes().await.map_err(transport)?;

        let unknown = |error: serde_json::Error| ClientError::Decode {
            url: format!("{}{}", self.base, request.path),
            status: status.as_u16(),
            detail: format!("{error}; the body begins with {:?}", beginning(&bytes)),
            retry_after,
        };
        if status == StatusCode::NOT_MODIFIED && request.also == Some(status.as_u16()) {
            // No body: there is nothing that the caller does not have.
            return serde_json::from_slice(b"null").map_err(unknown);
        }
        if status.is_success() || request.also == Some(status.as_u16()) {
            return serde_json::from_slice(&bytes).map_err(unknown);
        }
        let problem = serde_json::from_slice::<Problem>(&bytes).map_err(unknown)?;
        Err(ClientError::Problem {
            problem: Box::new(problem),
            retry_after,
            replayed,
        })
    }
}

/// The approval that a body names.
fn approval_of(body: &impl Serialize) -> Option<String> {
    let body = serde_json::to_value(body).ok()?;
    body.get("approval_id")?.as_str().map(str::to_owned)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// Only the form in seconds: dispatch-api sends no other.
fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    seconds.trim().parse().ok().map(Duration::from_secs)
}

fn beginning(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().take(120).collect()
}

#[cfg(test)]
mod tests;
