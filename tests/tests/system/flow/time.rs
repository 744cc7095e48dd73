//! Promises are kept by the workflow's clock: hours pass in seconds on a server that skips time.
//!
//! Each test asserts both: the history says that the hours passed, the wall clock that they did not.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use contracts::{
    Operation, TicketId,
    sla::{ClockPhase, SlaClock},
    ticket::Ticket,
};
use dispatch_tests::{
    flow::{Flow, FlowOptions, with_flow},
    namespace::{at, count},
    wait,
};
use serde_json::json;
use temporalio_common::protos::temporal::api::{enums::v1::EventType, history::v1::HistoryEvent};

/// None of these tests may take longer, by any clock on the wall.
const SECONDS: Duration = Duration::from_secs(60);

fn skipping() -> FlowOptions {
    FlowOptions {
        time_skipping: true,
        ..FlowOptions::default()
    }
}

#[track_caller]
fn clock<'a>(ticket: &'a Ticket, name: &str) -> &'a SlaClock {
    let clock = ticket.sla.iter().find(|clock| clock.name.as_str() == name);
    clock.unwrap_or_else(|| panic!("no clock {name}: {:?}", ticket.sla))
}

#[track_caller]
fn running(clock: &SlaClock) -> (DateTime<Utc>, DateTime<Utc>, DateTime<Utc>) {
    match clock.phase {
        ClockPhase::Running {
            since,
            warn_at,
            due_at,
        } => (since, warn_at, due_at),
        other => panic!("{} does not run: {other:?}", clock.name),
    }
}

/// What is on record about a clock, and how many commands it took.
async fn records(flow: &Flow, ticket: TicketId, clock: &str) -> Vec<(String, DateTime<Utc>, i64)> {
    sqlx::query_as(
        "select r.kind, r.effective_at,
                (select count(*) from audit_events a
                 where a.ticket_id = r.ticket_id and a.operation = 'record_sla'
                   and a.payload ->> 'clock' = r.clock and a.payload ->> 'kind' = r.kind)
         from sla_records r where r.ticket_id = $1 and r.clock = $2 order by r.effective_at",
    )
    .bind(ticket.as_uuid())
    .bind(clock)
    .fetch_all(flow.admin())
    .await
    .unwrap()
}

/// Waits until both records of a clock are there: the warning at 80 %, the breach at the deadline,
/// each by exactly one command.
async fn broken_once(flow: &Flow, ticket: TicketId, of: &SlaClock) {
    let (_, warn_at, due_at) = running(of);
    let found = wait::until("the breach", wait::BOUND, async || {
        let found = records(flow, ticket, of.name.as_str()).await;
        if found.len() == 2 {
            Ok(found)
        } else {
            Err(found)
        }
    })
    .await;
    let expected = [
        ("warning".to_owned(), warn_at, 1),
        ("breach".to_owned(), due_at, 1),
    ];
    assert_eq!(found, expected, "{}", of.name);
}

/// Timers that rang within a minute of this moment, by the workflow's clock.
fn rang_at(events: &[HistoryEvent], moment: DateTime<Utc>) -> usize {
    let rang = events
        .iter()
        .filter(|event| event.event_type() == EventType::TimerFired);
    rang.filter(|event| (at(event) - moment).abs() < TimeDelta::minutes(1))
        .count()
}

#[test]
fn four_hours_pass_and_the_promise_is_warned_of_and_broken_once() {
    with_flow(skipping(), async |flow| {
        let begun = Instant::now();
        let ticket = flow.job().does(Operation::CreateTicket).await.ticket;
        let make_safe = clock(&ticket, "make_safe");
        let (since, warn_at, due_at) = running(make_safe);
        assert_eq!(warn_at - since, TimeDelta::minutes(192));
        assert_eq!(due_at - since, TimeDelta::minutes(240));
        broken_once(&flow, ticket.id, make_safe).await;
        flow.agreed(ticket.id).await;

        let events = flow.namespace().history(flow.key(ticket.id)).await;
        assert_eq!(rang_at(&events, warn_at), 1, "the warning's timer");
        assert_eq!(rang_at(&events, due_at), 1, "the breach's timer");
        let passed = at(events.last().unwrap()) - at(&events[0]);
        assert!(passed >= TimeDelta::minutes(239), "only {passed} passed");
        assert!(
            count(
                &events,
                EventType::WorkflowExecutionTimeSkippingTransitioned
            ) > 0
        );
        assert!(
            begun.elapsed() < SECONDS,
            "{:?} on the wall",
            begun.elapsed()
        );
    });
}

#[test]
fn a_day_is_waited_for() {
    with_flow(skipping(), async |flow| {
        let begun = Instant::now();
        let mut job = flow.job();
        let mut body = job.body(Operation::CreateTicket).await;
        body["priority"] = json!("P3");
        let ticket = job.sends(Operation::CreateTicket, &body).await.ticket;
        let response = clock(&ticket, "response");
        let (since, warn_at, due_at) = running(response);
        assert_eq!(due_at - since, TimeDelta::hours(24));
        broken_once(&flow, ticket.id, response).await;
        flow.agreed(ticket.id).await;

        let events = flow.namespace().history(flow.key(ticket.id)).await;
        assert_eq!(rang_at(&events, warn_at), 1, "the warning's timer");
        assert_eq!(rang_at(&events, due_at), 1, "the breach's timer");
        let waited = at(events.last().unwrap()) - at(&events[0]);
        assert!(waited >= TimeDelta::hours(23), "only {waited} passed");
        assert!(
            begun.elapsed() < SECONDS,
            "{:?} on the wall",
            begun.elapsed()
        );
    });
}

#[test]
fn a_paused_clock_stands_still() {
    let options = FlowOptions {
        relay: false,
        ..skipping()
    };
    with_flow(options, async |flow| {
        let begun = Instant::now();
        let mut job = flow.job();
        job.does(Operation::CreateTicket).await;
        let paused_at = job.does(Operation::CustomerAwait).await.ticket.updated_at;
        let (ticket, key) = (job.id(), flow.key(job.id()));
        flow.start_relay();

        // Nothing is due, so nothing is skipped to.
        let view = flow.agreed(ticket).await;
        let paused = |clock: &SlaClock| matches!(clock.phase, ClockPhase::Paused { .. });
        assert!(view.level.unwrap().sla.iter().all(paused));
        let events = flow.namespace().history(key).await;
        assert_eq!(count(&events, EventType::TimerStarted), 0);

        // More than the whole promise passes.
        flow.namespace()
            .fast_forward(key, Duration::from_secs(5 * 60 * 60))
            .await;
        flow.agreed(ticket).await;
        assert_eq!(records(&flow, ticket, "make_safe").await, []);

        // The customer lost nothing of the promise but what was used up before the pause. By the
        // workflow's clock the new deadline is over as soon as it is set; it is what is recorded.
        let resumed = job.does(Operation::CustomerResume).await.ticket;
        let make_safe = clock(&resumed, "make_safe");
        let (since, _, due_at) = running(make_safe);
        let used = TimeDelta::seconds(make_safe.used_seconds.try_into().unwrap());
        assert!(used <= TimeDelta::seconds(10), "{used} were used up");
        assert_eq!(due_at - since, TimeDelta::minutes(240) - used);
        assert!(since > paused_at, "{since}");
        broken_once(&flow, ticket, make_safe).await;
        let events = flow.namespace().history(key).await;
        let mut signals = events
            .iter()
            .filter(|event| event.event_type() == EventType::WorkflowExecutionSignaled);
        let passed = at(signals.next_back().unwrap()) - at(&events[0]);
        assert!(
            passed >= TimeDelta::hours(5),
            "only {passed} passed before it was resumed"
        );
        assert!(
            begun.elapsed() < SECONDS,
            "{:?} on the wall",
            begun.elapsed()
        );
    });
}
