//! What reaches a workflow twice, late, out of order, or not at all.

use contracts::{Operation, TicketState, signal::TICKET_WORKFLOW};
use dispatch_tests::{
    flow::{Flow, FlowOptions, with_flow},
    job::Job,
    namespace::{count, signals},
};
use serde_json::{Value, json};
use temporalio_common::protos::temporal::api::enums::v1::EventType;

fn by_hand() -> FlowOptions {
    FlowOptions {
        relay: false,
        ..FlowOptions::default()
    }
}

/// Sends events by hand, as a relay would, in this order.
async fn deliver(flow: &Flow, job: &Job, seqs: &[u64]) {
    let events = flow.events(job.id()).await;
    let chosen: Vec<_> = seqs
        .iter()
        .map(|seq| {
            events
                .iter()
                .find(|event| event.seq == *seq)
                .expect("it was written")
        })
        .collect();
    flow.namespace()
        .signal(
            flow.key(job.id()),
            &flow.start_input(job.id()),
            &json!({ "v": 1, "epoch": 1, "events": chosen }),
        )
        .await;
}

/// How many commands of the workflow there are on this ticket, refused ones included.
async fn commands_of_the_workflow(flow: &Flow, job: &Job) -> i64 {
    sqlx::query_scalar(
        "select count(*) from audit_events where ticket_id = $1 and actor_kind = 'workflow'",
    )
    .bind(job.id().as_uuid())
    .fetch_one(flow.admin())
    .await
    .unwrap()
}

#[test]
fn duplicates_and_disorder_change_nothing() {
    with_flow(by_hand(), async |flow| {
        let job = Job::at(&flow, flow.tenant(), TicketState::Scheduled).await;
        for seqs in [
            &[1][..],
            &[3],
            &[1, 2, 3],
            &[4],
            &[2],
            &[4, 4],
            &[3, 4],
            &[1],
        ] {
            deliver(&flow, &job, seqs).await;
        }
        let view = flow.agreed(job.id()).await;
        assert_eq!((view.applied_seq, view.healed), (4, 0), "{view:?}");
        let before = commands_of_the_workflow(&flow, &job).await;

        // The relay knows nothing of all that and sends everything once more.
        flow.start_relay();
        flow.drained().await;
        let view = flow.agreed(job.id()).await;
        assert_eq!((view.applied_seq, view.healed), (4, 0), "{view:?}");
        assert_eq!(commands_of_the_workflow(&flow, &job).await, before);
        let events = flow.namespace().history(flow.key(job.id())).await;
        assert_eq!(count(&events, EventType::WorkflowTaskFailed), 0);
    });
}

#[test]
fn what_came_too_early_is_kept_until_the_rest_comes() {
    with_flow(by_hand(), async |flow| {
        let job = Job::at(&flow, flow.tenant(), TicketState::Scheduled).await;
        deliver(&flow, &job, &[1]).await;
        deliver(&flow, &job, &[4]).await;
        deliver(&flow, &job, &[3]).await;
        let key = flow.key(job.id());
        let view =
            dispatch_tests::wait::until("three signals", dispatch_tests::wait::BOUND, async || {
                let view = flow.namespace().view(key).await?;
                if view.buffered == [3, 4] {
                    Ok(view)
                } else {
                    Err(format!("{view:?}"))
                }
            })
            .await;
        assert_eq!(view.applied_seq, 1);
        deliver(&flow, &job, &[2]).await;
        let view = flow.agreed(job.id()).await;
        assert_eq!((view.applied_seq, view.healed), (4, 0));
        flow.start_relay();
    });
}

#[test]
fn a_missing_event_is_not_waited_for_forever() {
    with_flow(by_hand(), async |flow| {
        // One ticket's workflow begins in the middle, another's misses an event for good.
        let middle = Job::at(&flow, flow.tenant(), TicketState::Scheduled).await;
        deliver(&flow, &middle, &[3]).await;
        let gap = Job::at(&flow, flow.tenant(), TicketState::Scheduled).await;
        deliver(&flow, &gap, &[1]).await;
        deliver(&flow, &gap, &[3, 4]).await;
        for job in [&middle, &gap] {
            let view = flow.agreed(job.id()).await;
            assert_eq!(view.applied_seq, 4);
            assert!(view.healed >= 1, "{view:?}");
        }
        flow.start_relay();
    });
}

#[test]
fn events_that_waited_travel_together() {
    with_flow(by_hand(), async |flow| {
        let job = Job::at(&flow, flow.tenant(), TicketState::WorkComplete).await;
        let written = flow.events(job.id()).await.len();
        assert!(written >= 7, "{written}");
        flow.start_relay();
        flow.agreed(job.id()).await;
        let signals = signals(&flow.namespace().history(flow.key(job.id())).await);
        assert_eq!(signals.len(), 1, "{signals:#?}");
        assert_eq!(signals[0]["events"].as_array().unwrap().len(), written);
    });
}

#[test]
fn an_old_worker_survives_what_a_newer_relay_sends() {
    with_flow(by_hand(), async |flow| {
        let mut job = Job::at(&flow, flow.tenant(), TicketState::New).await;
        deliver(&flow, &job, &[1]).await;
        flow.agreed(job.id()).await;
        job.does(Operation::Triage).await;

        let events = flow.events(job.id()).await;
        let mut newer = serde_json::to_value(&events[1]).unwrap();
        newer["event_type"] = json!("drone.landed");
        newer["event_version"] = json!(9);
        newer["colour"] = json!({ "rgb": [1, 2, 3] });
        newer["level"] = json!({ "state": "IN_ORBIT", "altitude": 400 });
        let (key, start) = (flow.key(job.id()), flow.start_input(job.id()));
        let newer = json!({ "v": 9, "epoch": 1, "mood": "good", "events": [newer] });
        flow.namespace().signal(key, &start, &newer).await;
        let view = flow.agreed(job.id()).await;
        assert_eq!(view.applied_seq, 2);
        assert!(
            view.healed >= 1,
            "a level that cannot be read asks for the truth"
        );

        // Not even an envelope; and things that are only nearly one.
        for garbage in [
            Value::Null,
            json!("x"),
            json!([1, 2]),
            json!({ "epoch": "one" }),
            json!({ "v": 1, "epoch": 1, "events": "none" }),
            json!({ "v": 1, "epoch": 1, "events": [{ "seq": 3 }, 7, null] }),
        ] {
            flow.namespace().signal(key, &start, &garbage).await;
        }
        job.does(Operation::ProposeSchedule).await;
        flow.start_relay();
        let view = flow.agreed(job.id()).await;
        assert_eq!(view.applied_seq, 3);
        let events = flow.namespace().history(key).await;
        for kind in [
            EventType::WorkflowTaskFailed,
            EventType::WorkflowTaskTimedOut,
        ] {
            assert_eq!(count(&events, kind), 0, "{kind:?}");
        }
    });
}

#[test]
fn a_start_for_a_ticket_that_has_ended_does_nothing() {
    with_flow(FlowOptions::default(), async |flow| {
        let job = Job::at(&flow, flow.tenant(), TicketState::Cancelled).await;
        flow.agreed(job.id()).await;
        let before = commands_of_the_workflow(&flow, &job).await;
        deliver(&flow, &job, &[1, 2]).await;
        let view = flow.agreed(job.id()).await;
        assert_eq!(view.applied_seq, 2);
        assert_eq!(commands_of_the_workflow(&flow, &job).await, before);
        let id = contracts::ticket_workflow_id(flow.tenant().id, job.id());
        let query = format!("WorkflowType = '{TICKET_WORKFLOW}' AND WorkflowId = '{id}'");
        dispatch_tests::wait::until("two runs", dispatch_tests::wait::BOUND, async || match flow
            .namespace()
            .list(&query)
            .await
            .len()
        {
            2 => Ok(()),
            n => Err(n),
        })
        .await;
    });
}
