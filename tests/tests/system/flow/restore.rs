//! The database is set back to an earlier copy, behind the back of everything that heard of the
//! time in between. The database is right.

use contracts::{Operation, TicketState, signal::SignalEvent};
use dispatch_tests::{
    flow::{Flow, FlowOptions, HEALING, with_flow},
    job::Job,
    namespace::count,
    wait::{self, BOUND},
    who::Who,
};
use serde_json::json;
use temporalio_common::protos::temporal::api::enums::v1::{
    EventType::WorkflowExecutionSignaled as Signaled, WorkflowExecutionStatus,
};

use super::acting::set_stage;

/// Three tickets: one whose workflow knows too much afterwards, one that ends in the time that is
/// lost, and one that comes in then.
struct Story {
    ahead: Job,
    ended: Job,
    lost: Job,
}

/// Copies the database, and goes on.
async fn copied(flow: &Flow) -> String {
    flow.stop_relays().await;
    flow.stop_api().await;
    let copy = flow.database().copy().await;
    flow.start_api().await;
    flow.start_relay();
    copy
}

/// Afterwards the database is the copy, dispatch-api runs on it, and no relay does.
async fn restored(flow: &Flow, copy: &str) {
    flow.stop_relays().await;
    flow.stop_api().await;
    flow.database().set_back_to(copy).await;
    flow.start_api().await;
}

/// Plays the story, and restores.
async fn set_back(flow: &Flow) -> Story {
    let ahead = Job::at(flow, flow.tenant(), TicketState::Scheduled).await;
    let ended = Job::at(flow, flow.tenant(), TicketState::Triaged).await;
    flow.settle().await;

    let copy = copied(flow).await;
    let mut now = ahead.clone();
    for operation in [Operation::Dispatch, Operation::EnRoute, Operation::CheckIn] {
        now.does(operation).await;
        // Each event in a signal of its own, like those that take their numbers afterwards.
        flow.agreed(now.id()).await;
    }
    ended.clone().does(Operation::Cancel).await;
    let lost = Job::at(flow, flow.tenant(), TicketState::Triaged).await;
    flow.settle().await;
    assert_eq!(flow.agreed(ahead.id()).await.applied_seq, 7);

    restored(flow, &copy).await;
    assert_eq!(ahead.ticket().await.state, TicketState::Scheduled);
    Story { ahead, ended, lost }
}

/// The workflow of the ticket that no longer is finds out and ends.
async fn ends(flow: &Flow, lost: &Job) {
    wait::until(
        "the end of a workflow without a ticket",
        HEALING,
        async || match flow.namespace().status(flow.key(lost.id())).await {
            Some(WorkflowExecutionStatus::Completed) => Ok(()),
            other => Err(other),
        },
    )
    .await;
}

#[test]
fn a_new_epoch_makes_every_workflow_look_again() {
    with_flow(FlowOptions::default(), async |flow| {
        let mut story = set_back(&flow).await;
        let pool = sqlx::PgPool::connect(&flow.database().addresses.relay)
            .await
            .unwrap();
        let epoch = relay::admin::new_epoch(&pool).await.unwrap();
        assert!(epoch > 1);
        pool.close().await;
        flow.start_relay();

        let view = flow.agreed_within(story.ahead.id(), HEALING).await;
        assert_eq!((view.applied_seq, view.epoch), (4, epoch));
        flow.agreed_within(story.ended.id(), HEALING).await;
        ends(&flow, &story.lost).await;

        // The story goes on, another way.
        story.ahead.does(Operation::Dispatch).await;
        story.ended.does(Operation::ProposeSchedule).await;
    });
}

#[test]
fn a_higher_epoch_is_believed_whoever_says_it() {
    let options = FlowOptions {
        relay: false,
        ..FlowOptions::default()
    };
    with_flow(options, async |flow| {
        let mut job = Job::at(&flow, flow.tenant(), TicketState::New).await;
        let (key, start) = (flow.key(job.id()), flow.start_input(job.id()));
        let envelope = |epoch: u64, events: &[SignalEvent]| json!({ "v": 1, "epoch": epoch, "events": events });
        let first = flow.events(job.id()).await;
        flow.namespace()
            .signal(key, &start, &envelope(1, &first))
            .await;
        assert_eq!(flow.agreed(job.id()).await.healed, 0);

        // Only the number says that the same event is of another history.
        let pool = sqlx::PgPool::connect(&flow.database().addresses.relay)
            .await
            .unwrap();
        let epoch = relay::admin::new_epoch(&pool).await.unwrap();
        assert!(epoch > 1);
        pool.close().await;
        flow.namespace()
            .signal(key, &start, &envelope(epoch, &first))
            .await;
        wait::until("a snapshot", BOUND, async || {
            let view = flow.namespace().view(key).await?;
            match (view.healed, view.epoch) {
                (1, of) if of == epoch => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;

        // Nobody believes the old epoch any more.
        job.does(Operation::Triage).await;
        let second = &flow.events(job.id()).await[1..];
        flow.namespace()
            .signal(key, &start, &envelope(1, second))
            .await;
        flow.namespace()
            .signal(key, &start, &envelope(epoch, &[]))
            .await;
        wait::until("four signals", BOUND, async || {
            match count(&flow.namespace().history(key).await, Signaled) {
                4 => Ok(()),
                n => Err(n),
            }
        })
        .await;
        assert_eq!(flow.namespace().view(key).await.unwrap().applied_seq, 1);
        flow.start_relay();
        flow.agreed(job.id()).await;
    });
}

#[test]
fn an_unannounced_restore_shows_at_the_next_event() {
    with_flow(FlowOptions::default(), async |flow| {
        let mut story = set_back(&flow).await;
        flow.start_relay();
        // The same seq as before the restore, and another event.
        story.ahead.does(Operation::CustomerAwait).await;
        let view = flow.agreed_within(story.ahead.id(), HEALING).await;
        assert_eq!((view.applied_seq, view.epoch), (5, 1));
        assert!(view.healed >= 1);
        // Open again in the database, and its workflow has ended: the reconciler sees that.
        flow.agreed_within(story.ended.id(), HEALING).await;
        ends(&flow, &story.lost).await;
    });
}

/// Engages a switch for an operation that no software does, and waits until the workflow knows.
async fn stops(flow: &Flow, job: &Job, operation: Operation) {
    let scope = json!({ "kind": "operation", "operation": operation });
    let body = json!({ "reason": "drill", "scope": scope });
    let turned = flow
        .command(Who::TenantAdmin, Operation::EngageKillSwitch, None, &body)
        .send()
        .await;
    assert!(turned.status.is_success(), "{}", turned.text());
    wait::until("word of the switch", HEALING, async || {
        let view = flow.namespace().view(flow.key(job.id())).await?;
        let stopped = view.level.and_then(|level| level.stopped);
        match &stopped {
            Some(known) if known.stops(operation) => Ok(()),
            _ => Err(format!("{stopped:?}")),
        }
    })
    .await;
}

#[test]
fn a_switch_that_is_turned_after_an_unannounced_restore_is_heard_of() {
    with_flow(FlowOptions::default(), async |flow| {
        set_stage(&flow, Operation::QaVerify, "APPROVE").await;
        let job = Job::at(&flow, flow.tenant(), TicketState::Scheduled).await;
        flow.settle().await;
        let copy = copied(&flow).await;
        stops(&flow, &job, Operation::Reopen).await;
        flow.settle().await;
        restored(&flow, &copy).await;
        flow.start_relay();
        // What is to be told has the same number as before the restore.
        stops(&flow, &job, Operation::Merge).await;
    });
}
