//! What an operator sees of a ticket in Temporal's Web UI.

use std::collections::BTreeMap;

use contracts::{Operation, ticket_workflow_id};
use dispatch_tests::{
    flow::{Flow, FlowOptions, with_flow},
    job::Job,
    namespace::json,
    wait::{self, BOUND},
};
use serde_json::{Value, json as value};

/// The search attributes, as the description has them.
async fn attributes(flow: &Flow, job: &Job) -> BTreeMap<String, Value> {
    let described = flow.namespace().describe(flow.key(job.id())).await.unwrap();
    let info = described.workflow_execution_info.unwrap();
    let fields = info.search_attributes.unwrap_or_default().indexed_fields;
    let ours = fields
        .into_iter()
        .filter(|(name, _)| !name.starts_with("Temporal") && name != "BuildIds");
    ours.filter_map(|(name, payload)| Some((name, json(&payload)?)))
        .collect()
}

/// Whether the list finds exactly this ticket by this query.
async fn listed(flow: &Flow, job: &Job, query: &str) {
    let wanted = [ticket_workflow_id(flow.tenant().id, job.id())];
    wait::until(query, BOUND, async || {
        let found = flow.namespace().list(query).await;
        if found == wanted { Ok(()) } else { Err(found) }
    })
    .await;
}

#[test]
fn the_list_and_the_description_say_where_a_ticket_stands() {
    with_flow(FlowOptions::default(), async |flow| {
        let mut job = flow.job();
        let ticket = job.does(Operation::CreateTicket).await.ticket;
        let mut other = flow.job();
        other.does(Operation::CreateTicket).await;
        other.does(Operation::Triage).await;
        flow.agreed(job.id()).await;
        let due = ticket
            .sla
            .iter()
            .filter_map(|clock| clock.due_at())
            .min()
            .unwrap();
        let shown = attributes(&flow, &job).await;
        let shown_due: chrono::DateTime<chrono::Utc> =
            serde_json::from_value(shown["SlaDueAt"].clone()).unwrap();
        assert_eq!(shown_due.timestamp_millis(), due.timestamp_millis());
        let mut rest = shown;
        rest.remove("SlaDueAt");
        assert_eq!(
            value!(rest),
            value!({
                "TenantId": flow.tenant().id, "TicketState": "NEW", "Priority": "P1",
                "AutonomyMode": "SHADOW", "WaitingFor": "triage",
            })
        );
        let tenant = flow.tenant().id;
        listed(
            &flow,
            &job,
            &format!("TenantId = '{tenant}' AND TicketState = 'NEW'"),
        )
        .await;
        listed(&flow, &job, "WaitingFor = 'triage' AND Priority = 'P1'").await;
        let noon = (due + chrono::TimeDelta::minutes(1)).to_rfc3339();
        listed(
            &flow,
            &job,
            &format!("SlaDueAt < '{noon}' AND Priority = 'P1'"),
        )
        .await;

        // Text for people: the summary at the start stays, the details follow.
        let described = flow.namespace().describe(flow.key(job.id())).await.unwrap();
        let metadata = described.execution_config.unwrap().user_metadata.unwrap();
        let summary: String = json(&metadata.summary.unwrap()).unwrap();
        assert_eq!(summary, "emergency_glass · P1");
        let details = flow.namespace().current_details(flow.key(job.id())).await;
        for part in [
            "emergency_glass",
            "P1",
            "NEW",
            "triage",
            "response",
            "never acts",
        ] {
            assert!(details.contains(part), "no {part} in {details}");
        }

        job.does(Operation::Triage).await;
        job.does(Operation::CustomerAwait).await;
        flow.agreed(job.id()).await;
        let shown = attributes(&flow, &job).await;
        assert_eq!(shown["TicketState"], "TRIAGED");
        assert_eq!(shown["Priority"], "P2");
        assert_eq!(shown["WaitingFor"], "customer");
        assert_eq!(shown.get("SlaDueAt"), None, "no clock runs: {shown:?}");
        let details = flow.namespace().current_details(flow.key(job.id())).await;
        assert!(
            details.contains("TRIAGED") && details.contains("customer"),
            "{details}"
        );
        listed(&flow, &job, "WaitingFor = 'customer'").await;

        job.does(Operation::Cancel).await;
        flow.agreed(job.id()).await;
        listed(
            &flow,
            &job,
            "TicketState = 'CANCELLED' AND ExecutionStatus = 'Completed'",
        )
        .await;
    });
}
