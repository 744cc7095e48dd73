//! A ticket's life, and what it costs.

use chrono::{TimeDelta, Utc};
use contracts::{
    TicketState::*,
    event::{TicketLevel, WaitingFor},
    proposal::ProposalKind,
};
use temporalio_client::{WorkflowDescribeOptions, WorkflowGetResultOptions};
use temporalio_common::{
    protos::temporal::api::enums::v1::EventType, search_attributes::SearchAttributeKey,
};

use crate::harness::*;

/// The budget: history events of a whole life of eleven events that are relayed one by one, with
/// three SLA clocks and six proposals. Each event costs the signal and its workflow task (three
/// history events), ten of them the search attributes; three timers are set and taken back, six
/// calls made; two for the patch; begin and end.
const BUDGET: usize = 70;

fn life() -> Vec<TicketLevel> {
    let now = Utc::now();
    let response = running("response", now, TimeDelta::minutes(30));
    let make_safe = running("make_safe", now, TimeDelta::hours(2));
    let completion = running("completion", now, TimeDelta::hours(8));
    let open = vec![response.clone(), make_safe.clone(), completion.clone()];
    let on_site = vec![stopped(&response), make_safe.clone(), completion.clone()];
    let safe = vec![stopped(&response), stopped(&make_safe), completion.clone()];
    let done = vec![
        stopped(&response),
        stopped(&make_safe),
        stopped(&completion),
    ];
    let with = |state, waiting, sla: &Vec<_>| TicketLevel {
        sla: sla.clone(),
        ..level(state, waiting)
    };
    vec![
        with(New, WaitingFor::Triage, &open),
        with(Triaged, WaitingFor::Schedule, &open),
        with(ScheduleProposed, WaitingFor::Confirmation, &open),
        with(Scheduled, WaitingFor::Assignment, &open),
        with(Dispatched, WaitingFor::Arrival, &open),
        with(Dispatched, WaitingFor::Arrival, &open),
        with(OnSite, WaitingFor::Completion, &on_site),
        with(WorkComplete, WaitingFor::Qa, &safe),
        with(Verified, WaitingFor::Invoice, &done),
        with(Invoiced, WaitingFor::Closing, &done),
        with(Closed, WaitingFor::Nothing, &done),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_life_keeps_its_budget_and_replays() {
    let fixture = Fixture::new().await;
    let levels = life();
    let (last, open) = levels.split_last().unwrap();
    let proposed = [
        (ProposalKind::Triage, 1),
        (ProposalKind::Technician, 4),
        (ProposalKind::Slot, 2),
        (ProposalKind::Reminder, 3),
        (ProposalKind::Closeout, 8),
        (ProposalKind::InvoiceLines, 9),
    ];
    fixture
        .with_worker(async {
            for level in open {
                let seq = fixture.happen(level.clone()).await;
                fixture.tasks_completed(seq).await;
            }
            let description = fixture
                .handle()
                .describe(WorkflowDescribeOptions::default())
                .await
                .unwrap();
            let attributes = description.search_attributes();
            let keyword = |name| attributes.get(&SearchAttributeKey::<String>::keyword(name));
            let tenant = fixture.start.tenant_id.to_string();
            for (name, expected) in [
                ("TenantId", tenant.as_str()),
                ("TicketState", "INVOICED"),
                ("Priority", "P2"),
                ("AutonomyMode", "SHADOW"),
                ("WaitingFor", "closing"),
            ] {
                assert_eq!(keyword(name).as_deref(), Some(expected), "{name}");
            }
            let due = attributes.raw_payload("SlaDueAt");
            assert!(due.is_none(), "no clock runs any more: {due:?}");
            fixture.happen(last.clone()).await;
            let result = fixture
                .client
                .get_workflow_handle::<dispatch_workflows::TicketWorkflow>(fixture.workflow_id())
                .get_result(WorkflowGetResultOptions::default())
                .await
                .unwrap();
            assert_eq!(result.applied_seq, 11);
            assert_eq!(result.level.unwrap().state, Closed);
            assert_eq!((result.healed, result.proposed), (0, proposed.to_vec()));
        })
        .await;
    let history = fixture.history(None).await;
    println!("{} events: {:#?}", history.len(), census(&history));
    assert_eq!(count(&history, EventType::WorkflowTaskFailed), 0);
    assert!(
        history.len() <= BUDGET,
        "{} events in a life",
        history.len()
    );
    replay("whole_life", history).await;
    assert_eq!(fixture.api.truth().calls, [("advise", 6)].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reopened_ticket_gets_a_new_run_that_takes_a_snapshot() {
    let fixture = Fixture::new().await;
    fixture
        .with_worker(async {
            fixture.happen(level(New, WaitingFor::Triage)).await;
            fixture.happen(level(Cancelled, WaitingFor::Nothing)).await;
            fixture
                .handle()
                .get_result(WorkflowGetResultOptions::default())
                .await
                .unwrap();
            replay("cancelled_ticket", fixture.history(None).await).await;
            fixture
                .happen(level(ReturnPending, WaitingFor::Schedule))
                .await;
            let view = fixture
                .until("reopened", |view| view.applied_seq == 3)
                .await;
            assert_eq!(view.healed, 1);
            assert_eq!(view.level.unwrap().state, ReturnPending);
        })
        .await;
    replay("reopened_ticket", fixture.history(None).await).await;
}
