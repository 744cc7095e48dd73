//! One conversation and one trace, from the request through everything that it causes, and back
//! into dispatch-api.

use contracts::{Operation, TicketId};
use dispatch_tests::{
    flow::{Flow, FlowOptions, with_flow},
    gate::Gate,
    namespace::{json, signals},
    record::attempt,
    who::Who,
};
use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const LEGACY: &str = "0af7651916cd43dd8448eb211c80319c";

/// The trace id of a `traceparent`.
#[track_caller]
fn trace_of(parent: &str) -> &str {
    let parts: Vec<_> = parent.split('-').collect();
    assert_eq!(parts.len(), 4, "{parent}");
    parts[1]
}

/// Follows the creation of a ticket to the end.
async fn follow(flow: &Flow, asked: &Gate, ticket: TicketId, trace: &str, conversation: &str) {
    let key = flow.key(ticket);
    let created: (sqlx::types::Uuid, String, String) = sqlx::query_as(
        "select command_id, trace_id, correlation_id from audit_events
         where ticket_id = $1 and operation = 'create_ticket'",
    )
    .bind(ticket.as_uuid())
    .fetch_one(flow.admin())
    .await
    .unwrap();
    assert_eq!(
        (created.1.as_str(), created.2.as_str()),
        (trace, conversation),
        "audit"
    );

    // The decision belongs to the command.
    let command = contracts::CommandId::from_uuid(created.0);
    let row = attempt(flow.admin(), command)
        .await
        .expect("a decision beside the audit row");
    assert_eq!(row.result, "ALLOW");

    let (parent, correlation): (String, String) = sqlx::query_as(
        "select traceparent, correlation_id from outbox_events where command_id = $1 and seq = 1",
    )
    .bind(created.0)
    .fetch_one(flow.admin())
    .await
    .unwrap();
    assert_eq!(
        (trace_of(&parent), correlation.as_str()),
        (trace, conversation),
        "outbox"
    );

    // The signal: in its header and in the event that it carries.
    flow.agreed(ticket).await;
    let history = flow.namespace().history(key).await;
    let header = history
        .iter()
        .find_map(|event| match event.attributes.as_ref()? {
            Attributes::WorkflowExecutionSignaledEventAttributes(it) => it.header.clone(),
            _ => None,
        });
    let fields = header.expect("a signal has a header").fields;
    let field = |name: &str| json::<String>(&fields[name]).unwrap();
    assert_eq!(trace_of(&field("traceparent")), trace, "signal");
    assert_eq!(field("x-correlation-id"), conversation, "signal");
    let event = &signals(&history)[0]["events"][0];
    assert_eq!(
        trace_of(event["trace"]["traceparent"].as_str().unwrap()),
        trace,
        "event"
    );
    assert_eq!(event["correlation_id"], conversation, "event");

    // What the activity asked dispatch-api, as it stood on the wire.
    let said = asked.asked();
    let of_ticket = said
        .split("HTTP/1.1\r\n")
        .zip(said.split("HTTP/1.1\r\n").skip(1))
        .filter(|(before, _)| {
            before
                .rsplit("\r\n")
                .next()
                .unwrap_or("")
                .contains(&ticket.to_string())
        })
        .map(|(_, headers)| headers.to_ascii_lowercase());
    let calls: Vec<_> = of_ticket.collect();
    assert!(
        calls.len() >= 2,
        "reads what an advisor looks at, records what it says: {said}"
    );
    for headers in calls {
        let value = |name: &str| {
            let line = headers
                .lines()
                .find(|line| line.starts_with(name))
                .expect(name);
            line[name.len()..].trim().to_owned()
        };
        let parent = value("traceparent:");
        assert_eq!(trace_of(&parent), trace, "activity");
        assert!(
            !field("traceparent").contains(parent.split('-').nth(2).unwrap()),
            "its own span"
        );
        assert_eq!(value("x-correlation-id:"), conversation, "activity");
    }

    // And back: the workflow's own command.
    let back: (String, String, String) = sqlx::query_as(
        "select trace_id, correlation_id, actor_kind from audit_events
         where ticket_id = $1 and operation = 'record_proposal'",
    )
    .bind(ticket.as_uuid())
    .fetch_one(flow.admin())
    .await
    .unwrap();
    assert_eq!(
        back,
        (
            trace.to_owned(),
            conversation.to_owned(),
            "workflow".to_owned()
        )
    );
}

#[test]
fn a_trace_and_a_conversation_go_all_the_way_round() {
    // The gate needs the address of dispatch-api, and the worker that of the gate.
    let options = FlowOptions {
        worker: false,
        ..FlowOptions::default()
    };
    with_flow(options, async |flow| {
        let gate = Gate::start(flow.address()).await;
        flow.start_worker_through(gate.address()).await;

        let body = flow.job().body(Operation::CreateTicket).await;
        let create = || flow.command(Who::Intake, Operation::CreateTicket, None, &body);
        let modern = create()
            .header("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01"))
            .header("x-correlation-id", "call-4711")
            .send()
            .await;
        assert_eq!(modern.header("x-correlation-id"), Some("call-4711"));
        assert_eq!(trace_of(modern.header("traceparent").unwrap()), TRACE);
        follow(&flow, &gate, modern.receipt().ticket.id, TRACE, "call-4711").await;

        let legacy = create()
            .header("x-trace-id", "0AF76519-16CD-43DD-8448-EB211C80319C")
            .header("x-correlation-id", "call-4712")
            .send()
            .await;
        follow(
            &flow,
            &gate,
            legacy.receipt().ticket.id,
            LEGACY,
            "call-4712",
        )
        .await;

        // Without one, the caller is told the conversation that was assigned, and it holds.
        let anonymous = create().send().await;
        let assigned = anonymous.header("x-correlation-id").unwrap().to_owned();
        let trace = trace_of(anonymous.header("traceparent").unwrap()).to_owned();
        follow(
            &flow,
            &gate,
            anonymous.receipt().ticket.id,
            &trace,
            &assigned,
        )
        .await;
    });
}
