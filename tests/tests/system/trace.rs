//! The names of a conversation go with it: from the request to every row that it writes, and back.

use contracts::{CommandId, ErrorCode, Operation, TicketState, TraceContext};
use dispatch_tests::{
    job::Job,
    record::attempt,
    stack::{Stack, with_api},
    who::Who,
};
use sqlx::FromRow;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[derive(Debug, FromRow)]
struct Event {
    correlation_id: String,
    traceparent: String,
    tracestate: Option<String>,
}

async fn events(stack: &Stack, command: CommandId) -> Vec<Event> {
    sqlx::query_as(
        "select correlation_id, traceparent, tracestate from outbox_events where command_id = $1",
    )
    .bind(command.as_uuid())
    .fetch_all(stack.admin())
    .await
    .unwrap()
}

#[test]
fn trace_and_conversation_are_kept_on_every_row() {
    with_api(async |stack| {
        let job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let body = job.body(Operation::Triage).await;
        let ask = stack
            .command(Who::Dispatcher, Operation::Triage, job.id(), &body)
            .header("x-correlation-id", "case-7/intake")
            .header("traceparent", PARENT)
            .header("tracestate", "vendor=1");
        let reply = ask.send().await;
        let command = reply.receipt().command_id;
        assert_eq!(reply.header("x-correlation-id"), Some("case-7/intake"));
        let ours = reply.header("traceparent").unwrap();
        assert_eq!(ours[..36], PARENT[..36], "the same trace");
        assert_ne!(ours, PARENT, "a span of our own");

        let row = attempt(stack.admin(), command).await.unwrap();
        assert_eq!(row.correlation_id, "case-7/intake");
        assert_eq!(row.trace_id, &PARENT[3..35]);
        let decided: (String, String) = sqlx::query_as(
            "select correlation_id, trace_id from policy_decisions where command_id = $1",
        )
        .bind(command.as_uuid())
        .fetch_one(stack.admin())
        .await
        .unwrap();
        assert_eq!(decided, ("case-7/intake".into(), PARENT[3..35].into()));
        let events = events(&stack, command).await;
        assert!(!events.is_empty());
        for event in events {
            assert_eq!(event.correlation_id, "case-7/intake");
            let context = TraceContext::parse(&event.traceparent, None).unwrap();
            assert_eq!(context.trace_id(), &PARENT[3..35]);
            assert_eq!(event.tracestate.as_deref(), Some("vendor=1"));
        }
        let client = stack.client(stack.tenant(), Who::Auditor);
        let page = client.timeline(job.id(), None).await.unwrap();
        let entry = page.items.last().unwrap();
        assert_eq!(entry.correlation_id.as_str(), "case-7/intake");
        assert_eq!(entry.trace_id, &PARENT[3..35]);
    });
}

#[test]
fn a_refusal_keeps_them_too() {
    with_api(async |stack| {
        let job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let ask = stack
            .command(
                Who::Auditor,
                Operation::CheckIn,
                job.id(),
                &serde_json::json!({}),
            )
            .header("x-correlation-id", "case-8")
            .header("traceparent", PARENT);
        let problem = ask.send().await.problem(ErrorCode::Forbidden);
        let row = attempt(stack.admin(), problem.command_id.unwrap())
            .await
            .unwrap();
        assert_eq!(
            (row.correlation_id.as_str(), row.trace_id.as_str()),
            ("case-8", &PARENT[3..35])
        );
    });
}

#[test]
fn without_a_traceparent_the_legacy_header_names_the_trace() {
    with_api(async |stack| {
        let job = Job::at(&stack, stack.tenant(), TicketState::New).await;
        let note = job.body(Operation::AddNote).await;
        let sent = async |headers: &[(&str, &str)]| {
            let mut ask = stack.command(Who::Dispatcher, Operation::AddNote, job.id(), &note);
            for (name, value) in headers {
                ask = ask.header(name, value);
            }
            let reply = ask.send().await;
            let row = attempt(stack.admin(), reply.receipt().command_id)
                .await
                .unwrap();
            assert_eq!(
                reply.header("x-correlation-id"),
                Some(row.correlation_id.as_str())
            );
            row.trace_id
        };
        let legacy = ("x-trace-id", "A3CE929D-0E0E-4736-00F0-67AA0BA902B7");
        assert_eq!(sent(&[legacy]).await, "a3ce929d0e0e473600f067aa0ba902b7");
        assert_eq!(
            sent(&[("x-trace-id", "a3ce929d0e0e4736")]).await,
            "0000000000000000a3ce929d0e0e4736"
        );
        assert_eq!(
            sent(&[legacy, ("traceparent", PARENT)]).await,
            PARENT[3..35]
        );
        // What is no trace id begins a new trace, each time another.
        let (one, two) = (sent(&[("x-trace-id", "req-77")]).await, sent(&[]).await);
        assert_eq!((one.len(), two.len()), (32, 32));
        assert_ne!(one, two);
    });
}

#[test]
fn a_read_has_names_too() {
    with_api(async |stack| {
        let ask = stack.ask(Who::Dispatcher, reqwest::Method::GET, "/tickets");
        let reply = ask
            .header("traceparent", PARENT)
            .header("x-correlation-id", "c")
            .send()
            .await;
        assert_eq!(reply.header("x-correlation-id"), Some("c"));
        assert_eq!(reply.header("traceparent").unwrap()[..36], PARENT[..36]);
    });
}
