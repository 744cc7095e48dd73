//! A run that continues as a new one takes everything along.

use std::time::Duration;

use contracts::Operation;
use dispatch_tests::{
    flow::{Flow, FlowOptions, quick, with_flow},
    gate::{Gate, Passage},
    job::Job,
    namespace::{calls, count, signals},
    wait::{self, BOUND},
};
use relay::Tuning;
use serde_json::json;
use temporalio_common::protos::temporal::api::{
    enums::v1::{EventType, WorkflowTaskFailedCause},
    history::v1::{HistoryEvent, history_event::Attributes},
};
use workflows::activity::{TakeSnapshot, TicketActivity};

/// A new ticket whose workflow continues as new after about two events. It is started by hand and
/// begins with a snapshot, so one is taken; no other may follow.
async fn short_lived(flow: &Flow) -> Job {
    let mut job = flow.job();
    job.does(Operation::CreateTicket).await;
    let mut input = serde_json::to_value(flow.start_input(job.id())).unwrap();
    input["history_limit"] = json!(12);
    flow.namespace().start(flow.key(job.id()), &input).await;
    assert_eq!(flow.agreed(job.id()).await.healed, 1);
    flow.start_relay();
    flow.drained().await;
    job
}

/// Every event of every run, oldest run first.
async fn whole_story(flow: &Flow, job: &Job) -> Vec<Vec<HistoryEvent>> {
    let key = flow.key(job.id());
    let mut story = Vec::new();
    for run in flow.namespace().runs(key).await {
        story.push(flow.namespace().history_of(key, &run).await);
    }
    story
}

/// How many snapshots were taken in all runs. A signal that was lost, or a run that began without
/// what the one before knew, would have cost another.
fn snapshots(story: &[Vec<HistoryEvent>]) -> usize {
    let of_runs = story.iter().map(|run| calls(run, TakeSnapshot::NAME));
    of_runs.sum()
}

fn failed_because(events: &[HistoryEvent], cause: WorkflowTaskFailedCause) -> bool {
    events.iter().any(|event| match event.attributes.as_ref() {
        Some(Attributes::WorkflowTaskFailedEventAttributes(it)) => it.cause() == cause,
        _ => false,
    })
}

#[test]
fn nothing_is_lost_or_done_twice_over_many_runs() {
    let options = FlowOptions {
        relay: false,
        ..FlowOptions::default()
    };
    with_flow(options, async |flow| {
        // A new ticket calls for a proposal after each change, so that each run has something to do.
        let mut job = short_lived(&flow).await;
        for _ in 0..12 {
            job.does(Operation::CustomerAwait).await;
            job.does(Operation::CustomerResume).await;
            flow.agreed(job.id()).await;
        }
        assert_eq!(flow.agreed(job.id()).await.applied_seq, 1 + 24);
        let story = whole_story(&flow, &job).await;
        assert_eq!(snapshots(&story), 1);
        assert!(story.len() >= 4, "{} runs", story.len());
        let continued = EventType::WorkflowExecutionContinuedAsNew;
        for run in &story[..story.len() - 1] {
            assert_eq!(count(run, continued), 1);
        }
        // What was proposed before is not proposed again by a later run.
        let (all, different): (i64, i64) = sqlx::query_as(
            "select count(*), count(distinct payload -> 'based_on_version') from audit_events
             where ticket_id = $1 and operation = 'record_proposal'",
        )
        .bind(job.id().as_uuid())
        .fetch_one(flow.admin())
        .await
        .unwrap();
        assert_eq!(all, different);
        assert!(all > 12, "{all}");
    });
}

#[test]
fn a_signal_between_the_command_to_continue_and_the_new_run_is_not_lost() {
    let options = FlowOptions {
        relay: false,
        worker: false,
        // One event, one signal: each look sends at once what the last command wrote.
        tuning: Tuning {
            poll: Duration::from_millis(50),
            ..quick()
        },
        ..FlowOptions::default()
    };
    with_flow(options, async |flow| {
        let temporal = flow.namespace().address().parse().unwrap();
        let gate = Gate::start(temporal).await;
        flow.start_worker_at(gate.address()).await;
        let mut job = short_lived(&flow).await;
        job.does(Operation::Triage).await;
        flow.agreed(job.id()).await;
        let key = flow.key(job.id());

        // The worker gets tasks but is not heard: whatever it decides, further signals come first.
        // Sooner or later what it decides is to continue as new.
        let caught = async {
            for _ in 0..20 {
                gate.set(Passage::NoQuestions);
                job.does(Operation::CustomerAwait).await;
                wait::until("a task in the worker's hands", BOUND, async || {
                    let last = flow.namespace().history(key).await.pop();
                    match last.map(|event| event.event_type()) {
                        Some(EventType::WorkflowTaskStarted) => Ok(()),
                        other => Err(other),
                    }
                })
                .await;
                job.does(Operation::CustomerResume).await;
                // It is with Temporal, and the worker knows nothing of it.
                flow.drained().await;
                gate.set(Passage::Open);
                flow.agreed(job.id()).await;
                let story = whole_story(&flow, &job).await;
                let refused = WorkflowTaskFailedCause::UnhandledCommand;
                if story.iter().any(|run| failed_because(run, refused)) {
                    return story;
                }
            }
            panic!("a run never continued while a signal came");
        };
        let story = caught.await;
        // The run that was refused has the late signal itself, or the next one has.
        let all: Vec<_> = story.iter().flat_map(|run| signals(run)).collect();
        let mut seqs: Vec<_> = all
            .iter()
            .flat_map(|envelope| envelope["events"].as_array().unwrap())
            .map(|event| event["seq"].as_u64().unwrap())
            .collect();
        seqs.sort_unstable();
        seqs.dedup();
        let head = flow.agreed(job.id()).await.applied_seq;
        assert_eq!(seqs, (1..=head).collect::<Vec<_>>());
        assert_eq!(snapshots(&story), 1);
    });
}
