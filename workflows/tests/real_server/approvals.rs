//! Approvals on a server that skips time, and software that acts.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use contracts::{
    ApprovalId, Operation, Role,
    TicketState::*,
    approval::{ApprovalKind, ApprovalStep, StepKind, TicketApproval},
    event::{AutonomyMode, Stopped, TicketLevel, WaitingFor},
    inbox::Owed,
    proposal::ProposalKind,
};
use temporalio_common::protos::temporal::api::{
    enums::v1::EventType,
    history::v1::{HistoryEvent, history_event::Attributes},
};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::harness::*;

fn held(begun: DateTime<Utc>) -> TicketApproval {
    let step = |hours, step| ApprovalStep {
        at: begun + TimeDelta::hours(hours),
        step,
        roles: Vec::new(),
    };
    TicketApproval {
        id: ApprovalId::from_uuid(Uuid::from_u128(7)),
        kind: ApprovalKind::HeldCommand,
        operation: Operation::Dispatch,
        version: 1,
        released: false,
        autonomous: true,
        facts_sha256: None,
        steps: vec![
            step(1, StepKind::Reminder),
            step(2, StepKind::Escalation),
            step(4, StepKind::Expiry),
        ],
        waits_for: vec![Owed {
            code: "CHANGE_ORDER".to_owned(),
            roles: vec![Role::Approver, Role::AccountManager],
            count: 2,
            given: 1,
        }],
    }
}

fn released(mut approval: TicketApproval) -> TicketApproval {
    approval.released = true;
    approval.waits_for.clear();
    approval.steps.retain(|step| step.step == StepKind::Expiry);
    approval
}

fn with(approval: Option<&TicketApproval>) -> TicketLevel {
    let mut level = level(OnSite, WaitingFor::Completion);
    level.approvals = approval.cloned().into_iter().collect();
    level
}

/// Waits until so many steps were taken.
async fn steps_taken(fixture: &Fixture, wanted: usize) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while fixture.api.truth().steps.len() < wanted {
        assert!(Instant::now() < deadline, "{wanted} steps");
        sleep(Duration::from_millis(20)).await;
    }
}

/// The names of the patches that a history has met, each with the number of its event.
fn patches(history: &[HistoryEvent]) -> Vec<(String, i64)> {
    let patch = |event: &HistoryEvent| match &event.attributes {
        Some(Attributes::MarkerRecordedEventAttributes(marker)) => {
            let data = marker.details.get("patch-data")?.payloads.first()?;
            let value: serde_json::Value = serde_json::from_slice(&data.data).ok()?;
            Some((value["id"].as_str()?.to_owned(), event.event_id))
        }
        _ => None,
    };
    history.iter().filter_map(patch).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_decides_and_each_step_comes_at_its_time() {
    let mut fixture = Fixture::new().await;
    fixture.time_skipping = true;
    let wall = Instant::now();
    let begun = Utc::now();
    let mut approval = held(begun);
    fixture
        .with_worker(async {
            // It has nothing of approvals yet, as a run of an older release.
            fixture.happen(with(None)).await;
            fixture.until("started", |view| view.applied_seq == 1).await;
            for taken in 1..=3 {
                fixture.happen(with(Some(&approval))).await;
                steps_taken(&fixture, taken).await;
                approval.steps.remove(0);
            }
            let last = fixture.happen(with(None)).await;
            fixture
                .until("ended", |view| view.applied_seq == last)
                .await;
        })
        .await;
    assert!(wall.elapsed() < Duration::from_secs(30));
    let steps: Vec<_> = fixture.api.truth().steps.clone();
    let planned: Vec<_> = held(begun)
        .steps
        .iter()
        .map(|step| (approval.id, step.step, step.at))
        .collect();
    assert_eq!(steps, planned);
    let history = fixture.history(None).await;
    let rang: Vec<_> = history
        .iter()
        .filter(|event| event.event_type() == EventType::TimerFired)
        .map(event_time)
        .collect();
    assert_eq!(rang.len(), 3, "one timer for each step");
    for ((_, step, at), rang) in planned.iter().zip(&rang) {
        let late = *rang - *at;
        assert!(
            late >= TimeDelta::zero() && late < TimeDelta::minutes(1),
            "{step}: {late}"
        );
    }
    // The second patch was met when there was something to do, and replays there.
    let met = patches(&history);
    let names: Vec<_> = met.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["every-kind-of-advice", "approvals"]);
    assert!(met[1].1 > met[0].1 + 3, "{met:?}");
    assert_eq!(fixture.api.truth().calls, [("approval_step", 3)].into());
    replay("approval_expires", history).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_release_is_carried_out_once_whatever_stands_in_the_way() {
    let fixture = Fixture::new().await;
    let approval = held(Utc::now());
    fixture
        .with_worker(async {
            fixture.happen(with(Some(&approval))).await;
            fixture.until("waits", |view| view.applied_seq == 1).await;
            // dispatch-api is away, then a kill switch is engaged, then it is released.
            fixture.api.truth().away = true;
            fixture
                .happen(with(Some(&released(approval.clone()))))
                .await;
            fixture
                .until("first failure", |view| view.trouble.is_some())
                .await;
            {
                let mut truth = fixture.api.truth();
                truth.away = false;
                truth.stopped = true;
            }
            let held_back = |trouble: &str| trouble.contains("KILL_SWITCH");
            fixture
                .until("held", |view| {
                    view.trouble.as_deref().is_some_and(held_back)
                })
                .await;
            let mut stopped = with(Some(&released(approval.clone())));
            stopped.kill_generation = 1;
            stopped.stopped = Some(Stopped {
                all: true,
                operations: Vec::new(),
            });
            let seq = fixture.happen(stopped).await;
            fixture.until("told", |view| view.applied_seq == seq).await;
            let tried = fixture.api.truth().calls["execute_approval"];
            fixture.api.truth().stopped = false;
            let mut free = with(Some(&released(approval.clone())));
            free.kill_generation = 2;
            let seq = fixture.happen(free).await;
            fixture
                .until("done", |view| {
                    view.applied_seq == seq && view.trouble.is_none()
                })
                .await;
            assert_eq!(fixture.api.truth().calls["execute_approval"], tried + 1);
            // Told twice more before the event that it was carried out.
            fixture
                .happen(with(Some(&released(approval.clone()))))
                .await;
            let last = fixture.happen(with(None)).await;
            fixture
                .until("ended", |view| view.applied_seq == last)
                .await;
        })
        .await;
    assert_eq!(fixture.api.truth().carried_out, [(approval.id, 1)]);
    assert_eq!(fixture.api.truth().steps, []);
    replay("approval_carried_out", fixture.history(None).await).await;
}

/// No level says of a command without advice whether its stage lets software: the ticket's version is the
/// sign.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_held_back_is_tried_again_when_the_ticket_is_another() {
    let fixture = Fixture::new().await;
    let approval = released(held(Utc::now()));
    fixture.api.truth().stopped = true;
    fixture
        .with_worker(async {
            fixture.happen(with(Some(&approval))).await;
            fixture.until("held", |view| view.trouble.is_some()).await;
            fixture.api.truth().stopped = false;
            let seq = fixture.happen(with(Some(&approval))).await;
            fixture
                .until("done", |view| {
                    view.applied_seq == seq && view.trouble.is_none()
                })
                .await;
            let last = fixture.happen(with(None)).await;
            fixture
                .until("ended", |view| view.applied_seq == last)
                .await;
        })
        .await;
    assert_eq!(fixture.api.truth().carried_out, [(approval.id, 1)]);
    assert_eq!(fixture.api.truth().calls, [("execute_approval", 2)].into());
    let history = fixture.history(None).await;
    let met = patches(&history);
    let names: Vec<_> = met.iter().map(|(name, _)| name.as_str()).collect();
    let expected = [
        "every-kind-of-advice",
        "approvals",
        "held-back-until-another-version",
    ];
    assert_eq!(names, expected);
    replay("approval_held_back", history).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn software_acts_once_at_each_version_where_it_may() {
    let fixture = Fixture::new().await;
    fixture
        .with_worker(async {
            fixture.happen(level(New, WaitingFor::Triage)).await;
            fixture
                .until("shadow", |view| !view.proposed.is_empty())
                .await;
            assert_eq!(fixture.api.truth().acted, []);
            let mut acting = level(Scheduled, WaitingFor::Assignment);
            acting.autonomy = AutonomyMode::Auto;
            acting.acts_on = vec![ProposalKind::Technician];
            acting.silent_on = vec![ProposalKind::Slot];
            fixture.happen(acting.clone()).await;
            fixture
                .until("proposed", |view| view.proposed.len() == 2)
                .await;
            acting.state = Triaged;
            acting.waiting_for = WaitingFor::Schedule;
            let last = fixture.happen(acting).await;
            fixture
                .until("silent", |view| view.applied_seq == last)
                .await;
        })
        .await;
    {
        let truth = fixture.api.truth();
        assert_eq!(truth.acted, [(ProposalKind::Technician, 2)]);
        assert_eq!(truth.proposals.len(), 2, "a slot was not asked for");
    }
    replay("software_acts", fixture.history(None).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_answer_says_is_stopped_is_not_done_whatever_events_say() {
    let fixture = Fixture::new().await;
    let told = |text: &str| Some(text.parse().expect("it is one"));
    fixture
        .with_worker(async {
            fixture.api.truth().told = told("generation=0");
            let mut acting = level(Scheduled, WaitingFor::Assignment);
            acting.autonomy = AutonomyMode::Auto;
            acting.acts_on = vec![ProposalKind::Technician, ProposalKind::Slot];
            fixture.happen(acting.clone()).await;
            fixture
                .until("acted", |view| !view.proposed.is_empty())
                .await;
            // Engaged before the answer to the next call, and no event tells of it.
            fixture.api.truth().told = told("generation=1; stopped=all");
            fixture.happen(acting.clone()).await;
            let view = fixture
                .until("heard", |view| {
                    let level = view.level.as_ref();
                    level.is_some_and(|level| level.kill_generation == 1)
                })
                .await;
            assert_eq!(view.level.expect("it is known").acts_on, []);
            acting.state = Triaged;
            acting.waiting_for = WaitingFor::Schedule;
            fixture.happen(acting).await;
            fixture
                .until("proposed", |view| view.proposed.len() == 3)
                .await;
        })
        .await;
    let technician = ProposalKind::Technician;
    assert_eq!(
        fixture.api.truth().acted,
        [(technician, 1), (technician, 2)]
    );
    let history = fixture.history(None).await;
    let met = patches(&history);
    assert!(
        met.iter().any(|(id, _)| id == "kill-switch-in-answers"),
        "{met:?}"
    );
    replay("answers_heard", history).await;
}
