//! Software that acts, as far as its stage lets it, and stops when it is told to.

use std::collections::BTreeSet;

use chrono::Utc;
use contracts::{
    Operation, TicketState, approval::ApprovalState, autonomy::StageTarget, event::AutonomyMode,
    proposal::ProposalKind,
};
use dispatch_tests::{
    flow::{FlowOptions, with_flow},
    http::key,
    job::Job,
    stack::Stack,
    wait::{self, BOUND},
    who::Who,
};
use domain::advisor::command_of;
use serde_json::json;
use uuid::Uuid;

/// Sets a stage of the first tenant past the gates: these are proved elsewhere.
pub(super) async fn set_stage(stack: &Stack, operation: Operation, mode: &str) {
    sqlx::query(
        "insert into autonomy_stages
             (tenant_id, operation, mode, version, set_by, set_at, reason, command_id)
         values ($1, $2, $3, 1, 'test', $4, 'test', $5)
         on conflict (tenant_id, operation, risk)
             do update set mode = excluded.mode, version = autonomy_stages.version + 1",
    )
    .bind(stack.tenant().id.as_uuid())
    .bind(operation.to_string())
    .bind(mode)
    .bind(Utc::now())
    .bind(Uuid::now_v7())
    .execute(stack.admin())
    .await
    .expect("the superuser may");
}

/// What the workflow attempted on a ticket besides the books: the operation, and how it was refused.
async fn attempts(stack: &Stack, job: &Job) -> Vec<(String, Option<String>)> {
    sqlx::query_as(
        "select operation, refused from audit_events
         where ticket_id = $1 and actor_kind = 'workflow'
           and operation not in ('record_proposal', 'record_sla', 'record_approval_step',
                                 'execute_approval')
         order by position",
    )
    .bind(job.id().as_uuid())
    .fetch_all(stack.admin())
    .await
    .unwrap()
}

/// Waits until the ticket stands there.
pub(super) async fn reaches(job: &Job, state: TicketState) {
    wait::until(&format!("{state}"), BOUND, async || {
        let found = job.ticket().await.state;
        match found == state {
            true => Ok(()),
            false => Err(found),
        }
    })
    .await;
}

fn done(operation: Operation) -> (String, Option<String>) {
    (operation.to_string(), None)
}

#[test]
fn at_shadow_nothing_is_attempted() {
    with_flow(FlowOptions::default(), async |flow| {
        let mut job = flow.job();
        for &operation in super::budget::JOB {
            job.does(operation).await;
            let view = flow.agreed(job.id()).await;
            let level = view.level.unwrap();
            assert_eq!(
                (level.autonomy, level.acts_on),
                (AutonomyMode::Shadow, vec![])
            );
        }
        assert_eq!(attempts(&flow, &job).await, []);
    });
}

#[test]
fn at_auto_software_brings_a_ticket_through_the_decisions_that_are_its_own() {
    with_flow(FlowOptions::default(), async |flow| {
        use Operation::*;
        for operation in [Triage, ProposeSchedule, Dispatch, QaVerify, GenerateInvoice] {
            set_stage(&flow, operation, "AUTO").await;
        }
        let mut job = flow.job();
        // All that triage needs to know is known from the call.
        let mut call = job.body(CreateTicket).await;
        call["details"]["pane_count"] = json!(2);
        job.sends(CreateTicket, &call).await;
        flow.agreed(job.id()).await;
        // Where its advice leaves a doubt it does nothing, and a person decides.
        if job.ticket().await.state == TicketState::New {
            job.does(Triage).await;
        }
        let found = wait::until("a window or somebody sent", BOUND, async || {
            let found = job.ticket().await.state;
            match found {
                TicketState::ScheduleProposed | TicketState::Dispatched => Ok(found),
                other => Err(other),
            }
        })
        .await;
        if found == TicketState::ScheduleProposed {
            job.does(ConfirmSchedule).await;
            reaches(&job, TicketState::Dispatched).await;
        }
        for operation in [EnRoute, CheckIn, Complete] {
            job.does(operation).await;
        }
        let agreed = async || {
            let before = flow.agreed(job.id()).await.applied_seq;
            let after = flow.agreed(job.id()).await.applied_seq;
            if before == after { Ok(()) } else { Err(after) }
        };
        wait::until("rest", BOUND, agreed).await;
        // Whatever advice left no doubt was followed, one at each version, and nothing else was.
        let workflow = flow.client(flow.tenant(), Who::Workflow);
        let proposals = workflow.proposals(job.id()).await.unwrap().items;
        let followed: BTreeSet<u64> = proposals
            .iter()
            .filter(|it| command_of(&it.advice, &it.input).is_some())
            .map(|it| it.based_on_version)
            .collect();
        let attempted = attempts(&flow, &job).await;
        assert_eq!(attempted.len(), followed.len(), "{attempted:?}");
        let sent = attempted.iter().filter(|it| **it == done(Dispatch));
        assert_eq!(sent.count(), 1, "{attempted:?}");
        assert!(
            attempted.iter().all(|(_, refused)| refused.is_none()),
            "{attempted:?}"
        );
    });
}

#[test]
fn what_lacks_a_detail_is_left_to_people_and_is_no_attempt() {
    with_flow(FlowOptions::default(), async |flow| {
        set_stage(&flow, Operation::Triage, "AUTO").await;
        let mut job = flow.job();
        job.does(Operation::CreateTicket).await;
        let proposed = async || {
            let view = flow.agreed(job.id()).await;
            let mut kinds = view.proposed.iter().map(|(kind, _)| *kind);
            kinds
                .find(|kind| *kind == ProposalKind::Triage)
                .ok_or("no advice")
        };
        wait::until("its advice", BOUND, proposed).await;
        let workflow = flow.client(flow.tenant(), Who::Workflow);
        let proposals = workflow.proposals(job.id()).await.unwrap().items;
        let triage = proposals.iter().find(|it| it.kind == ProposalKind::Triage);
        let triage = triage.unwrap();
        assert_eq!(triage.advice.ranked.len(), 1, "nothing else is in doubt");
        let factors = &triage.advice.ranked[0].factors;
        assert!(
            factors
                .iter()
                .any(|it| it.name.as_str() == "missing_details")
        );
        assert_eq!(attempts(&flow, &job).await, []);
        // People who knew more did it, and as software had said.
        job.does(Operation::Triage).await;
        flow.agreed(job.id()).await;
        let stage = StageTarget {
            operation: Operation::Triage,
            risk: None,
        };
        let client = flow.client(flow.tenant(), Who::Auditor);
        let ledger = client.rollout_ledger(&stage, None, None).await.unwrap();
        assert_eq!((ledger.figures.attempts, ledger.figures.denied), (0, 0));
        assert_eq!(ledger.pairs.len(), 1, "its advice is compared all the same");
    });
}

#[test]
fn a_stage_that_is_raised_while_a_ticket_waits_is_followed_and_a_lowered_one_too() {
    with_flow(FlowOptions::default(), async |flow| {
        let job = Job::at(&flow, flow.tenant(), TicketState::Scheduled).await;
        flow.agreed(job.id()).await;
        assert_eq!(attempts(&flow, &job).await, []);
        set_stage(&flow, Operation::Dispatch, "AUTO").await;
        resync(&flow).await;
        reaches(&job, TicketState::Dispatched).await;
        assert_eq!(attempts(&flow, &job).await, [done(Operation::Dispatch)]);

        set_stage(&flow, Operation::Dispatch, "OFF").await;
        let silent = Job::at(&flow, flow.tenant(), TicketState::Scheduled).await;
        let view = flow.agreed(silent.id()).await;
        let technician = contracts::proposal::ProposalKind::Technician;
        assert!(view.proposed.iter().all(|(kind, _)| *kind != technician));
        assert_eq!(attempts(&flow, &silent).await, []);
    });
}

/// Tells the open tickets, as every change of a stage does; here by a switch for what no software
/// does.
async fn resync(stack: &Stack) {
    let scope = json!({ "kind": "operation", "operation": Operation::Reopen });
    let body = json!({ "reason": "drill", "scope": scope });
    let turned = stack
        .command(Who::TenantAdmin, Operation::EngageKillSwitch, None, &body)
        .send()
        .await;
    assert!(turned.status.is_success(), "{}", turned.text());
}

#[test]
fn a_kill_switch_stops_acts_and_releases_until_it_is_released() {
    with_flow(FlowOptions::default(), async |flow| {
        set_stage(&flow, Operation::Dispatch, "APPROVE").await;
        set_stage(&flow, Operation::QaVerify, "APPROVE").await;
        let waiting = Job::at(&flow, flow.tenant(), TicketState::Scheduled).await;
        let approval = wait::until("a held dispatch", BOUND, async || {
            let ticket = waiting.ticket().await;
            ticket.approvals.first().map(|it| it.id).ok_or("none yet")
        })
        .await;
        turn(&flow, Operation::EngageKillSwitch).await;
        let fresh = Job::at(&flow, flow.tenant(), TicketState::WorkComplete).await;
        let body = json!({ "approval_id": approval, "verdict": "approve" });
        let decided = flow
            .ask(
                Who::Dispatcher,
                reqwest::Method::POST,
                format!("/approvals/{approval}/decide"),
            )
            .key(key())
            .json(&body)
            .send()
            .await;
        assert!(decided.status.is_success(), "{}", decided.text());
        // Both workflows know of the switch and rest: nothing is attempted under it.
        for (job, state) in [
            (&waiting, TicketState::Scheduled),
            (&fresh, TicketState::WorkComplete),
        ] {
            let view = flow.agreed(job.id()).await;
            assert!(view.level.unwrap().stopped.is_some_and(|it| it.all));
            assert_eq!(job.ticket().await.state, state);
        }
        assert_eq!(attempts(&flow, &fresh).await, []);

        turn(&flow, Operation::ReleaseKillSwitch).await;
        reaches(&waiting, TicketState::Dispatched).await;
        wait::until("the other one is held", BOUND, async || {
            let ticket = fresh.ticket().await;
            ticket.approvals.first().map(|it| it.id).ok_or("none yet")
        })
        .await;
        let state: String = sqlx::query_scalar("select state from approvals where id = $1")
            .bind(approval.as_uuid())
            .fetch_one(flow.admin())
            .await
            .unwrap();
        assert_eq!(state, ApprovalState::Executed.to_string());
    });
}

async fn turn(stack: &Stack, operation: Operation) {
    let body = json!({ "reason": "drill" });
    let turned = stack
        .command(Who::TenantAdmin, operation, None, &body)
        .send()
        .await;
    assert!(turned.status.is_success(), "{}", turned.text());
}

#[test]
fn a_workflow_that_no_relay_can_tell_learns_of_a_stop_from_the_answer_to_its_next_call() {
    with_flow(FlowOptions::default(), async |flow| {
        set_stage(&flow, Operation::Dispatch, "AUTO").await;
        let mut job = flow.job();
        job.does(Operation::CreateTicket).await;
        // Its first call is answered, and nothing is stopped.
        let known = flow.agreed(job.id()).await.level.unwrap();
        assert_eq!((known.kill_generation, known.stopped), (0, None));
        flow.stop_worker().await;
        for operation in [
            Operation::Triage,
            Operation::ProposeSchedule,
            Operation::ConfirmSchedule,
        ] {
            job.does(operation).await;
        }
        flow.drained().await;
        flow.stop_relays().await;
        turn(&flow, Operation::EngageKillSwitch).await;

        // All that it is told lets it send somebody. It records what it would do, and the answer says
        // that nothing may be done.
        flow.start_worker().await;
        let learns = async || {
            let view = flow.namespace().view(flow.key(job.id())).await;
            match view
                .ok()
                .and_then(|view| view.level)
                .map(|level| (level.kill_generation, level.stopped, level.acts_on))
            {
                Some((1, Some(stopped), acts_on)) if stopped.all && acts_on.is_empty() => Ok(()),
                other => Err(other),
            }
        };
        wait::until("the answer is heard", BOUND, learns).await;
        let workflow = flow.client(flow.tenant(), Who::Workflow);
        let proposals = workflow.proposals(job.id()).await.unwrap().items;
        let technician = ProposalKind::Technician;
        assert!(proposals.iter().any(|it| it.kind == technician));
        assert_eq!(attempts(&flow, &job).await, [], "it did not even try");
        assert_eq!(job.ticket().await.state, TicketState::Scheduled);
        let told: i64 = sqlx::query_scalar(
            "select count(*) from control_events where kind = 'kill_switch' and done_at is not null",
        )
        .fetch_one(flow.admin())
        .await
        .unwrap();
        assert_eq!(told, 0, "no relay told it");

        turn(&flow, Operation::ReleaseKillSwitch).await;
        flow.start_relay();
        reaches(&job, TicketState::Dispatched).await;
    });
}
