//! A held command from the request to its end: steps at their times, one execution, whoever dies in
//! between.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use contracts::{ApprovalId, Operation, TicketId, TicketState, approval::ApprovalState};
use dispatch_tests::{
    fleet::{Fleet, ProcessRole, with_fleet},
    flow::{FlowOptions, with_flow},
    gate::{Gate, Passage},
    http::key,
    job::Job,
    namespace::{at, count},
    stack::Stack,
    wait::{self, BOUND},
    who::Who,
};
use reqwest::{Method, StatusCode};
use serde_json::json;
use sqlx::PgPool;
use temporalio_common::protos::temporal::api::enums::v1::EventType;

use super::acting::set_stage;

const SECONDS: Duration = Duration::from_secs(60);

fn skipping() -> FlowOptions {
    FlowOptions {
        time_skipping: true,
        ..FlowOptions::default()
    }
}

/// The one approval of a ticket.
async fn approval(admin: &PgPool, ticket: TicketId) -> Option<(ApprovalId, ApprovalState)> {
    let row: Option<(uuid::Uuid, String)> =
        sqlx::query_as("select id, state from approvals where ticket_id = $1")
            .bind(ticket.as_uuid())
            .fetch_optional(admin)
            .await
            .unwrap();
    row.map(|(id, state)| (ApprovalId::from_uuid(id), state.parse().unwrap()))
}

/// Waits until the one approval of a ticket stands so.
pub(super) async fn becomes(admin: &PgPool, ticket: TicketId, state: ApprovalState) -> ApprovalId {
    wait::until(
        &format!("approval {state}"),
        BOUND,
        async || match approval(admin, ticket).await {
            Some((id, found)) if found == state => Ok(id),
            other => Err(other),
        },
    )
    .await
}

/// What was accepted of an operation on a ticket, by whom.
async fn accepted(admin: &PgPool, ticket: TicketId, operation: Operation) -> Vec<String> {
    sqlx::query_scalar(
        "select a.actor_id from audit_events a
         where a.ticket_id = $1 and a.operation = $2 and a.refused is null
           and exists (select from jsonb_array_elements(a.changes) c
                        where c #>> '{event,type}' = 'assignment.dispatched')
         order by a.position",
    )
    .bind(ticket.as_uuid())
    .bind(operation.to_string())
    .fetch_all(admin)
    .await
    .unwrap()
}

/// Steps on record: what, when by plan.
async fn steps(admin: &PgPool, ticket: TicketId) -> Vec<(String, DateTime<Utc>)> {
    sqlx::query_as(
        "select payload ->> 'step', (payload ->> 'at')::timestamptz from audit_events
         where ticket_id = $1 and operation = 'record_approval_step' and refused is null
         order by position",
    )
    .bind(ticket.as_uuid())
    .fetch_all(admin)
    .await
    .unwrap()
}

/// A dispatcher says yes.
pub(super) async fn approve(stack: &Stack, id: ApprovalId) {
    let body = json!({ "approval_id": id, "verdict": "approve" });
    let asked = stack
        .ask(
            Who::Dispatcher,
            Method::POST,
            format!("/approvals/{id}/decide"),
        )
        .key(key())
        .json(&body)
        .send()
        .await;
    assert!(asked.status.is_success(), "{}", asked.text());
}

#[test]
fn reminder_escalation_and_expiry_come_in_time_and_silence_denies() {
    let options = FlowOptions {
        relay: false,
        worker: false,
        ..skipping()
    };
    with_flow(options, async |flow| {
        let begun = Instant::now();
        set_stage(&flow, Operation::Dispatch, "APPROVE").await;
        let mut job = Job::at(&flow, flow.tenant(), TicketState::Scheduled).await;
        // All clocks stand still: time is skipped to the approval's steps and to nothing else.
        job.does(Operation::CustomerAwait).await;
        let (admin, ticket) = (flow.admin(), job.id());
        let asked = flow
            .command(
                Who::Workflow,
                Operation::Dispatch,
                Some(ticket),
                &job.body(Operation::Dispatch).await,
            )
            .expecting(job.ticket().await.version)
            .send()
            .await;
        assert_eq!(asked.status, StatusCode::ACCEPTED, "{}", asked.text());
        flow.start_relay();
        flow.drained().await;
        flow.start_worker().await;
        becomes(admin, ticket, ApprovalState::Expired).await;
        let view = flow.agreed(ticket).await;
        assert_eq!(view.level.unwrap().approvals, []);

        // The plan of a dispatch, as long again because it escalates at its first end.
        let requested: DateTime<Utc> =
            sqlx::query_scalar("select requested_at from approvals where ticket_id = $1")
                .bind(ticket.as_uuid())
                .fetch_one(admin)
                .await
                .unwrap();
        let planned = [
            ("reminder", 5),
            ("reminder", 10),
            ("escalation", 15),
            ("escalation", 30),
            ("expiry", 60),
        ];
        let planned = planned
            .map(|(step, minutes)| (step.to_owned(), requested + TimeDelta::minutes(minutes)));
        assert_eq!(steps(admin, ticket).await, planned);
        let events = flow.namespace().history(flow.key(ticket)).await;
        for (step, moment) in planned {
            let rang = events.iter().filter(|event| {
                event.event_type() == EventType::TimerFired
                    && (at(event) - moment).abs() < TimeDelta::minutes(1)
            });
            assert_eq!(rang.count(), 1, "the timer of {step} at {moment}");
        }
        // Nothing was carried out, and nothing is tried again.
        assert_eq!(accepted(admin, ticket, Operation::Dispatch).await, [""; 0]);
        assert_eq!(job.ticket().await.state, TicketState::Scheduled);
        assert_eq!(count(&events, EventType::WorkflowTaskFailed), 0);
        assert!(begun.elapsed() < SECONDS, "{:?}", begun.elapsed());
    });
}

#[test]
fn what_is_approved_after_a_reminder_is_carried_out_once() {
    let options = FlowOptions {
        worker: false,
        ..skipping()
    };
    with_flow(options, async |flow| {
        let gate = Gate::start(flow.address()).await;
        flow.start_worker_through(gate.address()).await;
        set_stage(&flow, Operation::Dispatch, "APPROVE").await;
        let job = Job::at(&flow, flow.tenant(), TicketState::Scheduled).await;
        let (admin, ticket) = (flow.admin(), job.id());
        // The workflow's clock runs fast; from here on it can do nothing until it is let.
        wait::until("a reminder", BOUND, async || {
            match steps(admin, ticket).await.len() {
                0 => Err("none"),
                _ => Ok(()),
            }
        })
        .await;
        gate.set(Passage::NoQuestions);
        let id = becomes(admin, ticket, ApprovalState::Pending).await;
        assert_eq!(steps(admin, ticket).await[0].0, "reminder");
        approve(&flow, id).await;
        becomes(admin, ticket, ApprovalState::Approved).await;
        gate.set(Passage::Open);
        becomes(admin, ticket, ApprovalState::Executed).await;
        flow.agreed(ticket).await;
        carried_out_once(&flow, &job, id).await;
    });
}

/// What the ticket lets software do is not in what a workflow knows of messages: each of its versions is a
/// reason to try again what was held back.
#[test]
fn what_an_opt_out_held_back_is_carried_out_once_it_is_taken_back() {
    with_flow(FlowOptions::default(), async |flow| {
        set_stage(&flow, Operation::CommsOutbound, "APPROVE").await;
        let mut job = Job::at(&flow, flow.tenant(), TicketState::Triaged).await;
        let (admin, ticket) = (flow.admin(), job.id());
        let body = json!({
            "ticket_id": ticket, "contact_id": flow.tenant().contact, "channel": "sms",
            "text": "On our way.",
        });
        let ask = flow.command(Who::Agent, Operation::CommsOutbound, None, &body);
        let asked = ask.send().await;
        assert_eq!(asked.status, StatusCode::ACCEPTED, "{}", asked.text());
        let id = becomes(admin, ticket, ApprovalState::Pending).await;
        let opt_out = |is_out: bool| json!({ "opt_out": is_out, "reason": "customer_asked" });
        job.sends(Operation::SetTicketAutonomy, &opt_out(true))
            .await;
        approve(&flow, id).await;

        let refused = async |wanted: usize| {
            wait::until("tries that the stage refused", BOUND, async || {
                let tries: Vec<String> = sqlx::query_scalar(
                    "select refused from audit_events
                      where ticket_id = $1 and actor_kind = 'workflow' and refused is not null",
                )
                .bind(ticket.as_uuid())
                .fetch_all(admin)
                .await
                .unwrap();
                match tries == vec!["STAGE"; wanted] {
                    true => Ok(()),
                    false => Err(tries),
                }
            })
            .await;
            flow.agreed(ticket).await;
        };
        refused(1).await;
        job.sends(Operation::SetTicketAutonomy, &opt_out(false))
            .await;
        assert_eq!(becomes(admin, ticket, ApprovalState::Executed).await, id);
        refused(1).await;
    });
}

/// One execution, as the workflow, and both who proposed and who approved on record.
async fn carried_out_once(stack: &Stack, job: &Job, id: ApprovalId) {
    let by = accepted(stack.admin(), job.id(), Operation::Dispatch).await;
    assert_eq!(by, [Who::Workflow.actor(stack.tenant()).id]);
    let ticket = job.ticket().await;
    assert_eq!(ticket.state, TicketState::Dispatched);
    assert_eq!(ticket.approvals, []);
    let executed: Vec<serde_json::Value> = sqlx::query_scalar(
        "select c #> '{event,data}' from audit_events a, jsonb_array_elements(a.changes) c
         where a.ticket_id = $1 and c #>> '{event,type}' = 'approval.executed'",
    )
    .bind(job.id().as_uuid())
    .fetch_all(stack.admin())
    .await
    .unwrap();
    assert_eq!(executed.len(), 1);
    assert_eq!(executed[0]["approval_id"], json!(id));
    assert_eq!(
        executed[0]["proposed_by"],
        json!(Who::Workflow.actor(stack.tenant()).id)
    );
    assert_eq!(
        executed[0]["approved_by"],
        json!([Who::Dispatcher.actor(stack.tenant()).id])
    );
}

/// A held command with all processes up.
async fn held(fleet: &Fleet) -> (Job, ApprovalId) {
    let job = Job::at(fleet, fleet.tenant(), TicketState::Scheduled).await;
    let id = becomes(fleet.admin(), job.id(), ApprovalState::Pending).await;
    (job, id)
}

fn again(fleet: &Fleet, role: ProcessRole) {
    assert!(fleet.kill(role));
    fleet.start(role, &[]);
}

#[test]
fn whoever_is_killed_between_request_decision_and_execution_it_is_done_once() {
    with_fleet(async |fleet| {
        fleet.start_all().await;
        set_stage(&fleet, Operation::Dispatch, "APPROVE").await;
        for role in [ProcessRole::Worker, ProcessRole::Relay, ProcessRole::Api] {
            // Between the request and the decision. Who was sent is free again for the next job.
            let (mut job, id) = held(&fleet).await;
            again(&fleet, role);
            fleet.serving().await;
            approve(&fleet, id).await;
            becomes(fleet.admin(), job.id(), ApprovalState::Executed).await;
            carried_out_once(&fleet, &job, id).await;
            job.does(Operation::Cancel).await;

            // Between the decision and the execution: the one that would bring it is gone, and
            // whoever is to be killed dies before it is back.
            let (mut job, id) = held(&fleet).await;
            assert!(fleet.kill(ProcessRole::Relay));
            approve(&fleet, id).await;
            if role != ProcessRole::Relay {
                assert!(fleet.kill(role));
            }
            fleet.start(ProcessRole::Relay, &[]);
            if role != ProcessRole::Relay {
                fleet.start(role, &[]);
            }
            fleet.serving().await;
            becomes(fleet.admin(), job.id(), ApprovalState::Executed).await;
            carried_out_once(&fleet, &job, id).await;
            job.does(Operation::Cancel).await;
        }
    });
}

#[test]
fn a_worker_killed_while_it_carries_out_does_it_once() {
    with_fleet(async |fleet: Arc<Fleet>| {
        let gate = Gate::start(fleet.address()).await;
        fleet.reach_api_through(gate.address());
        fleet.start_all().await;
        set_stage(&fleet, Operation::Dispatch, "APPROVE").await;
        let (job, id) = held(&fleet).await;
        gate.set(Passage::NoAnswersToPosts);
        approve(&fleet, id).await;
        // Done in the database, not yet for the worker.
        becomes(fleet.admin(), job.id(), ApprovalState::Executed).await;
        assert!(fleet.kill(ProcessRole::Worker));
        gate.set(Passage::Open);
        fleet.start(ProcessRole::Worker, &[]);
        fleet.settle().await;
        carried_out_once(&fleet, &job, id).await;
    });
}

#[test]
fn an_api_killed_when_it_has_carried_out_answers_the_next_try() {
    with_fleet(async |fleet| {
        fleet.start_all().await;
        set_stage(&fleet, Operation::Dispatch, "APPROVE").await;
        for failpoint in ["after-commit-before-reply:abort:1", "before-commit:abort:1"] {
            let (job, id) = held(&fleet).await;
            // Nothing but the execution is left to be asked for once the decision is on record.
            assert!(fleet.kill(ProcessRole::Worker));
            approve(&fleet, id).await;
            assert!(fleet.kill(ProcessRole::Api));
            fleet.start(ProcessRole::Api, &[("DISPATCH_FAILPOINT", failpoint)]);
            fleet.serving().await;
            fleet.start(ProcessRole::Worker, &[]);
            fleet.ended(ProcessRole::Api).await;
            fleet.start(ProcessRole::Api, &[]);
            fleet.serving().await;
            becomes(fleet.admin(), job.id(), ApprovalState::Executed).await;
            carried_out_once(&fleet, &job, id).await;
        }
    });
}
