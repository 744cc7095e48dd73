//! What commands do to the promises.

use chrono::{DateTime, TimeDelta, Utc};
use contracts::{
    Command, ErrorCode, Priority,
    command::*,
    sla::{ClockCalendar, ClockPhase, SlaClock, SlaRecordKind},
};
use proptest::prelude::*;

use crate::{calendar::Calendar, testing::*};

fn due(desk: &Desk, clock: &str) -> Option<DateTime<Utc>> {
    desk.clock(clock).due_at()
}

fn met(clock: &SlaClock) -> Option<bool> {
    match clock.phase {
        ClockPhase::Stopped { met, .. } => Some(met),
        ClockPhase::Running { .. } | ClockPhase::Paused { .. } => None,
    }
}

fn wait() -> Command {
    CustomerAwait {
        reason: slug("key"),
    }
    .into()
}

fn resume() -> Command {
    CustomerResume {}.into()
}

fn record(clock: &str, kind: SlaRecordKind, effective_at: DateTime<Utc>) -> RecordSla {
    RecordSla {
        clock: slug(clock),
        kind,
        revision: 1,
        effective_at,
        applied_seq: 1,
    }
}

#[test]
fn clocks_start_with_the_ticket() {
    let desk = Desk::after([create()]);
    assert_eq!(due(&desk, "answer"), Some(at("2026-11-23T08:30:00Z")));
    assert_eq!(due(&desk, "make_safe"), Some(at("2026-11-23T12:00:00Z")));
    // 24 office hours from Monday 09:00 end on Wednesday 17:00, local time.
    assert_eq!(due(&desk, "completion"), Some(at("2026-11-25T16:00:00Z")));
    let ClockPhase::Running { warn_at, .. } = desk.clock("make_safe").phase else {
        panic!("running")
    };
    assert_eq!(warn_at, at("2026-11-23T11:12:00Z"), "80 % of four hours");
    assert!(desk.ticket().sla.iter().all(|clock| clock.revision == 1));
}

#[test]
fn a_new_priority_is_measured_from_the_start_and_is_a_new_promise() {
    let mut desk = Desk::after([create()]);
    desk.pass(50);
    desk.run(triage(Priority::P1));
    let clock = desk.clock("make_safe");
    assert_eq!(
        (clock.due_at(), clock.revision),
        (Some(at("2026-11-23T10:00:00Z")), 2)
    );
    assert_eq!(due(&desk, "completion"), Some(at("2026-11-24T16:00:00Z")));
    // The answer came after an hour; for P1 it was promised within a quarter of one.
    assert_eq!(met(desk.clock("answer")), Some(false));

    let before = desk.ticket().sla.clone();
    desk.pass(10);
    desk.run(triage(Priority::P1));
    assert_eq!(desk.ticket().sla, before, "the same promise is no new one");
}

#[test]
fn a_promise_that_is_dropped_stops_and_comes_back_as_a_new_one() {
    let mut desk = Desk::after([create(), triage(Priority::P3)]);
    assert_eq!(met(desk.clock("make_safe")), Some(true));
    desk.run(triage(Priority::P2));
    let clock = desk.clock("make_safe");
    assert_eq!(
        (clock.due_at(), clock.revision),
        (Some(at("2026-11-23T12:00:00Z")), 2)
    );
    let answer = desk.clock("answer");
    assert_eq!(
        (met(answer), answer.revision),
        (Some(true), 2),
        "answered once, not again"
    );
}

#[test]
fn another_template_changes_the_hours_and_keeps_what_was_used() {
    let mut desk = Desk::after([create()]);
    desk.pass(50);
    let mut facts = desk.facts();
    facts.template = Some(door());
    let command = Triage {
        priority: Priority::P2,
        template: Some(door().id),
        details: Default::default(),
    };
    desk.try_with(&command.into(), &facts).unwrap();
    let clock = desk.clock("completion");
    assert_eq!((clock.used_seconds, clock.revision), (3600, 2));
    assert_eq!(
        clock.due_at(),
        Some(at("2026-11-23T18:00:00Z")),
        "ten hours from the start"
    );
    assert!(met(desk.clock("make_safe")).is_some(), "no longer promised");
}

#[test]
fn reaching_the_aim_stops_a_clock_and_a_setback_does_not() {
    let mut desk = on_site();
    desk.run(NoAccess {
        reason: slug("nobody_home"),
    });
    assert_eq!(met(desk.clock("make_safe")), None, "nothing was made safe");
    desk.run(wait());
    assert!(matches!(
        desk.clock("make_safe").phase,
        ClockPhase::Paused { .. }
    ));
    let mut desk = on_site();
    desk.run(return_visit());
    assert_eq!(met(desk.clock("make_safe")), Some(true));
    assert_eq!(met(desk.clock("completion")), None);
    let mut late = on_site();
    late.pass(200);
    late.run(return_visit());
    assert_eq!(met(late.clock("make_safe")), Some(false));
}

#[test]
fn half_a_second_late_is_late() {
    let mut desk = on_site();
    desk.now = due(&desk, "make_safe").unwrap();
    let mut late = desk.clone();
    desk.run(return_visit());
    assert_eq!(met(desk.clock("make_safe")), Some(true));
    late.now += TimeDelta::milliseconds(500);
    late.run(return_visit());
    assert_eq!(met(late.clock("make_safe")), Some(false));
}

#[test]
fn a_failed_check_goes_on_with_the_clock_that_its_completion_stopped() {
    let mut desk = on_site();
    desk.run(return_visit());
    let made_safe = desk.clock("make_safe").clone();
    desk.pass(10);
    let window = window_in(desk.now, 1);
    desk.run(ProposeSchedule { window });
    for command in [confirm(), dispatch(), check_in(), complete()] {
        desk.run(command);
    }
    let stopped = desk.clock("completion").clone();
    desk.pass(60);
    desk.run(QaReject {
        reasons: vec![slug("scratched")],
    });
    let clock = desk.clock("completion");
    assert_eq!(clock.used_seconds, stopped.used_seconds);
    assert_eq!(clock.revision, stopped.revision);
    let left = TimeDelta::seconds((clock.budget_seconds - clock.used_seconds) as i64);
    assert!(clock.due_at().unwrap() >= desk.now + left);
    assert_eq!(desk.clock("make_safe"), &made_safe);
}

#[test]
fn reopening_promises_anew_what_can_still_be_kept() {
    let mut desk = closed();
    desk.run(Reopen {
        reason: slug("leaks"),
    });
    let clock = desk.clock("make_safe");
    assert_eq!((clock.used_seconds, clock.revision), (0, 3));
    assert_eq!(clock.due_at(), Some(desk.now + TimeDelta::hours(2)));
    assert!(met(desk.clock("answer")).is_some(), "nobody triages again");
}

#[test]
fn a_clock_that_would_start_while_the_customer_is_awaited_starts_paused() {
    let mut desk = on_site();
    for command in [complete(), verify(), wait()] {
        desk.run(command);
    }
    desk.pass(60);
    desk.run(Reopen {
        reason: slug("leaks"),
    });
    let clock = desk.clock("make_safe");
    assert_eq!(clock.phase, ClockPhase::Paused { since: desk.now });
    assert_eq!(clock.used_seconds, 0);
    desk.pass(60);
    desk.run(resume());
    assert_eq!(
        due(&desk, "make_safe"),
        Some(desk.now + TimeDelta::hours(2))
    );
}

#[test]
fn all_clocks_stop_with_the_ticket() {
    let mut desk = Desk::after([create(), wait()]);
    desk.run(Cancel {
        reason: slug("customer_request"),
    });
    assert!(
        desk.ticket()
            .sla
            .iter()
            .all(|clock| met(clock) == Some(true))
    );
}

#[test]
fn without_its_template_a_ticket_goes_on_and_so_do_its_clocks() {
    let mut desk = Desk::after([create(), triage(Priority::P1), dispatch()]);
    for (command, stopped) in [(check_in(), 1), (complete(), 1), (verify(), 1)] {
        let mut facts = desk.facts();
        facts.template = None;
        desk.try_with(&command, &facts).unwrap();
        let clocks = desk.ticket().sla.iter();
        assert_eq!(clocks.filter(|c| met(c).is_some()).count(), stopped);
    }
}

#[test]
fn unusable_office_hours_stop_only_what_needs_them() {
    let mut desk = Desk::new();
    let mut facts = desk.facts();
    facts.calendar.week = vec![Vec::new(); 7];
    let rejection = desk.try_with(&create(), &facts).unwrap_err();
    assert_eq!(rejection.code(), ErrorCode::Unavailable);
    assert!(rejection.detail().contains("settings"), "{rejection}");
    facts.template = Some(door());
    assert!(desk.try_with(&create(), &facts).is_ok());
}

#[test]
fn a_warning_and_a_breach_are_recorded_once_each_and_not_early() {
    let mut desk = Desk::after([create()]);
    let (warn_at, due_at) = (at("2026-11-23T11:12:00Z"), at("2026-11-23T12:00:00Z"));
    let early = record(
        "make_safe",
        SlaRecordKind::Warning,
        warn_at - TimeDelta::seconds(1),
    );
    let rejection = desk.refuse(early);
    assert_eq!(rejection.field().unwrap().pointer, "/effective_at");
    let rejection = desk.refuse(record("make_safe", SlaRecordKind::Breach, warn_at));
    assert_eq!(rejection.field().unwrap().pointer, "/effective_at");
    for late in [
        due_at + TimeDelta::microseconds(1),
        at("9999-01-01T00:00:00Z"),
    ] {
        let rejection = desk.refuse(record("make_safe", SlaRecordKind::Breach, late));
        assert_eq!(rejection.field().unwrap().pointer, "/effective_at");
        assert!(
            rejection.detail().contains("2026-11-23T12:00:00Z"),
            "{rejection}"
        );
    }
    // Ours is still in the morning: under time skipping the two clocks differ.
    desk.run(record("make_safe", SlaRecordKind::Warning, warn_at));
    desk.run(record("make_safe", SlaRecordKind::Breach, due_at));
    let rejection = desk.refuse(record("make_safe", SlaRecordKind::Breach, due_at));
    assert_eq!(rejection.code(), ErrorCode::AlreadyDecided);
    assert_eq!(rejection.meta()["clock"], "make_safe");
}

#[test]
fn a_record_is_about_the_promise_as_it_is_now() {
    let mut desk = Desk::after([create(), triage(Priority::P1)]);
    let late = at("2026-11-25T00:00:00Z");
    let refused = |desk: &mut Desk, clock, revision, applied_seq| {
        desk.refuse(RecordSla {
            revision,
            applied_seq,
            ..record(clock, SlaRecordKind::Breach, late)
        })
        .code()
    };
    assert_eq!(refused(&mut desk, "make_safe", 1, 2), ErrorCode::Expired);
    assert_eq!(
        refused(&mut desk, "make_safe", 3, 2),
        ErrorCode::AheadOfDatabase
    );
    assert_eq!(
        refused(&mut desk, "make_safe", 2, 3),
        ErrorCode::AheadOfDatabase
    );
    assert_eq!(refused(&mut desk, "tea", 1, 2), ErrorCode::InvalidField);
    assert_eq!(
        refused(&mut desk, "answer", 2, 2),
        ErrorCode::IllegalTransition
    );
    desk.run(wait());
    assert_eq!(
        refused(&mut desk, "make_safe", 2, 3),
        ErrorCode::IllegalTransition
    );
}

#[test]
fn a_promise_that_was_broken_can_be_recorded_after_its_clock_stopped() {
    let mut desk = on_site();
    desk.pass(200);
    let due_at = due(&desk, "make_safe").unwrap();
    desk.run(return_visit());
    let stopped_at = desk.now;
    let breach = |effective_at| RecordSla {
        revision: 2,
        ..record("make_safe", SlaRecordKind::Breach, effective_at)
    };
    desk.pass(10);
    let moment = TimeDelta::microseconds(1);
    for never in [desk.ticket().created_at - moment, stopped_at + moment] {
        let rejection = desk.refuse(breach(never));
        assert_eq!(rejection.field().unwrap().pointer, "/effective_at");
    }
    // Who saw the deadline pass says when; who heard of the stop first says when that was.
    for known in [due_at, stopped_at] {
        desk.clone().run(breach(known));
    }
}

/// Counted time from one instant to another, by the clock's own hours.
fn counted(clock: &SlaClock, from: DateTime<Utc>, to: DateTime<Utc>) -> TimeDelta {
    match clock.calendar {
        ClockCalendar::Always => (to - from).max(TimeDelta::zero()),
        ClockCalendar::BusinessHours => Calendar::new(&office()).unwrap().open_time(from, to),
    }
}

#[test]
fn a_pause_moves_the_deadlines_by_its_counted_time() {
    let mut desk = Desk::after([create()]);
    desk.run(wait());
    assert_eq!(desk.clock("make_safe").used_seconds, 600);
    assert_eq!(due(&desk, "make_safe"), None);
    desk.pass(24 * 60);
    desk.run(resume());
    assert_eq!(due(&desk, "make_safe"), Some(at("2026-11-24T12:00:00Z")));
    assert_eq!(due(&desk, "completion"), Some(at("2026-11-26T16:00:00Z")));
}

proptest! {
    #[test]
    fn a_pause_keeps_the_time_that_is_left(used in 0..4000_i64, paused in 0..20_000_i64) {
        let mut desk = Desk::new();
        desk.run(create());
        let running = desk.ticket().sla.clone();
        desk.pass(used);
        let stop = desk.now;
        desk.run(wait());
        desk.pass(paused);
        desk.run(resume());
        for (before, after) in running.iter().zip(&desk.ticket().sla) {
            let left = |clock: &SlaClock, now| counted(clock, now, clock.due_at().unwrap());
            prop_assert_eq!(left(before, stop), left(after, desk.now));
            prop_assert_eq!(after.revision, 1, "a pause is no new promise");
        }
    }

    #[test]
    fn a_longer_budget_is_due_no_sooner(minutes in 0..3000_i64) {
        let mut deadlines = Vec::new();
        for priority in [Priority::P1, Priority::P2, Priority::P3, Priority::P4] {
            let mut desk = Desk::new();
            desk.run(create());
            desk.pass(minutes);
            desk.run(triage(priority));
            deadlines.push(due(&desk, "completion").unwrap());
        }
        prop_assert!(deadlines.is_sorted(), "{:?}", deadlines);
    }

    #[test]
    fn a_warning_is_due_at_four_fifths(budget in 0..=u64::MAX) {
        let exact = u128::from(budget) * 4 / 5;
        prop_assert_eq!(u128::from(super::warning_seconds(budget)), exact);
    }
}
