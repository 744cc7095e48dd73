//! Hours of SLA time in seconds of ours, and histories that would grow without end.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use contracts::{
    TicketState::*,
    event::WaitingFor,
    sla::{ClockPhase, SlaRecordKind},
};
use temporalio_client::WorkflowGetResultOptions;
use temporalio_common::protos::temporal::api::{
    enums::v1::{EventType, WorkflowTaskFailedCause},
    history::v1::history_event::Attributes,
};
use tokio::time::{Instant, timeout};

use crate::harness::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_breach_after_four_hours_is_recorded_at_its_time() {
    let mut fixture = Fixture::new().await;
    fixture.time_skipping = true;
    let begun = Utc::now();
    let wall = Instant::now();
    let four_hours = TimeDelta::hours(4);
    let mut opened = level(OnSite, WaitingFor::Completion);
    opened.sla = vec![running("response", begun, four_hours)];
    fixture
        .with_worker(async {
            fixture.happen(opened).await;
            fixture
                .until("breach", |view| view.sla_recorded.len() == 2)
                .await;
        })
        .await;
    assert!(wall.elapsed() < Duration::from_secs(30));
    let recorded = fixture.api.truth().recorded.clone();
    let kinds: Vec<_> = recorded.iter().map(|(key, _)| key.kind).collect();
    assert_eq!(kinds, [SlaRecordKind::Warning, SlaRecordKind::Breach]);
    assert_eq!(recorded[1].1, begun + four_hours);
    let history = fixture.history(None).await;
    let markers: Vec<_> = history
        .iter()
        .filter(|e| e.event_type() == EventType::MarkerRecorded)
        .map(event_time)
        // The patch comes first, and somebody is told after each record.
        .skip(1)
        .step_by(2)
        .collect();
    for ((_, at), marker) in recorded.iter().zip(&markers) {
        assert!(marker >= at, "recorded at {marker}, due {at}");
        assert!(*marker < *at + TimeDelta::minutes(1), "{marker} is late");
    }
    println!("{} events: {:#?}", history.len(), census(&history));
    replay("breach_after_four_hours", history).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_clock_lets_a_day_pass_in_silence() {
    let mut fixture = Fixture::new().await;
    fixture.time_skipping = true;
    let begun = Utc::now();
    let mut waiting = level(OnSite, WaitingFor::Customer);
    let mut paused = running("response", begun, TimeDelta::hours(1));
    paused.phase = ClockPhase::Paused { since: begun };
    // Only this one runs, so that there is something to skip to.
    waiting.sla = vec![paused, running("completion", begun, TimeDelta::hours(30))];
    fixture
        .with_worker(async {
            fixture.happen(waiting).await;
            let view = fixture
                .until("warning after a day", |view| !view.sla_recorded.is_empty())
                .await;
            assert_eq!(view.sla_recorded[0].clock.as_str(), "completion");
        })
        .await;
    let recorded = fixture.api.truth().recorded.clone();
    assert_eq!(recorded[0].1, begun + TimeDelta::hours(24));
    assert!(
        recorded
            .iter()
            .all(|(key, _)| key.clock.as_str() == "completion")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_event_is_lost_when_it_continues_as_new() {
    const EVENTS: usize = 120;
    let mut fixture = Fixture::new().await;
    fixture.history_limit = Some(20);
    let begun = Utc::now();
    let told = |n: usize| {
        let mut told = level(OnSite, WaitingFor::Completion);
        told.visit = u32::try_from(n).unwrap();
        // A clock that warned once must not warn in each run.
        told.sla = vec![running(
            "response",
            begun - TimeDelta::minutes(9),
            TimeDelta::minutes(10),
        )];
        told
    };
    let closed = level(Closed, WaitingFor::Nothing);
    fixture
        .with_worker(async {
            for n in 0..EVENTS {
                // Some in a burst, some alone, some out of order, some twice.
                if n % 10 == 3 {
                    let (early, late) = (fixture.api.commit(told(n)), fixture.api.commit(told(n)));
                    fixture.send(&envelope([late])).await;
                    fixture.send(&envelope([early.clone()])).await;
                    fixture.send(&envelope([early])).await;
                } else {
                    let seq = fixture.happen(told(n)).await;
                    if n % 4 == 0 {
                        fixture
                            .until("applied", |view| view.applied_seq >= seq)
                            .await;
                    }
                }
            }
            fixture.happen(closed).await;
            let result = timeout(
                Duration::from_secs(60),
                fixture
                    .client
                    .get_workflow_handle::<dispatch_workflows::TicketWorkflow>(
                        fixture.workflow_id(),
                    )
                    .get_result(WorkflowGetResultOptions::default()),
            )
            .await
            .unwrap()
            .unwrap();
            assert_eq!(result.applied_seq, fixture.api.truth().events.len() as u64);
            assert_eq!(result.healed, 0, "each event arrived by itself");
            assert_eq!(result.sla_recorded.len(), 1);
        })
        .await;
    let calls = fixture.api.truth().calls.clone();
    assert_eq!(calls, [("advise", 1), ("record_sla", 1)].into());

    let (mut runs, mut overtaken) = (0, 0);
    let mut run_id = None;
    loop {
        let history = fixture.history(run_id.as_deref()).await;
        runs += 1;
        for event in &history {
            // A signal that came between the command and the new run: the server sends the task
            // again with both, and nothing else may ever fail a task.
            if let Some(Attributes::WorkflowTaskFailedEventAttributes(failed)) = &event.attributes {
                assert_eq!(failed.cause(), WorkflowTaskFailedCause::UnhandledCommand);
                overtaken += 1;
            }
        }
        let Some(Attributes::WorkflowExecutionStartedEventAttributes(started)) =
            &history[0].attributes
        else {
            panic!("a history begins with its start");
        };
        let before = started.continued_execution_run_id.clone();
        let which = match runs {
            1 => "last_run",
            2 => "run_before_the_last",
            _ => "one_of_many_runs",
        };
        replay(which, history).await;
        if before.is_empty() {
            break;
        }
        run_id = Some(before);
    }
    println!("{runs} runs, {overtaken} ends overtaken by a signal");
    assert!(runs >= 5, "only {runs} runs");
}
