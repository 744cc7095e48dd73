use chrono::TimeDelta;
use contracts::{
    CorrelationId, EventId, Priority, TicketState, TraceContext,
    event::{AutonomyMode, WaitingFor},
    signal::{SignalEvent, TicketSnapshot},
    sla::{ClockCalendar, ClockPhase, SlaClock, SlaRecordKind},
};
use uuid::Uuid;

use super::*;
use crate::ticket::inbox::{BUFFER_LIMIT, GAP_PATIENCE};

mod any_approvals;
mod any_delivery;
mod approvals;

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
}

fn follower() -> TicketFollower {
    let mut follower = unpatched();
    follower.ask_every_kind(true);
    follower.follow_approvals(true);
    follower
}

/// As a run that began before every kind of advice was asked for.
fn unpatched() -> TicketFollower {
    TicketFollower::new(&TicketWorkflowStart {
        tenant_id: TenantId::from_uuid(Uuid::from_u128(1)),
        ticket_id: TicketId::from_uuid(Uuid::from_u128(2)),
        epoch: 1,
    })
}

fn level(state: TicketState, version: u64) -> TicketLevel {
    TicketLevel {
        state,
        version,
        template: "emergency_glass".parse().unwrap(),
        priority: Priority::P2,
        waiting_for: WaitingFor::Triage,
        visit: 1,
        sla: Vec::new(),
        open_approvals: Vec::new(),
        autonomy: AutonomyMode::Shadow,
        kill_generation: 0,
        approvals: Vec::new(),
        acts_on: Vec::new(),
        silent_on: Vec::new(),
        stopped: None,
    }
}

fn running(name: &str, revision: u32, warn: i64, due: i64) -> SlaClock {
    clock(
        name,
        revision,
        ClockPhase::Running {
            since: at(0),
            warn_at: at(warn),
            due_at: at(due),
        },
    )
}

fn clock(name: &str, revision: u32, phase: ClockPhase) -> SlaClock {
    SlaClock {
        name: name.parse().unwrap(),
        calendar: ClockCalendar::Always,
        budget_seconds: 100,
        used_seconds: 0,
        revision,
        phase,
    }
}

fn key(name: &str, kind: SlaRecordKind, revision: u32) -> SlaRecordKey {
    SlaRecordKey {
        clock: name.parse().unwrap(),
        kind,
        revision,
    }
}

/// Event `seq` of history `branch`.
fn event(branch: u64, seq: u64, level: TicketLevel) -> SignalEvent {
    SignalEvent {
        seq,
        event_id: EventId::from_uuid(Uuid::from_u64_pair(branch, seq)),
        event_type: "ticket.triaged".into(),
        event_version: 1,
        occurred_at: at(0),
        correlation_id: CorrelationId::new(format!("c{seq}")).unwrap(),
        trace: TraceContext::parse(TRACE, None).unwrap(),
        level: Some(level),
    }
}

fn envelope(epoch: u64, events: impl IntoIterator<Item = SignalEvent>) -> SignalEnvelope {
    SignalEnvelope {
        v: 1,
        epoch,
        events: events.into_iter().collect(),
        resync: false,
    }
}

fn plain(seq: u64) -> SignalEvent {
    event(0, seq, level(TicketState::OnSite, seq))
}

fn snapshot(head: u64, level: TicketLevel) -> Result<SnapshotOutcome, Failure> {
    Ok(SnapshotOutcome::Found {
        snapshot: Box::new(TicketSnapshot {
            epoch: 1,
            head_seq: head,
            head_event_id: Some(plain(head).event_id),
            level,
            sla_recorded: Vec::new(),
            proposed: Vec::new(),
            escalated: Vec::new(),
        }),
    })
}

/// Somebody is told of what was just recorded.
fn tell_of_records(f: &mut TicketFollower, moment: i64) {
    let Step::Advise(call) = f.next_step(at(moment)) else {
        panic!("somebody must be told");
    };
    assert_eq!((call.kinds.len(), call.escalations.len()), (0, 1));
    f.on_advice(&call, Ok(Outcome::Recorded), at(moment));
}

fn away() -> Failure {
    Failure {
        retryable: true,
        reason: "connection refused".into(),
    }
}

#[test]
fn events_in_order_need_no_snapshot() {
    let mut f = follower();
    f.receive(envelope(1, [plain(1), plain(2)]), at(0));
    assert_eq!(f.next_step(at(0)), Step::Wait(None));
    f.receive(envelope(1, [plain(2), plain(3)]), at(1));
    assert_eq!(f.next_step(at(1)), Step::Wait(None));
    let view = f.view();
    assert_eq!((view.applied_seq, view.healed), (3, 0));
    assert_eq!(view.level.unwrap().version, 3);
}

#[test]
fn a_gap_is_waited_for_and_then_healed() {
    let mut f = follower();
    f.receive(envelope(1, [plain(1)]), at(0));
    f.receive(envelope(1, [plain(4), plain(3)]), at(5));
    let patience = at(5) + GAP_PATIENCE;
    assert_eq!(f.next_step(at(5)), Step::Wait(Some(patience)));
    assert_eq!(f.view().buffered, [3, 4]);
    let Step::Snapshot(call) = f.next_step(patience) else {
        panic!("must heal");
    };
    assert_eq!(call.cause.unwrap().correlation_id.as_str(), "c3");
    f.on_snapshot(snapshot(4, level(TicketState::OnSite, 4)), patience);
    assert_eq!(f.next_step(patience), Step::Wait(None));
    assert_eq!((f.view().applied_seq, f.view().healed), (4, 1));
}

#[test]
fn a_gap_that_closes_in_time_needs_no_snapshot() {
    let mut f = follower();
    f.receive(envelope(1, [plain(1)]), at(0));
    f.receive(envelope(1, [plain(3)]), at(1));
    f.receive(envelope(1, [plain(2)]), at(2));
    assert_eq!(f.next_step(at(60)), Step::Wait(None));
    assert_eq!((f.view().applied_seq, f.view().healed), (3, 0));
}

#[test]
fn whatever_cannot_be_trusted_is_healed() {
    let started = || {
        let mut f = follower();
        f.receive(envelope(1, [plain(1), plain(2)]), at(0));
        f
    };
    let mut unreadable = plain(3);
    unreadable.level = None;
    let mut resync = envelope(0, []);
    resync.resync = true;
    let cases: [(&str, TicketFollower, SignalEnvelope); 7] = [
        ("no event at all", follower(), envelope(1, [])),
        ("first event is not 1", follower(), envelope(1, [plain(7)])),
        ("higher epoch", started(), envelope(2, [plain(3)])),
        (
            "same seq, other event",
            started(),
            envelope(1, [event(9, 2, level(TicketState::New, 9))]),
        ),
        ("resync, whatever its epoch", started(), resync),
        ("unreadable level", started(), envelope(1, [unreadable])),
        (
            "too many early events",
            started(),
            envelope(1, (0..=BUFFER_LIMIT as u64).map(|n| plain(n + 4))),
        ),
    ];
    for (what, mut f, came) in cases {
        f.receive(came, at(1));
        assert!(matches!(f.next_step(at(1)), Step::Snapshot(_)), "{what}");
    }
}

#[test]
fn a_lower_epoch_is_ignored() {
    let mut f = follower();
    f.receive(envelope(1, [plain(1)]), at(0));
    f.receive(envelope(0, [plain(2)]), at(0));
    assert_eq!(f.view().applied_seq, 1);
    assert_eq!(f.next_step(at(0)), Step::Wait(None));
}

#[test]
fn what_comes_while_the_truth_is_read_is_applied_on_top_of_it() {
    let mut f = follower();
    f.receive(envelope(1, [plain(5)]), at(0));
    assert!(matches!(f.next_step(at(0)), Step::Snapshot(_)));
    f.receive(envelope(1, [plain(6)]), at(1));
    f.on_snapshot(snapshot(5, level(TicketState::OnSite, 5)), at(1));
    assert_eq!(f.view().applied_seq, 6);
    assert_eq!(f.view().level.unwrap().version, 6);
}

#[test]
fn an_event_of_a_lost_history_does_not_make_it_heal_for_ever() {
    let mut f = follower();
    f.receive(envelope(1, [plain(1), plain(9)]), at(0));
    assert!(matches!(f.next_step(at(20)), Step::Snapshot(_)));
    f.on_snapshot(snapshot(2, level(TicketState::OnSite, 2)), at(20));
    assert_eq!(f.next_step(at(20)), Step::Wait(None));
}

#[test]
fn a_closed_ticket_ends_without_effects() {
    let mut f = follower();
    let mut closed = level(TicketState::Closed, 2);
    closed.sla = vec![running("completion", 1, 0, 0)];
    f.receive(envelope(1, [plain(1), event(0, 2, closed.clone())]), at(9));
    assert_eq!(f.next_step(at(9)), Step::Finish);

    let mut started_for_a_closed_ticket = follower();
    started_for_a_closed_ticket.receive(envelope(1, [plain(2)]), at(9));
    let step = started_for_a_closed_ticket.next_step(at(9));
    assert!(matches!(step, Step::Snapshot(_)));
    started_for_a_closed_ticket.on_snapshot(snapshot(2, closed), at(9));
    assert_eq!(started_for_a_closed_ticket.next_step(at(9)), Step::Finish);
}

#[test]
fn a_later_event_behind_the_end_is_waited_for() {
    let mut f = follower();
    let closed = event(0, 2, level(TicketState::Closed, 2));
    f.receive(envelope(1, [plain(1), closed, plain(4)]), at(0));
    assert_eq!(f.next_step(at(0)), Step::Wait(Some(at(0) + GAP_PATIENCE)));
}

#[test]
fn an_unknown_ticket_ends_the_workflow() {
    let mut f = follower();
    f.receive(envelope(1, [plain(7)]), at(0));
    assert!(matches!(f.next_step(at(0)), Step::Snapshot(_)));
    f.on_snapshot(Ok(SnapshotOutcome::Gone), at(0));
    assert_eq!(f.next_step(at(0)), Step::Finish);
}

#[test]
fn warning_and_breach_are_recorded_once_each_at_their_time() {
    let mut f = follower();
    let mut l = level(TicketState::OnSite, 1);
    l.sla = vec![running("response", 1, 80, 100)];
    f.receive(envelope(1, [event(0, 1, l.clone())]), at(0));
    for (kind, moment) in [(SlaRecordKind::Warning, 80), (SlaRecordKind::Breach, 100)] {
        assert_eq!(f.next_step(at(moment - 1)), Step::Wait(Some(at(moment))));
        let Step::RecordSla(call) = f.next_step(at(moment)) else {
            panic!("{kind} must be recorded");
        };
        assert_eq!(call.key, key("response", kind, 1));
        assert_eq!((call.effective_at, call.applied_seq), (at(moment), 1));
        f.on_sla(call, Ok(Outcome::Recorded), at(moment));
        tell_of_records(&mut f, moment);
    }
    assert_eq!(f.next_step(at(1000)), Step::Wait(None));
    // The same promise again is on record; another revision is another promise.
    f.receive(envelope(1, [event(0, 2, l.clone())]), at(1000));
    assert_eq!(f.next_step(at(1000)), Step::Wait(None));
    l.sla[0].revision = 2;
    f.receive(envelope(1, [event(0, 3, l)]), at(1000));
    assert!(matches!(f.next_step(at(1000)), Step::RecordSla(c) if c.key.revision == 2));
}

#[test]
fn a_paused_or_stopped_clock_never_rings() {
    let mut f = follower();
    let mut l = level(TicketState::OnSite, 1);
    l.sla = vec![
        clock("a", 1, ClockPhase::Paused { since: at(1) }),
        clock(
            "b",
            1,
            ClockPhase::Stopped {
                at: at(1),
                met: false,
            },
        ),
    ];
    f.receive(envelope(1, [event(0, 1, l)]), at(0));
    assert_eq!(f.next_step(at(1_000_000)), Step::Wait(None));
}

#[test]
fn a_deadline_that_passed_unrecorded_is_recorded_after_somebody_acted() {
    let mut f = follower();
    let mut l = level(TicketState::OnSite, 1);
    let mut late = clock(
        "response",
        1,
        ClockPhase::Stopped {
            at: at(300),
            met: false,
        },
    );
    late.used_seconds = 101;
    l.sla = vec![late];
    f.receive(envelope(1, [event(0, 1, l)]), at(400));
    for kind in [SlaRecordKind::Warning, SlaRecordKind::Breach] {
        let Step::RecordSla(call) = f.next_step(at(400)) else {
            panic!("{kind} must be recorded");
        };
        assert_eq!((call.key.kind, call.effective_at), (kind, at(300)));
        f.on_sla(call, Ok(Outcome::Recorded), at(400));
    }
    assert_eq!(f.next_step(at(400)), Step::Wait(None));
}

#[test]
fn a_moot_record_is_not_repeated_but_a_moved_deadline_is_recorded() {
    let mut f = follower();
    let mut l = level(TicketState::OnSite, 1);
    l.sla = vec![running("response", 1, 500, 100)];
    f.receive(envelope(1, [event(0, 1, l.clone())]), at(0));
    let Step::RecordSla(call) = f.next_step(at(100)) else {
        panic!("must be recorded");
    };
    let moot = Outcome::Moot {
        reason: "ILLEGAL_TRANSITION".into(),
    };
    f.on_sla(call, Ok(moot), at(100));
    assert_eq!(f.next_step(at(100)), Step::Wait(Some(at(500))));
    // The customer was awaited, which the workflow did not know yet; the deadline moves.
    l.sla = vec![running("response", 1, 500, 200)];
    f.receive(envelope(1, [event(0, 2, l)]), at(110));
    assert_eq!(f.next_step(at(110)), Step::Wait(Some(at(200))));
    assert!(matches!(f.next_step(at(200)), Step::RecordSla(c) if c.effective_at == at(200)));
}

#[test]
fn dispatch_api_being_away_stops_nothing_else() {
    let mut f = follower();
    let mut l = level(TicketState::New, 1);
    l.sla = vec![running("response", 1, 50, 100)];
    f.receive(envelope(1, [event(0, 1, l.clone())]), at(0));
    let Step::Advise(call) = f.next_step(at(0)) else {
        panic!("a new ticket asks for triage advice");
    };
    f.on_advice(&call, Err(away()), at(0));
    assert_eq!(f.view().trouble.unwrap(), "advise: connection refused");
    let Step::Wait(Some(again)) = f.next_step(at(0)) else {
        panic!("must try again later");
    };
    assert!(again > at(0) && again < at(2));
    l.version = 2;
    l.state = TicketState::OnSite;
    f.receive(envelope(1, [event(0, 2, l)]), at(1));
    assert_eq!(f.next_step(at(1)), Step::Wait(Some(at(50))));
    assert!(matches!(f.next_step(at(50)), Step::RecordSla(_)));
}

#[test]
fn a_final_refusal_is_noted_and_the_next_level_goes_on() {
    let mut f = follower();
    f.receive(
        envelope(1, [event(0, 1, level(TicketState::New, 1))]),
        at(0),
    );
    let Step::Advise(call) = f.next_step(at(0)) else {
        panic!("a new ticket asks for triage advice");
    };
    let refused = Outcome::Refused {
        reason: "FORBIDDEN".into(),
    };
    f.on_advice(&call, Ok(refused), at(0));
    assert_eq!(f.next_step(at(999)), Step::Wait(None));
    assert_eq!(f.view().trouble.unwrap(), "advise: FORBIDDEN");
    let next = event(0, 2, level(TicketState::Scheduled, 2));
    f.receive(envelope(1, [next]), at(1000));
    let Step::Advise(call) = f.next_step(at(1000)) else {
        panic!("a scheduled ticket asks whom to send");
    };
    assert_eq!(
        (call.kinds.as_slice(), call.version),
        ([ProposalKind::Technician].as_slice(), 2)
    );
    f.on_advice(&call, Ok(Outcome::Recorded), at(1000));
    assert_eq!(f.view().proposed, [(ProposalKind::Technician, 2)]);
    assert_eq!(f.view().trouble, None);
}

#[test]
fn all_that_is_due_is_asked_for_in_one_call() {
    let mut urgent = level(TicketState::Triaged, 1);
    urgent.priority = Priority::P1;
    let ask = |mut f: TicketFollower| {
        f.receive(envelope(1, [event(0, 1, urgent.clone())]), at(0));
        let Step::Advise(call) = f.next_step(at(0)) else {
            panic!("a triaged P1 asks what to do");
        };
        f.on_advice(&call, Ok(Outcome::Recorded), at(0));
        assert_eq!(f.next_step(at(0)), Step::Wait(None));
        let proposed = call.kinds.iter().map(|kind| (*kind, 1));
        let mut proposed: Vec<_> = proposed.collect();
        proposed.sort();
        assert_eq!(f.view().proposed, proposed);
        call.kinds
    };
    assert_eq!(
        ask(follower()),
        [ProposalKind::Slot, ProposalKind::Technician]
    );
    assert_eq!(ask(unpatched()), [ProposalKind::Technician]);
}

#[test]
fn somebody_is_told_of_each_record_once_while_its_clock_runs() {
    let mut f = follower();
    let mut l = level(TicketState::OnSite, 1);
    l.sla = vec![
        running("response", 1, 80, 100),
        running("completion", 1, 80, 200),
    ];
    f.receive(envelope(1, [event(0, 1, l.clone())]), at(0));
    let mut asked = Vec::new();
    for moment in [80, 100, 200] {
        loop {
            match f.next_step(at(moment)) {
                Step::RecordSla(call) => f.on_sla(call, Ok(Outcome::Recorded), at(moment)),
                Step::Advise(call) => {
                    assert_eq!(call.kinds, []);
                    asked.push((moment, call.escalations.clone()));
                    f.on_advice(&call, Ok(Outcome::Recorded), at(moment));
                }
                Step::Wait(_) => break,
                other => panic!("{other:?}"),
            }
        }
    }
    let of = |name, kind| key(name, kind, 1);
    use SlaRecordKind::{Breach, Warning};
    assert_eq!(
        asked,
        [
            (80, vec![of("completion", Warning), of("response", Warning)]),
            (100, vec![of("response", Breach)]),
            (200, vec![of("completion", Breach)]),
        ]
    );
    assert_eq!(f.view().escalated.len(), 4);
    // Another version of the ticket is no news of these.
    l.version = 2;
    f.receive(envelope(1, [event(0, 2, l)]), at(300));
    assert_eq!(f.next_step(at(300)), Step::Wait(None));
}

#[test]
fn what_the_first_version_carried_over_is_read() {
    let mut f = unpatched();
    let mut l = level(TicketState::New, 1);
    l.sla = vec![running("response", 1, 50, 100)];
    f.receive(envelope(1, [event(0, 1, l)]), at(0));
    let Step::Advise(call) = f.next_step(at(0)) else {
        panic!("a new ticket asks for triage advice");
    };
    f.on_advice(&call, Err(away()), at(0));
    let mut json = serde_json::to_value(&f).unwrap();
    let fields = json.as_object_mut().unwrap();
    for newer in ["escalated", "every_kind", "approvals", "acted"] {
        assert!(fields.remove(newer).is_some(), "{newer}");
    }
    let duty = &json["attempts"][0]["duty"];
    assert_eq!(
        *duty,
        serde_json::json!({ "duty": "advice", "kind": "triage", "version": 1 })
    );
    assert_eq!(serde_json::from_value::<TicketFollower>(json).unwrap(), f);
}

#[test]
fn being_ahead_of_the_database_is_healed_by_a_snapshot() {
    let mut f = follower();
    f.receive(
        envelope(1, [plain(1), event(0, 2, level(TicketState::New, 2))]),
        at(0),
    );
    let Step::Advise(call) = f.next_step(at(0)) else {
        panic!("a new ticket asks for triage advice");
    };
    f.on_advice(&call, Ok(Outcome::Ahead), at(0));
    assert!(matches!(f.next_step(at(0)), Step::Snapshot(_)));
    f.on_snapshot(snapshot(1, level(TicketState::OnSite, 1)), at(0));
    assert_eq!(f.view().applied_seq, 1);
    assert_eq!(f.next_step(at(0)), Step::Wait(None));
}

#[test]
fn all_of_it_is_carried_over() {
    let mut f = follower();
    let mut l = level(TicketState::New, 1);
    l.sla = vec![running("response", 1, 50, 100)];
    f.receive(envelope(1, [event(0, 1, l), plain(3)]), at(0));
    let Step::Advise(call) = f.next_step(at(0)) else {
        panic!("a new ticket asks for triage advice");
    };
    f.on_advice(&call, Err(away()), at(0));
    let json = serde_json::to_value(&f).unwrap();
    assert_eq!(serde_json::from_value::<TicketFollower>(json).unwrap(), f);
}

#[test]
fn the_details_say_what_an_operator_asks() {
    let mut f = follower();
    assert!(crate::ticket::details::markdown(&f).starts_with("Nothing is known"));
    let mut l = level(TicketState::Scheduled, 1);
    l.waiting_for = WaitingFor::Assignment;
    l.sla = vec![running("response", 1, 80, 100)];
    f.receive(envelope(1, [event(0, 1, l)]), at(0));
    let Step::Advise(call) = f.next_step(at(0)) else {
        panic!("a scheduled ticket asks whom to send");
    };
    f.on_advice(&call, Ok(Outcome::Recorded), at(0));
    let Step::RecordSla(call) = f.next_step(at(80)) else {
        panic!("the warning is due");
    };
    f.on_sla(call, Err(away()), at(80));
    assert_eq!(
        crate::ticket::details::markdown(&f),
        "**emergency_glass** · **P2** · **SCHEDULED** · visit 1\n\n\
         - waits for: assignment\n\
         - open approvals: 0\n\
         - next deadline: response warning at 1970-01-01T00:01:20Z\n\
         - autonomy: SHADOW (proposes, never acts)\n\
         - last proposal: technician, on version 1\n\
         - follows: event 1 of epoch 1, 0 snapshots taken\n\
         - **trouble**: record_sla: connection refused\n"
    );
}
