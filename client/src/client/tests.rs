//! Against a server that plays a script of answers and keeps what it was asked.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    http::{HeaderMap, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use chrono::DateTime;
use contracts::{ErrorCode, command::Cancel};
use uuid::Uuid;

use super::*;

struct Seen {
    uri: Uri,
    headers: HeaderMap,
    body: String,
}

#[derive(Clone, Default)]
struct Script {
    answers: Arc<Mutex<VecDeque<Response>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Script {
    fn then(self, status: u16, body: String, headers: &[(&'static str, &'static str)]) -> Self {
        let mut response = (StatusCode::from_u16(status).unwrap(), body).into_response();
        for (name, value) in headers {
            response.headers_mut().insert(*name, value.parse().unwrap());
        }
        self.answers.lock().unwrap().push_back(response);
        self
    }

    fn problem(self, code: ErrorCode) -> Self {
        let problem = Problem {
            type_uri: code.type_uri(),
            title: code.title().into(),
            status: code.status(),
            detail: "said so".into(),
            instance: "urn:uuid:0".into(),
            code,
            request_id: None,
            errors: vec![],
            reasons: vec![],
            command_id: None,
            decision_id: None,
            meta: serde_json::Map::new(),
            at: DateTime::UNIX_EPOCH,
        };
        let body = serde_json::to_string(&problem).unwrap();
        self.then(code.status(), body, &[])
    }

    async fn serve(&self) -> Client {
        let script = self.clone();
        let app = Router::new().fallback(move |uri: Uri, headers: HeaderMap, body: Bytes| {
            let script = script.clone();
            async move {
                script.seen.lock().unwrap().push(Seen {
                    uri,
                    headers,
                    body: String::from_utf8_lossy(&body).into(),
                });
                let answer = script.answers.lock().unwrap().pop_front();
                answer.unwrap_or_else(|| StatusCode::IM_A_TEAPOT.into_response())
            }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        client(&base)
    }

    fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

fn client(base: &Url) -> Client {
    Client::new(base, "secret")
        .unwrap()
        .with_retry(RetryPolicy {
            max_attempts: 3,
            first_pause: Duration::from_millis(1),
            ..RetryPolicy::default()
        })
}

fn ticket() -> TicketId {
    TicketId::from_uuid(Uuid::from_u128(7))
}

fn cancel() -> Cancel {
    Cancel {
        reason: "duplicate".parse().unwrap(),
    }
}

fn receipt() -> String {
    serde_json::json!({
        "command_id": contracts::CommandId::from_uuid(Uuid::from_u128(1)),
        "decision_id": contracts::DecisionId::from_uuid(Uuid::from_u128(2)),
        "applied_to_version": 3, "produced_version": 4,
        "ticket": {
            "id": ticket(), "tenant_id": contracts::TenantId::from_uuid(Uuid::from_u128(3)),
            "state": "CANCELLED", "version": 4, "template": "emergency_glass", "priority": "P1",
            "site_id": contracts::SiteId::from_uuid(Uuid::from_u128(4)), "details": {},
            "nte_cents": 1, "sla": [], "visits": [],
            "created_at": "2026-11-21T00:00:00Z", "updated_at": "2026-11-21T00:00:00Z",
        },
    })
    .to_string()
}

#[tokio::test]
async fn a_repeated_command_keeps_its_key_and_body() {
    let script = Script::default()
        .problem(ErrorCode::InFlight)
        .then(502, "<html>bad gateway</html>".into(), &[])
        .then(200, receipt(), &[]);
    let client = script.serve().await;
    let options = CallOptions::default().expecting(3);
    let receipt = client.cancel(ticket(), &cancel(), &options).await.unwrap();
    assert_eq!(receipt.produced_version, 4);

    let seen = script.seen.lock().unwrap();
    assert_eq!(seen.len(), 3);
    let key = &seen[0].headers["idempotency-key"];
    for request in seen.iter() {
        assert_eq!(
            request.uri,
            format!("/api/v1/tickets/{}/cancel", ticket()).as_str()
        );
        assert_eq!(&request.headers["idempotency-key"], key);
        assert_eq!(request.headers["if-match"], "\"3\"");
        assert_eq!(request.headers["authorization"], "Bearer secret");
        assert_eq!(request.body, r#"{"reason":"duplicate"}"#);
    }
}

#[tokio::test]
async fn two_commands_have_two_keys() {
    let script = Script::default()
        .then(200, receipt(), &[])
        .then(200, receipt(), &[]);
    let client = script.serve().await;
    for _ in 0..2 {
        let options = CallOptions::default();
        client.cancel(ticket(), &cancel(), &options).await.unwrap();
    }
    let seen = script.seen.lock().unwrap();
    assert_ne!(
        seen[0].headers["idempotency-key"],
        seen[1].headers["idempotency-key"]
    );
}

#[tokio::test]
async fn a_refusal_comes_back_at_once_and_whole() {
    for code in [
        ErrorCode::VersionConflict,
        ErrorCode::Forbidden,
        ErrorCode::InvalidField,
        ErrorCode::Internal,
    ] {
        let script = Script::default().problem(code);
        let client = script.serve().await;
        let error = client
            .cancel(ticket(), &cancel(), &CallOptions::default())
            .await
            .unwrap_err();
        assert_eq!(error.code(), Some(code));
        assert_eq!(error.is_retryable(), code == ErrorCode::Internal);
        assert_eq!(error.problem().unwrap().detail, "said so");
        assert_eq!(script.count(), 1, "{code}");
    }
}

#[tokio::test]
async fn attempts_are_bounded() {
    let script = Script::default()
        .problem(ErrorCode::Unavailable)
        .problem(ErrorCode::RateLimited)
        .problem(ErrorCode::Unavailable)
        .then(200, receipt(), &[]);
    let client = script.serve().await;
    let error = client
        .cancel(ticket(), &cancel(), &CallOptions::default())
        .await
        .unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::Unavailable));
    assert!(error.is_retryable());
    assert_eq!(script.count(), 3);
}

#[tokio::test]
async fn a_pause_longer_than_the_time_left_is_not_taken() {
    let script = Script::default()
        .then(503, "busy".into(), &[("retry-after", "3600")])
        .then(200, receipt(), &[]);
    let client = script.serve().await;
    let error = client
        .cancel(ticket(), &cancel(), &CallOptions::default())
        .await
        .unwrap_err();
    assert!(
        matches!(error, ClientError::Decode { status: 503, .. }),
        "{error}"
    );
    assert_eq!(script.count(), 1);
}

#[tokio::test]
async fn nobody_there_is_a_transport_error_that_names_the_address() {
    // Bound and dropped: nothing listens there now.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    drop(listener);
    let error = client(&base).ticket(ticket()).await.unwrap_err();
    assert!(matches!(error, ClientError::Transport { .. }));
    assert!(error.is_retryable());
    assert!(error.to_string().contains(base.as_str()), "{error}");
}

#[tokio::test]
async fn context_goes_along_with_reads_and_is_overridden_by_options() {
    let script = Script::default()
        .then(200, r#"{"items":[]}"#.into(), &[])
        .then(200, receipt(), &[]);
    let trace = TraceContext::root([7; 24]);
    let client = script.serve().await.within(
        Some(CorrelationId::new("call-1").unwrap()),
        Some(trace.clone()),
    );
    client.proposals(ticket()).await.unwrap();
    let options = CallOptions {
        correlation_id: Some(CorrelationId::new("call-2").unwrap()),
        dry_run: true,
        ..CallOptions::default()
    };
    client.cancel(ticket(), &cancel(), &options).await.unwrap();

    let seen = script.seen.lock().unwrap();
    assert_eq!(seen[0].headers[CORRELATION_HEADER], "call-1");
    assert_eq!(seen[1].headers[CORRELATION_HEADER], "call-2");
    assert_eq!(seen[1].uri.query(), Some("dry_run=true"));
    for request in seen.iter() {
        assert_eq!(
            request.headers[TRACEPARENT_HEADER],
            trace.traceparent.as_str()
        );
    }
}

#[tokio::test]
async fn an_unready_server_is_an_answer() {
    let health = r#"{"status":"unavailable","parts":{"database":"down"},"version":"1"}"#;
    let script = Script::default().then(503, health.into(), &[]);
    let client = script.serve().await;
    assert_eq!(client.ready().await.unwrap().parts["database"], "down");
    assert_eq!(script.count(), 1);
}

#[tokio::test]
async fn a_ticket_that_did_not_change_is_not_sent_again() {
    let sent = serde_json::from_str::<serde_json::Value>(&receipt()).unwrap()["ticket"].to_string();
    let script = Script::default()
        .then(200, sent, &[])
        .then(304, String::new(), &[]);
    let client = script.serve().await;
    let first = client.ticket_if_changed(ticket(), None).await.unwrap();
    assert_eq!(first.unwrap().version, 4);
    let second = client.ticket_if_changed(ticket(), Some(4)).await.unwrap();
    assert!(second.is_none());
    let seen = script.seen.lock().unwrap();
    assert!(!seen[0].headers.contains_key("if-none-match"));
    assert_eq!(seen[1].headers["if-none-match"], "\"4\"");
}

#[tokio::test]
async fn what_is_left_of_a_key_is_noted_for_all_who_call_with_it() {
    let script = Script::default()
        .then(
            200,
            receipt(),
            &[(KEY_EXPIRES_HEADER, "2999-01-01T00:00:00Z")],
        )
        .then(200, receipt(), &[]);
    let client = script.serve().await;
    assert_eq!(client.key_days_left(), None);
    let clone = client.in_tenant(TenantId::from_uuid(Uuid::nil()));
    let (body, options) = (cancel(), CallOptions::default());
    for _ in 0..2 {
        clone.cancel(ticket(), &body, &options).await.unwrap();
        let left = client.key_days_left().unwrap();
        assert!((300_000..400_000).contains(&left), "{left}");
    }
    assert_eq!(client.with_token("another").key_days_left(), None);
}

#[tokio::test]
async fn a_stored_refusal_is_told_from_a_new_one() {
    let script = Script::default().problem(ErrorCode::InvalidField);
    let first = script.answers.lock().unwrap().pop_front().unwrap();
    let (mut parts, body) = first.into_parts();
    let marked = "true".parse().unwrap();
    parts.headers.insert(REPLAYED_HEADER, marked);
    let stored = Response::from_parts(parts, body);
    script.answers.lock().unwrap().push_back(stored);
    let script = script.problem(ErrorCode::InvalidField);
    let client = script.serve().await;
    let (body, options) = (cancel(), CallOptions::default());
    for expected in [true, false] {
        let sent = client.cancel(ticket(), &body, &options);
        let ClientError::Problem { replayed, .. } = sent.await.unwrap_err() else {
            panic!("not a problem");
        };
        assert_eq!(replayed, expected);
    }
}
