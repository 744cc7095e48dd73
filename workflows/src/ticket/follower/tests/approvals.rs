//! What approvals, stages and kill switches call for.

use contracts::{
    ApprovalId, Operation, Role,
    approval::{ApprovalKind, ApprovalStep, StepKind, TicketApproval},
    event::Stopped,
    inbox::Owed,
    kill_switch::KillState,
};

use super::*;

/// A dispatch that software asked for, with a reminder, an escalation and an end to come.
pub(super) fn held(id: u128, moment: i64) -> TicketApproval {
    let step = |at_seconds, step| ApprovalStep {
        at: at(moment + at_seconds),
        step,
        roles: Vec::new(),
    };
    TicketApproval {
        id: ApprovalId::from_uuid(Uuid::from_u128(id)),
        kind: ApprovalKind::HeldCommand,
        operation: Operation::Dispatch,
        version: 1,
        released: false,
        autonomous: true,
        facts_sha256: None,
        steps: vec![
            step(10, StepKind::Reminder),
            step(20, StepKind::Escalation),
            step(30, StepKind::Expiry),
        ],
        waits_for: vec![Owed {
            code: "CHANGE_ORDER".to_owned(),
            roles: vec![Role::Approver, Role::AccountManager],
            count: 2,
            given: 1,
        }],
    }
}

pub(super) fn released(mut approval: TicketApproval) -> TicketApproval {
    approval.released = true;
    approval.waits_for.clear();
    approval.steps.retain(|step| step.step == StepKind::Expiry);
    approval
}

fn with(approvals: impl IntoIterator<Item = TicketApproval>) -> TicketLevel {
    let mut level = level(TicketState::OnSite, 1);
    level.approvals = approvals.into_iter().collect();
    level
}

fn hear(f: &mut TicketFollower, seq: u64, level: TicketLevel, moment: i64) {
    f.receive(envelope(1, [event(0, seq, level)]), at(moment));
}

fn refused(reason: &str) -> Result<Outcome, Failure> {
    Ok(Outcome::Held {
        reason: reason.into(),
    })
}

#[track_caller]
fn advises(f: &mut TicketFollower, moment: i64) -> AdviseCall {
    match f.next_step(at(moment)) {
        Step::Advise(call) => call,
        other => panic!("must advise: {other:?}"),
    }
}

#[track_caller]
fn carries_out(f: &mut TicketFollower, moment: i64) -> CarryOutCall {
    match f.next_step(at(moment)) {
        Step::CarryOut(call) => call,
        other => panic!("must carry out: {other:?}"),
    }
}

#[test]
fn the_steps_of_a_plan_are_taken_at_their_times_one_after_the_other() {
    let mut f = follower();
    let mut approval = held(7, 0);
    hear(&mut f, 1, with([approval.clone()]), 0);
    for (seq, moment, step) in [
        (2, 10, StepKind::Reminder),
        (3, 20, StepKind::Escalation),
        (4, 30, StepKind::Expiry),
    ] {
        assert_eq!(f.next_step(at(moment - 1)), Step::Wait(Some(at(moment))));
        let Step::TakeApprovalStep(call) = f.next_step(at(moment)) else {
            panic!("{step} is due");
        };
        assert_eq!((call.step, call.at, call.version), (step, at(moment), 1));
        f.on_approval_step(&call, Ok(Outcome::Recorded), at(moment));
        // It is on record; what is left of the plan comes with the event, and nothing before it.
        assert_eq!(f.next_step(at(moment)), Step::Wait(None));
        approval.steps.remove(0);
        let left = (step != StepKind::Expiry).then(|| approval.clone());
        hear(&mut f, seq, with(left), moment);
    }
    assert_eq!(f.next_step(at(1_000)), Step::Wait(None));
}

#[test]
fn what_was_released_is_carried_out_at_once_and_once() {
    let mut f = follower();
    hear(&mut f, 1, with([held(7, 0), released(held(8, 0))]), 0);
    let call = carries_out(&mut f, 0);
    assert_eq!(call.approval_id, held(8, 0).id);
    assert_eq!((call.version, call.operation), (1, Operation::Dispatch));
    f.on_carried_out(&call, Ok(Outcome::Recorded), at(0));
    assert_eq!(f.next_step(at(0)), Step::Wait(Some(at(10))));
    // Another event does not bring it back; the one that tells of it takes it away.
    hear(&mut f, 2, with([held(7, 0), released(held(8, 0))]), 1);
    assert_eq!(f.next_step(at(1)), Step::Wait(Some(at(10))));
    hear(&mut f, 3, with([held(7, 0)]), 2);
    assert_eq!(f.next_step(at(2)), Step::Wait(Some(at(10))));
}

#[test]
fn an_amended_approval_that_is_released_again_is_another_one() {
    let mut f = follower();
    hear(&mut f, 1, with([released(held(7, 0))]), 0);
    let call = carries_out(&mut f, 0);
    let stale = Outcome::Moot {
        reason: "APPROVAL_STALE".into(),
    };
    f.on_carried_out(&call, Ok(stale), at(0));
    let mut amended = held(7, 0);
    amended.version = 2;
    hear(&mut f, 2, with([amended.clone()]), 1);
    assert_eq!(f.next_step(at(1)), Step::Wait(Some(at(10))));
    hear(&mut f, 3, with([released(amended)]), 2);
    assert_eq!(carries_out(&mut f, 2).version, 2);
}

#[test]
fn dispatch_api_being_away_puts_off_what_was_released() {
    let mut f = follower();
    hear(&mut f, 1, with([released(held(7, 0))]), 0);
    let call = carries_out(&mut f, 0);
    f.on_carried_out(&call, Err(away()), at(0));
    let Step::Wait(Some(again)) = f.next_step(at(0)) else {
        panic!("must try again later");
    };
    assert!(again > at(0) && again < at(2));
    assert_eq!(carries_out(&mut f, 2).request_id(), call.request_id());
}

#[test]
fn a_kill_switch_holds_what_was_released_and_its_end_comes_all_the_same() {
    let mut f = follower();
    hear(&mut f, 1, with([released(held(7, 0))]), 0);
    let call = carries_out(&mut f, 0);
    // It was engaged in between.
    f.on_carried_out(&call, refused("KILL_SWITCH"), at(0));
    assert_eq!(f.view().trouble.unwrap(), "execute_approval: KILL_SWITCH");
    assert_eq!(f.next_step(at(0)), Step::Wait(Some(at(30))));

    // Told of it, the workflow does not even try.
    let mut stopped = with([released(held(7, 0))]);
    stopped.kill_generation = 1;
    stopped.stopped = Some(Stopped {
        all: false,
        operations: vec![Operation::Dispatch],
    });
    hear(&mut f, 2, stopped.clone(), 1);
    assert_eq!(f.next_step(at(1)), Step::Wait(Some(at(30))));
    assert!(matches!(f.next_step(at(30)), Step::TakeApprovalStep(c) if c.step == StepKind::Expiry));

    // Released, it is tried again; so it is when only the stages change.
    let mut free = with([released(held(7, 0))]);
    free.kill_generation = 2;
    hear(&mut f, 3, free.clone(), 2);
    let call = carries_out(&mut f, 2);
    assert_eq!(call.kill_generation, 2);
    f.on_carried_out(&call, refused("STAGE"), at(2));
    assert_eq!(f.next_step(at(2)), Step::Wait(Some(at(30))));
    free.acts_on = vec![ProposalKind::Technician];
    hear(&mut f, 4, free, 3);
    assert_eq!(carries_out(&mut f, 3).request_id(), call.request_id());
}

#[test]
fn what_a_person_asked_for_is_carried_out_under_a_kill_switch() {
    let mut f = follower();
    let mut level = with([TicketApproval {
        autonomous: false,
        ..released(held(7, 0))
    }]);
    level.stopped = Some(Stopped {
        all: true,
        operations: Vec::new(),
    });
    hear(&mut f, 1, level, 0);
    carries_out(&mut f, 0);
}

#[test]
fn a_snapshot_lets_everything_be_tried_again() {
    let mut f = follower();
    hear(&mut f, 1, with([released(held(7, 0))]), 0);
    let call = carries_out(&mut f, 0);
    f.on_carried_out(&call, refused("STAGE"), at(0));
    let mut resync = envelope(1, []);
    resync.resync = true;
    f.receive(resync, at(1));
    assert!(matches!(f.next_step(at(1)), Step::Snapshot(_)));
    f.on_snapshot(snapshot(1, with([released(held(7, 0))])), at(1));
    assert_eq!(carries_out(&mut f, 1), call);
}

/// The ticket at this version, with what was released.
fn at_version(version: u64) -> TicketLevel {
    let mut level = with([released(held(7, 0))]);
    level.version = version;
    level
}

/// Of a message no level says whether software may send it. An opt-out and its end raise the version.
#[test]
fn what_was_held_back_is_tried_again_once_at_each_version_of_the_ticket() {
    let mut f = follower();
    f.follow_versions(true);
    hear(&mut f, 1, at_version(1), 0);
    let call = carries_out(&mut f, 0);
    assert_eq!(call.ticket_version, 1);
    f.on_carried_out(&call, refused("STAGE"), at(0));
    let rests = |f: &mut TicketFollower| f.next_step(at(1)) == Step::Wait(Some(at(30)));
    assert!(rests(&mut f));
    // Another event at the same version (a comment on an approval) is no reason.
    hear(&mut f, 2, at_version(1), 1);
    assert!(rests(&mut f));
    hear(&mut f, 3, at_version(2), 1);
    let again = carries_out(&mut f, 1);
    assert_eq!(
        (again.request_id(), again.ticket_version),
        (call.request_id(), 2)
    );
    // The next version comes while it is under way; what is answered is about the one before.
    hear(&mut f, 4, at_version(3), 1);
    f.on_carried_out(&again, refused("STAGE"), at(1));
    let again = carries_out(&mut f, 1);
    assert_eq!(again.ticket_version, 3);
    // Its state is carried over into a continued run.
    f.on_carried_out(&again, refused("STAGE"), at(1));
    let mut f: TicketFollower = serde_json::from_str(&serde_json::to_string(&f).unwrap()).unwrap();
    assert!(rests(&mut f));
    hear(&mut f, 5, at_version(4), 1);
    let last = carries_out(&mut f, 1);
    // Carried out: no version brings it back.
    f.on_carried_out(&last, Ok(Outcome::Recorded), at(1));
    for (seq, version) in [(6, 5), (7, 6)] {
        hear(&mut f, seq, at_version(version), 1);
        assert!(rests(&mut f));
    }
}

#[test]
fn only_what_was_held_back_is_tried_again_at_another_version() {
    let moot = Outcome::Moot {
        reason: "APPROVAL_STALE".into(),
    };
    let no = Outcome::Refused {
        reason: "FORBIDDEN".into(),
    };
    for answer in [moot, no] {
        let mut f = follower();
        f.follow_versions(true);
        hear(&mut f, 1, at_version(1), 0);
        let call = carries_out(&mut f, 0);
        f.on_carried_out(&call, Ok(answer), at(0));
        hear(&mut f, 2, at_version(2), 1);
        assert_eq!(f.next_step(at(1)), Step::Wait(Some(at(30))));
    }
}

#[test]
fn a_run_that_does_not_follow_versions_waits_for_a_turn() {
    let mut f = follower();
    hear(&mut f, 1, at_version(1), 0);
    let call = carries_out(&mut f, 0);
    assert!(!f.meets_version(), "nothing was held back");
    f.on_carried_out(&call, refused("STAGE"), at(0));
    assert!(!f.meets_version(), "nothing changed since");
    let mut over = f.clone();
    let mut decided = at_version(2);
    decided.approvals.clear();
    hear(&mut over, 2, decided, 1);
    assert!(!over.meets_version(), "nothing is to be carried out");
    hear(&mut f, 2, at_version(2), 1);
    assert!(f.meets_version());
    assert_eq!(f.next_step(at(1)), Step::Wait(Some(at(30))));
    assert!(f.meets_version(), "still");
    f.follow_versions(true);
    assert!(!f.meets_version());
    carries_out(&mut f, 1);
}

#[test]
fn an_ended_ticket_takes_its_approvals_along() {
    let mut f = follower();
    hear(&mut f, 1, with([released(held(7, 0))]), 0);
    let mut closed = with([released(held(7, 0)), held(8, 0)]);
    closed.state = TicketState::Cancelled;
    hear(&mut f, 2, closed, 0);
    assert_eq!(f.next_step(at(1_000)), Step::Finish);
}

#[test]
fn software_acts_where_it_may_and_only_once_at_a_version() {
    let mut f = follower();
    let mut l = level(TicketState::Scheduled, 1);
    hear(&mut f, 1, l.clone(), 0);
    let call = advises(&mut f, 0);
    assert_eq!((call.kinds.len(), call.act.len()), (1, 0));
    f.on_advice(&call, Ok(Outcome::Recorded), at(0));

    // The stage was raised while the ticket waits: what is on record already is acted on.
    l.acts_on = vec![ProposalKind::Triage, ProposalKind::Technician];
    l.kill_generation = 3;
    hear(&mut f, 2, l.clone(), 1);
    let call = advises(&mut f, 1);
    assert_eq!(call.kinds, []);
    assert_eq!(call.act, [ProposalKind::Technician]);
    assert_eq!(call.kill_generation, 3);
    f.on_advice(&call, Ok(Outcome::Recorded), at(1));
    assert_eq!(f.next_step(at(1)), Step::Wait(None));
    // Another stage, another turn: nothing is done twice at this version, but at the next.
    l.kill_generation = 5;
    hear(&mut f, 3, l.clone(), 2);
    assert_eq!(f.next_step(at(2)), Step::Wait(None));
    l.version = 2;
    hear(&mut f, 4, l, 3);
    let call = advises(&mut f, 3);
    assert_eq!(call.kinds, [ProposalKind::Technician]);
    assert_eq!(call.act, [ProposalKind::Technician]);
}

#[test]
fn whoever_can_be_sent_is_sent_before_a_window_is_offered() {
    let mut f = follower();
    let mut l = level(TicketState::Triaged, 1);
    l.priority = Priority::P1;
    l.acts_on = vec![ProposalKind::Slot, ProposalKind::Technician];
    hear(&mut f, 1, l, 0);
    let call = advises(&mut f, 0);
    assert_eq!(call.kinds, [ProposalKind::Slot, ProposalKind::Technician]);
    assert_eq!(call.act, [ProposalKind::Technician, ProposalKind::Slot]);
}

#[test]
fn what_is_stopped_or_held_already_is_not_acted_on() {
    let mut l = level(TicketState::Scheduled, 1);
    l.acts_on = vec![ProposalKind::Technician];
    let mut stopped = l.clone();
    stopped.stopped = Some(Stopped {
        all: true,
        operations: Vec::new(),
    });
    let mut waits = l.clone();
    waits.approvals = vec![held(7, 0)];
    let mut silent = l.clone();
    silent.acts_on.clear();
    silent.silent_on = vec![ProposalKind::Technician];
    for (level, asked) in [
        (l, Some(1)),
        (stopped, Some(0)),
        (waits, Some(0)),
        (silent, None),
    ] {
        let mut f = follower();
        hear(&mut f, 1, level, 0);
        let acts = match f.next_step(at(0)) {
            Step::Advise(call) => Some(call.act.len()),
            Step::Wait(_) => None,
            other => panic!("{other:?}"),
        };
        assert_eq!(acts, asked);
    }
}

#[test]
fn an_act_that_was_held_back_is_tried_again_under_another_turn() {
    let mut f = follower();
    let mut l = level(TicketState::Scheduled, 1);
    l.acts_on = vec![ProposalKind::Technician];
    hear(&mut f, 1, l.clone(), 0);
    let call = advises(&mut f, 0);
    f.on_advice(&call, refused("KILL_SWITCH"), at(0));
    // The proposal is on record.
    assert_eq!(f.view().proposed, [(ProposalKind::Technician, 1)]);
    assert_eq!(f.next_step(at(0)), Step::Wait(None));
    l.kill_generation = 2;
    hear(&mut f, 2, l, 1);
    let call = advises(&mut f, 1);
    assert_eq!((call.kinds.len(), call.act.len()), (0, 1));
}

#[test]
fn a_run_that_an_older_worker_began_takes_none_of_it_up() {
    let mut f = unpatched();
    f.ask_every_kind(true);
    let mut l = with([released(held(7, 0))]);
    l.state = TicketState::Scheduled;
    l.acts_on = vec![ProposalKind::Technician];
    assert!(!f.meets_approvals());
    hear(&mut f, 1, l.clone(), 0);
    assert!(f.meets_approvals());
    let call = advises(&mut f, 0);
    assert_eq!(call.act, []);
    f.on_advice(&call, Ok(Outcome::Recorded), at(0));
    assert_eq!(f.next_step(at(1_000)), Step::Wait(None));

    f.follow_approvals(true);
    assert!(!f.meets_approvals());
    carries_out(&mut f, 1_000);

    let mut calm = unpatched();
    hear(&mut calm, 1, level(TicketState::Scheduled, 1), 0);
    assert!(!calm.meets_approvals());
}

#[test]
fn the_details_say_what_is_waited_for_and_what_is_stopped() {
    let mut f = follower();
    let mut l = with([held(7, 0), released(held(8, 0))]);
    l.autonomy = AutonomyMode::Approve;
    l.kill_generation = 3;
    l.stopped = Some(Stopped {
        all: false,
        operations: vec![Operation::Dispatch, Operation::Triage],
    });
    hear(&mut f, 1, l, 0);
    let text = crate::ticket::details::markdown(&f);
    for line in [
        "- approval apr_00000000000000000000000000000007 (dispatch, version 1): waits for people: \
         1 of 2 yes (approver or account_manager); next: reminder at 1970-01-01T00:00:10Z; expires at \
         1970-01-01T00:00:30Z\n",
        "- approval apr_00000000000000000000000000000008 (dispatch, version 1): approved, is \
         carried out; else: expiry at 1970-01-01T00:00:30Z\n",
        "- autonomy: APPROVE (acts when people have released it)\n",
        "- **kill switch** (turn 3): stops dispatch, triage\n",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

/// What an answer says of the kill switches.
fn told(text: &str) -> Option<KillState> {
    Some(text.parse().unwrap())
}

#[test]
fn what_an_answer_says_is_stopped_stops_at_once_and_an_older_event_changes_nothing() {
    let mut f = follower();
    f.follow_answers(true);
    let mut l = with([released(held(7, 0))]);
    l.state = TicketState::Scheduled;
    l.acts_on = vec![ProposalKind::Slot, ProposalKind::Technician];
    hear(&mut f, 1, l.clone(), 0);
    // Without it both would be done now.
    assert!(matches!(f.clone().next_step(at(0)), Step::CarryOut(_)));
    f.hear(told("generation=1; stopped=dispatch"));
    let call = advises(&mut f, 0);
    assert_eq!(call.act, [], "nobody is sent");
    f.on_advice(&call, Ok(Outcome::Recorded), at(0));
    let rests = |f: &mut TicketFollower| f.next_step(at(1)) == Step::Wait(Some(at(30)));
    assert!(rests(&mut f));
    let known = f.level().unwrap();
    assert_eq!(known.kill_generation, 1);
    assert_eq!(known.acts_on, [ProposalKind::Slot], "the rest goes on");
    // An event that was committed before the turn comes late: it tells of the time before.
    hear(&mut f, 2, l, 1);
    assert!(rests(&mut f));
    assert_eq!(f.level().unwrap().kill_generation, 1);
    assert!(f.level().unwrap().stopped.is_some());
}

#[test]
fn what_an_answer_says_goes_on_is_read_anew() {
    let mut f = follower();
    f.follow_answers(true);
    let mut stopped = with([released(held(7, 0))]);
    stopped.kill_generation = 1;
    stopped.stopped = told("generation=1; stopped=all").unwrap().stopped;
    hear(&mut f, 1, stopped, 0);
    assert_eq!(f.next_step(at(0)), Step::Wait(Some(at(30))));
    // An answer that says what is known, or less, is no news.
    for old in [
        told("generation=1; stopped=all"),
        told("generation=0"),
        None,
    ] {
        f.hear(old);
        assert_eq!(f.next_step(at(0)), Step::Wait(Some(at(30))));
    }
    f.hear(told("generation=2"));
    assert!(matches!(f.next_step(at(1)), Step::Snapshot(_)));
    let mut free = with([released(held(7, 0))]);
    free.kill_generation = 2;
    f.on_snapshot(snapshot(1, free), at(1));
    carries_out(&mut f, 1);
    // The database was set back: the truth is right also when it knows less.
    f.hear(told("generation=9; stopped=all"));
    let mut back = with([released(held(7, 0))]);
    back.kill_generation = 1;
    f.on_snapshot(snapshot(1, back), at(2));
    assert_eq!(carries_out(&mut f, 2).kill_generation, 1);
}

#[test]
fn a_run_that_does_not_follow_answers_waits_for_the_signal() {
    let mut f = follower();
    assert!(!f.meets_answers());
    let mut l = level(TicketState::Scheduled, 1);
    l.acts_on = vec![ProposalKind::Technician];
    hear(&mut f, 1, l, 0);
    f.hear(told("generation=0"));
    assert!(!f.meets_answers(), "no news");
    f.hear(told("generation=1; stopped=all"));
    assert!(f.meets_answers());
    assert_eq!(advises(&mut f, 0).act, [ProposalKind::Technician]);
    f.follow_answers(true);
    assert!(!f.meets_answers());
    assert_eq!(advises(&mut f, 0).act, []);
}
