//! What is known about every request before anybody looks at it, and what is said about it after.
//!
//! This is the outermost layer: it names the request (correlation id, trace, our span in it),
//! bounds its time, and in the end counts it and writes its one log line. Bodies, tokens, paths and
//! query strings never reach the log; of what callers write, the request id, the conversation and the
//! trace do, and who they are.

use std::{
    sync::{Arc, OnceLock},
    time::Instant,
};

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use chrono::{DateTime, SecondsFormat, Utc};
use contracts::{
    Actor, CorrelationId, ErrorCode, TraceContext,
    service_account::KEY_EXPIRES_HEADER,
    trace::{CORRELATION_HEADER, LEGACY_TRACE_HEADER, TRACEPARENT_HEADER, TRACESTATE_HEADER},
    value::InvalidValue,
};
use http::{HeaderMap, HeaderValue, Method};
use rand::RngExt;
use tracing::Instrument;
use uuid::Uuid;

use crate::{
    App,
    config::Limits,
    endpoint::route_name,
    identity::{Identity, KeyOfCall, Scopes},
    metrics::method_label,
    problem::{self, Failure},
};

/// The frame of one request; shared by all layers through the request's extensions.
#[derive(Debug)]
pub struct RequestContext {
    /// When it came in.
    pub received_at: DateTime<Utc>,
    /// Our span in the caller's trace, or a new trace.
    pub trace: TraceContext,
    correlation_id: CorrelationId,
    invalid_correlation: Option<InvalidValue>,
    caller: OnceLock<(Arc<Actor>, Scopes)>,
    api_key: OnceLock<KeyOfCall>,
    request_id: OnceLock<String>,
}

impl RequestContext {
    fn new(headers: &HeaderMap, received_at: DateTime<Utc>, random: [u8; 24]) -> Self {
        let given = header(headers, CORRELATION_HEADER).map(CorrelationId::new);
        let (correlation_id, invalid_correlation) = match given {
            Some(Ok(id)) => (id, None),
            Some(Err(rule)) => (fresh_correlation_id(), Some(rule)),
            None => (fresh_correlation_id(), None),
        };
        Self {
            received_at,
            trace: trace(headers, random),
            correlation_id,
            invalid_correlation,
            caller: OnceLock::new(),
            api_key: OnceLock::new(),
            request_id: OnceLock::new(),
        }
    }

    /// The conversation: the caller's name for it, or one that was assigned.
    pub fn correlation_id(&self) -> Result<&CorrelationId, Failure> {
        match &self.invalid_correlation {
            None => Ok(&self.correlation_id),
            Some(rule) => Err(Failure::parameter(
                CORRELATION_HEADER,
                format!("X-Correlation-Id {rule}."),
            )),
        }
    }

    /// Who asks, and what their credential is good for, once that is known.
    pub(super) fn caller(&self) -> Option<&(Arc<Actor>, Scopes)> {
        self.caller.get()
    }

    pub(super) fn set_caller(&self, identity: Identity) {
        // Authentication runs once per request.
        let _ = self.caller.set((Arc::new(identity.actor), identity.scopes));
        if let Some(key) = identity.key {
            let _ = self.api_key.set(key);
        }
    }

    /// The caller's own id of the request comes first; it is the same wherever it is said.
    pub(super) fn set_request_id(&self, id: &str) {
        let _ = self.request_id.set(id.to_owned());
    }

    /// The id of the request: the caller's, or one that is assigned now.
    fn request_id(&self) -> &str {
        self.request_id.get_or_init(|| Uuid::now_v7().to_string())
    }
}

/// The header as text. Several of one name are one list (RFC 9110 §5.3), joined with a blank, which
/// no value of ours may hold: what must come once and comes twice is refused by its own rule.
pub(super) fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    let values: Vec<_> = headers
        .get_all(name)
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes()))
        .collect();
    (!values.is_empty()).then(|| values.join(", "))
}

fn fresh_correlation_id() -> CorrelationId {
    CorrelationId::new(Uuid::now_v7().to_string()).expect("a UUID is 36 visible ASCII characters")
}

fn trace(headers: &HeaderMap, random: [u8; 24]) -> TraceContext {
    let mut span = [0; 8];
    span.copy_from_slice(&random[16..]);
    let state = header(headers, TRACESTATE_HEADER);
    let parent = header(headers, TRACEPARENT_HEADER)
        .and_then(|parent| TraceContext::parse(&parent, state.as_deref()));
    let legacy = || TraceContext::from_legacy(&header(headers, LEGACY_TRACE_HEADER)?, span);
    match parent {
        Some(parent) => parent.child(span),
        None => legacy().unwrap_or_else(|| TraceContext::root(random)),
    }
}

/// The outermost layer.
pub async fn observe(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let context = Arc::new(RequestContext::new(
        request.headers(),
        Utc::now(),
        rand::rng().random(),
    ));
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route_name(route.as_ref().map_or("unmatched", MatchedPath::as_str));
    request.extensions_mut().insert(context.clone());
    let _in_flight = app.metrics().begin();

    let span = tracing::info_span!(
        "request",
        correlation_id = %context.correlation_id,
        trace_id = context.trace.trace_id(),
    );
    let limit = app.limits().request_timeout;
    let run = async {
        match address(&request, app.limits()) {
            Ok(()) => next.run(request).await,
            Err(failure) => failure.into_response(),
        }
    };
    let answered = tokio::time::timeout(limit, run).instrument(span.clone());
    let mut response = answered.await.unwrap_or_else(|_| {
        let late = "No answer was ready in time. A command may still take effect: send it again \
                    with the same request id to learn what became of it.";
        span.in_scope(|| Failure::unavailable(late).into_response())
    });

    name(&mut response, &context);
    // The answer to HEAD has no body.
    if !response.status().is_success() && method != Method::HEAD {
        response = problem::name(response, context.request_id());
    }
    let code = response.extensions().get::<ErrorCode>().copied();
    let elapsed = started.elapsed();
    app.metrics().finish(&method, &route, &response, elapsed);
    let caller = context.caller().map(|(actor, _)| actor);
    // A probe that is content is no news.
    if caller.is_some() || !response.status().is_success() {
        tracing::info!(
            method = method_label(&method),
            %route,
            status = response.status().as_u16(),
            code = code.map(tracing::field::display),
            ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            request_id = context.request_id.get(),
            correlation_id = %context.correlation_id,
            trace_id = context.trace.trace_id(),
            tenant = caller.map(|actor| tracing::field::display(actor.tenant_id)),
            actor_id = caller.map(|actor| &*actor.id),
            api_key = context.api_key.get().map(|key| key.prefix.as_str()),
            "request",
        );
    }
    response
}

/// Refuses an address that is longer than any of ours.
fn address(request: &Request, limits: &Limits) -> Result<(), Failure> {
    let uri = request.uri().path_and_query();
    let most = limits.uri_bytes;
    match uri.is_none_or(|uri| uri.as_str().len() <= most) {
        true => Ok(()),
        false => Err(Failure::new(
            ErrorCode::UriTooLong,
            format!("The path with its query may have {most} bytes."),
        )
        .fact("limit_bytes", most)),
    }
}

/// The names of the request go back with each answer, so that a caller can quote them; and whoever
/// calls with a key is told when it ends, as nobody else may look there.
fn name(response: &mut Response, context: &RequestContext) {
    let key = context.api_key.get();
    let ends = key.map(|key| key.expires_at.to_rfc3339_opts(SecondsFormat::Secs, true));
    let names = [
        (CORRELATION_HEADER, Some(context.correlation_id.as_str())),
        (TRACEPARENT_HEADER, Some(&*context.trace.traceparent)),
        (KEY_EXPIRES_HEADER, ends.as_deref()),
    ];
    for (header, text) in names {
        // All are visible ASCII by construction.
        if let Some(Ok(value)) = text.map(HeaderValue::from_str) {
            response.headers_mut().insert(header, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn context(headers: &[(&'static str, &str)]) -> RequestContext {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        RequestContext::new(&map, Utc::now(), [9; 24])
    }

    #[test]
    fn the_callers_trace_goes_on_in_a_span_of_ours() {
        let ours = context(&[
            ("traceparent", PARENT),
            ("tracestate", "a=1"),
            ("tracestate", "b=2"),
        ]);
        assert_eq!(ours.trace.trace_id(), &PARENT[3..35]);
        assert_ne!(ours.trace.traceparent, PARENT);
        assert_eq!(ours.trace.tracestate.as_deref(), Some("a=1, b=2"));
    }

    #[test]
    fn a_legacy_trace_id_counts_only_without_a_traceparent() {
        let legacy = ("x-trace-id", "a3ce929d0e0e4736");
        assert_eq!(
            context(&[legacy]).trace.trace_id(),
            "0000000000000000a3ce929d0e0e4736"
        );
        let both = context(&[legacy, ("traceparent", PARENT)]);
        assert_eq!(both.trace.trace_id(), &PARENT[3..35]);
        let broken = context(&[("traceparent", "garbage"), ("x-trace-id", "garbage")]);
        assert_eq!(broken.trace.trace_id(), "09".repeat(16));
    }

    #[test]
    fn a_correlation_id_is_kept_assigned_or_refused() {
        let kept = context(&[("x-correlation-id", "case-7")]);
        assert_eq!(kept.correlation_id().unwrap().as_str(), "case-7");
        assert!(context(&[]).correlation_id().is_ok());
        let refused = context(&[("x-correlation-id", "two words")]);
        assert_eq!(
            refused.correlation_id().unwrap_err().code(),
            ErrorCode::InvalidParameter
        );
    }
}
