//! One test per rule of the state table that is more than the table itself.

use chrono::TimeDelta;
use contracts::{
    Command, ErrorCode, Operation, Priority, Role, TicketId, TicketState,
    approval::{ApprovalState, Verdict},
    command::*,
    comms::Purpose,
    event::TicketEvent,
    ticket::{InvoiceLine, Part, VisitStage},
};

use crate::{Effect, Facts, Rejection, decide, testing::*};

fn pointer(rejection: &Rejection) -> String {
    assert_eq!(rejection.code(), ErrorCode::InvalidField, "{rejection}");
    rejection.field().expect("a field").pointer
}

fn decide_change(desk: &Desk, verdict: Verdict) -> DecideApproval {
    DecideApproval {
        approval_id: desk.approval().id,
        verdict,
        reason: (verdict == Verdict::Reject).then(|| slug("too_dear")),
        version: None,
    }
}

#[test]
fn a_job_with_two_visits_runs_from_intake_to_closed() {
    let mut desk = on_site();
    desk.run(return_visit());
    assert_eq!(desk.ticket().visits.len(), 2);
    let window = window_in(desk.now, 24);
    desk.run(ProposeSchedule { window });
    desk.run(confirm());
    desk.run(dispatch());
    let eta = Some(desk.now + TimeDelta::minutes(30));
    desk.run(EnRoute { eta });
    assert_eq!(desk.ticket().visits[1].eta, eta);
    for command in [check_in(), complete(), verify(), invoice(10_000), close()] {
        desk.run(command);
    }
    let ticket = desk.ticket();
    assert_eq!((ticket.state, ticket.version), (TicketState::Closed, 14));
    assert_eq!(ticket.invoice.as_ref().unwrap().amount_cents, 20_000);
    let stages: Vec<_> = ticket.visits.iter().map(|v| (v.number, v.stage)).collect();
    assert_eq!(
        stages,
        [(1, VisitStage::ReturnNeeded), (2, VisitStage::Done)]
    );
    assert_eq!(ticket.visits[1].evidence, [photo()]);
}

#[test]
fn a_creation_takes_the_templates_priority_and_amount_and_keeps_the_words_aside() {
    let mut desk = Desk::new();
    let decided = desk.run(create());
    let ticket = desk.ticket();
    assert_eq!((ticket.priority, ticket.nte_cents), (Priority::P2, 50_000));
    assert_eq!(ticket.visits[0].stage, VisitStage::Open);
    assert!(matches!(decided.effects[..], [Effect::WriteNote { .. }]));
    let stored = format!("{:?} {:?}", decided.changes, decided.ticket);
    assert!(!stored.contains("cracked"), "free text leaked");
}

#[test]
fn unknown_ids_are_named_by_field() {
    let refusal = |change: fn(&mut crate::Facts), command: Command, desk: &mut Desk| {
        let mut facts = desk.facts();
        change(&mut facts);
        pointer(&desk.try_with(&command, &facts).unwrap_err())
    };
    let mut none = Desk::new();
    let cases: [(fn(&mut crate::Facts), _); 4] = [
        (|f| f.site_known = false, "/site_id"),
        (|f| f.asset_known = false, "/asset_id"),
        (|f| f.contact_known = false, "/contact_id"),
        (|f| f.template = None, "/template"),
    ];
    for (change, field) in cases {
        assert_eq!(refusal(change, create(), &mut none), field);
    }
    let mut scheduled = Desk::after([create(), triage(Priority::P1)]);
    let unknown = refusal(|f| f.technician_known = false, dispatch(), &mut scheduled);
    assert_eq!(unknown, "/technician_id");
}

#[test]
fn without_a_ticket_there_is_only_creation_and_with_one_there_is_none() {
    let facts = facts(monday(), 1);
    let rejection = decide(key(), None, &dispatch(), &facts).unwrap_err();
    assert_eq!(rejection.code(), ErrorCode::NotFound);
    let rejection = Desk::after([create()]).refuse(create());
    assert_eq!(rejection.code(), ErrorCode::IllegalTransition);
}

#[test]
fn an_expected_version_comes_before_everything_else() {
    let mut desk = Desk::after([create()]);
    let mut facts = desk.facts();
    facts.expected_version = Some(7);
    let rejection = desk.try_with(&check_in(), &facts).unwrap_err();
    assert_eq!(rejection.code(), ErrorCode::VersionConflict);
    assert_eq!(rejection.meta()["expected"], 7);
    assert_eq!(rejection.meta()["actual"], 1);
    facts.expected_version = Some(1);
    let rejection = desk.try_with(&check_in(), &facts).unwrap_err();
    assert_eq!(rejection.code(), ErrorCode::IllegalTransition);
}

#[test]
fn an_illegal_transition_says_what_is_legal() {
    let rejection = Desk::after([create(), triage(Priority::P2)]).refuse(complete());
    assert_eq!(
        rejection.meta()["legal_operations"],
        serde_json::json!([
            "triage",
            "propose_schedule",
            "cancel",
            "merge",
            "customer_await",
            "set_ticket_autonomy"
        ])
    );
    assert!(rejection.detail().contains("TRIAGED"), "{rejection}");
}

#[test]
fn straight_dispatch_is_for_the_priorities_that_the_template_lists() {
    let mut urgent = Desk::after([create(), triage(Priority::P1)]);
    urgent.run(dispatch());
    let mut calm = Desk::after([create(), triage(Priority::P2)]);
    let rejection = calm.refuse(dispatch());
    assert_eq!(rejection.code(), ErrorCode::IllegalTransition);
    assert!(rejection.detail().contains("confirmed window"));
}

#[test]
fn a_window_must_lie_ahead() {
    let mut desk = Desk::after([create(), triage(Priority::P2)]);
    let now = desk.now;
    let mut propose = |from: i64, to: i64| {
        let window = contracts::schedule::TimeWindow {
            start: now + TimeDelta::hours(from),
            end: now + TimeDelta::hours(to),
        };
        desk.refuse(ProposeSchedule { window })
    };
    for (from, to) in [
        (1, 1),
        (2, 1),
        (-2, -1),
        (-2, 0),
        (1, 1000),
        (20_000, 20_001),
    ] {
        assert_eq!(pointer(&propose(from, to)), "/window/end", "{from}..{to}");
    }
    let window = window_in(now, -1);
    desk.run(ProposeSchedule { window });
    desk.pass(60);
    let rejection = desk.refuse(confirm());
    assert_eq!(rejection.code(), ErrorCode::Expired);
    assert_eq!(rejection.meta()["ended_at"], serde_json::json!(window.end));
}

#[test]
fn an_arrival_is_not_expected_in_the_past() {
    let mut desk = Desk::after([create(), triage(Priority::P1)]);
    let eta = Some(desk.now - TimeDelta::seconds(1));
    let late = Dispatch {
        technician_id: technician(7),
        eta,
    };
    assert_eq!(pointer(&desk.refuse(late)), "/eta");
    desk.run(dispatch());
    assert_eq!(pointer(&desk.refuse(EnRoute { eta })), "/eta");
}

#[test]
fn rescheduling_and_unassigning_release_the_technician() {
    let scheduled = [
        create(),
        triage(Priority::P2),
        propose(),
        confirm(),
        dispatch(),
    ];
    let mut desk = Desk::after(scheduled.clone());
    let reason = slug("sick");
    desk.run(Unassign {
        reason: reason.clone(),
    });
    let visit = desk.ticket().current_visit().unwrap();
    assert_eq!(
        (visit.stage, visit.technician_id),
        (VisitStage::Confirmed, None)
    );
    assert!(visit.window.is_some());

    let mut desk = Desk::after(scheduled);
    let window = window_in(desk.now, 48);
    desk.run(Reschedule { window, reason });
    let visit = desk.ticket().current_visit().unwrap();
    assert_eq!(desk.ticket().state, TicketState::ScheduleProposed);
    assert_eq!((visit.technician_id, visit.window), (None, Some(window)));
}

#[test]
fn whoever_was_sent_without_a_window_is_replaced_without_one() {
    let mut desk = Desk::after([create(), triage(Priority::P1), dispatch()]);
    let reason = slug("van_broke_down");
    desk.run(Unassign {
        reason: reason.clone(),
    });
    let ticket = desk.ticket();
    let visit = ticket.current_visit().unwrap();
    assert_eq!(ticket.state, TicketState::Scheduled);
    assert_eq!(
        (visit.stage, visit.technician_id, visit.window),
        (VisitStage::Open, None, None),
        "nobody confirmed anything"
    );

    let mut arranged = desk.clone();
    let window = window_in(desk.now, 3);
    arranged.run(Reschedule { window, reason });
    assert_eq!(
        arranged.ticket().current_visit().unwrap().window,
        Some(window)
    );
    desk.run(dispatch());
    assert_eq!(desk.ticket().state, TicketState::Dispatched);
    assert_eq!(desk.ticket().visits.len(), 1);
}

#[test]
fn a_technician_under_way_is_released_with_the_expected_arrival() {
    let mut desk = Desk::after([create(), triage(Priority::P1), dispatch()]);
    let eta = Some(desk.now + TimeDelta::minutes(30));
    desk.run(EnRoute { eta });
    desk.run(Unassign {
        reason: slug("sick"),
    });
    assert_eq!(desk.ticket().current_visit().unwrap().eta, None);
}

#[test]
fn no_access_before_anybody_checked_in_leaves_the_clocks_running() {
    let mut desk = Desk::after([create(), triage(Priority::P1), dispatch()]);
    let before = desk.ticket().sla.clone();
    desk.run(NoAccess {
        reason: slug("nobody_there"),
    });
    let ticket = desk.ticket();
    assert_eq!(ticket.state, TicketState::ReturnPending);
    assert_eq!(ticket.sla, before, "nothing was made safe");
    assert_eq!(ticket.current_visit().unwrap().technician_id, None);
}

#[test]
fn no_access_opens_the_next_visit() {
    let mut desk = on_site();
    desk.run(NoAccess {
        reason: slug("nobody_home"),
    });
    let [first, second] = &desk.ticket().visits[..] else {
        panic!("two visits")
    };
    assert_eq!(first.stage, VisitStage::NoAccess);
    assert_eq!((second.stage, second.number), (VisitStage::Open, 2));
}

#[test]
fn an_approved_change_raises_the_amount_and_a_rejected_one_does_not() {
    for (verdict, nte) in [(Verdict::Approve, 62_000), (Verdict::Reject, 50_000)] {
        let mut desk = on_site();
        desk.run(request_change(12_000));
        let state = desk.ticket().state;
        assert_eq!(state, TicketState::ChangeRequested);
        let command = decide_change(&desk, verdict);
        desk.run(command.clone());
        let ticket = desk.ticket();
        assert_eq!((ticket.state, ticket.nte_cents), (TicketState::OnSite, nte));
        assert_eq!(ticket.open_change, None);

        let rejection = desk.refuse(command);
        assert_eq!(rejection.code(), ErrorCode::AlreadyDecided);
        assert_eq!(rejection.meta()["decided_by"], ANN);
        assert!(rejection.detail().contains(ANN), "{rejection}");
    }
}

/// Another bundle than let a change order be asked for judges it anew, by all that it wants.
#[test]
fn a_yes_to_a_change_counts_if_the_bundle_that_decides_lets_it() {
    use contracts::policy::PolicyResult::{Allow, Deny, RequireApproval};
    let asked_of = |roles: &[Role], count| {
        let mut need = change_need();
        need.demands[0].roles = roles.to_vec();
        need.demands[0].count = count;
        need
    };
    let both = [Role::Approver, Role::AccountManager];
    // Ann is an approver; an escalation would bring a tenant administrator.
    let cases = [
        (None, asked_of(&both, 2), true),
        (Some(Allow), asked_of(&both, 1), true),
        (Some(Allow), asked_of(&[Role::Approver], 1), true),
        (Some(Allow), asked_of(&[Role::AccountManager], 1), false),
        (Some(Allow), asked_of(&both, 2), false),
        (Some(RequireApproval), asked_of(&both, 1), false),
        (Some(Deny), asked_of(&both, 1), false),
    ];
    for (change_anew, change_need, counts) in cases {
        let mut desk = on_site();
        desk.run(request_change(12_000));
        let approval_id = desk.approval().id;
        let yes = decide_change(&desk, Verdict::Approve);
        let facts = Facts {
            change_anew,
            change_need,
            ..desk.facts_for(&yes.clone().into())
        };
        let decided = desk.try_with(&yes.clone().into(), &facts).unwrap();
        let (state, reason, nte) = match counts {
            true => (ApprovalState::Approved, None, 62_000),
            false => (ApprovalState::Stale, Some(slug("policy_stricter")), 50_000),
        };
        let approval = desk.approval().clone();
        assert_eq!((approval.state, &approval.reason), (state, &reason));
        assert_eq!(approval.votes.len(), 1, "it was said all the same");
        assert_eq!(approval.steps, []);
        let ticket = desk.ticket();
        assert_eq!((ticket.state, ticket.nte_cents), (TicketState::OnSite, nte));
        assert_eq!(
            (&ticket.open_change, &ticket.approvals[..]),
            (&None, &[][..])
        );
        let told: Vec<_> = decided
            .effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::QueueMessage(message) => Some(message.purpose),
                _ => None,
            })
            .collect();
        let purpose = match counts {
            true => Purpose::ApprovalDecided,
            false => Purpose::ApprovalEnded,
        };
        assert_eq!(told, [purpose], "both sides hear of {approval_id}");

        let again = desk.refuse(yes);
        let code = match counts {
            true => ErrorCode::AlreadyDecided,
            false => ErrorCode::ApprovalStale,
        };
        assert_eq!(again.code(), code);
    }
}

/// A no is a no under any bundle; and whoever came to decide by an escalation counts in the new one.
#[test]
fn only_the_last_yes_to_a_change_is_judged_anew() {
    use contracts::policy::PolicyResult::{Allow, Deny};
    let mut desk = on_site();
    desk.run(request_change(12_000));
    let no = decide_change(&desk, Verdict::Reject).into();
    let facts = Facts {
        change_anew: Some(Deny),
        ..desk.facts_for(&no)
    };
    desk.try_with(&no, &facts).unwrap();
    assert_eq!(desk.approval().state, ApprovalState::Rejected);

    let mut desk = on_site();
    desk.run(request_change(12_000));
    let id = desk.approval().id;
    desk.row(id).demands[0].roles.push(Role::TenantAdmin);
    let yes = decide_change(&desk, Verdict::Approve).into();
    let facts = Facts {
        change_anew: Some(Allow),
        actor_roles: vec![Role::TenantAdmin],
        ..desk.facts_for(&yes)
    };
    desk.try_with(&yes, &facts).unwrap();
    assert_eq!(desk.approval().state, ApprovalState::Approved);
}

#[test]
fn an_approval_binds_to_what_was_asked() {
    let mut desk = on_site();
    desk.run(request_change(12_000));
    let command = decide_change(&desk, Verdict::Approve);
    let mut facts = desk.facts_for(&command.clone().into());
    facts.approval.as_mut().unwrap().request_sha256 = "0".repeat(64);
    let rejection = desk.try_with(&command.clone().into(), &facts).unwrap_err();
    assert_eq!(rejection.code(), ErrorCode::ApprovalStale);
    let approval = facts.approval.as_mut().unwrap();
    approval.ticket_id = Some(TicketId::from_uuid(uuid(9)));
    approval.state = ApprovalState::Approved;
    let rejection = desk.try_with(&command.clone().into(), &facts).unwrap_err();
    assert_eq!(rejection, Rejection::NotFound, "another ticket's");
    facts.approval = None;
    let rejection = desk.try_with(&command.into(), &facts).unwrap_err();
    assert_eq!(rejection, Rejection::NotFound);
}

#[test]
fn a_change_costs_something_and_can_be_stored() {
    for cents in [0, -5, 1_000_000_001] {
        let rejection = on_site().refuse(request_change(cents));
        assert_eq!(pointer(&rejection), "/price_delta_cents");
    }
    let mut rich = on_site();
    rich.ticket.as_mut().unwrap().nte_cents = i64::MAX;
    assert_eq!(
        pointer(&rich.refuse(request_change(1))),
        "/price_delta_cents"
    );
}

#[test]
fn cancelling_withdraws_the_open_change() {
    let mut desk = on_site();
    desk.run(request_change(12_000));
    desk.run(CustomerAwait {
        reason: slug("landlord_consent"),
    });
    let stale = decide_change(&desk, Verdict::Approve);
    desk.run(Cancel {
        reason: slug("customer_request"),
    });
    let ticket = desk.ticket();
    assert_eq!(ticket.state, TicketState::Cancelled);
    assert_eq!((&ticket.open_change, &ticket.customer_wait), (&None, &None));
    assert_eq!(ticket.visits[0].stage, VisitStage::Cancelled);
    let approval = desk.approval().clone();
    assert_eq!(approval.state, ApprovalState::Withdrawn);
    assert_eq!(desk.refuse(stale).code(), ErrorCode::AlreadyDecided);
}

#[test]
fn evidence_parts_and_lines_are_checked_one_by_one() {
    let mut short = photo();
    short.sha256.pop();
    let bad = Complete {
        evidence: vec![photo(), short],
    };
    assert_eq!(pointer(&on_site().refuse(bad)), "/evidence/1/sha256");
    let twice = Complete {
        evidence: vec![photo(), photo()],
    };
    assert_eq!(pointer(&on_site().refuse(twice)), "/evidence/1");
    let none = ReturnVisit {
        reason: slug("glass_to_order"),
        parts: vec![Part {
            sku: slug("pane"),
            quantity: 0,
        }],
        evidence: Vec::new(),
    };
    assert_eq!(pointer(&on_site().refuse(none)), "/parts/0/quantity");

    let mut verified = on_site();
    verified.run(complete());
    let unexplained = QaReject { reasons: vec![] };
    assert_eq!(pointer(&verified.refuse(unexplained)), "/reasons");
    verified.run(verify());
    let lines = |quantity, unit_cents, count| GenerateInvoice {
        lines: vec![
            InvoiceLine {
                item: slug("labour"),
                quantity,
                unit_cents,
            };
            count
        ],
    };
    for (lines, field) in [
        (lines(1, 1, 0), "/lines"),
        (lines(0, 1, 1), "/lines/0/quantity"),
        (lines(100_001, 1, 1), "/lines/0/quantity"),
        (lines(1, -1, 1), "/lines/0/unit_cents"),
        (lines(100_000, 1_000_000_000, 100_000), "/lines"),
    ] {
        assert_eq!(pointer(&verified.refuse(lines)), field);
    }
}

#[test]
fn closing_without_an_invoice_needs_a_reason_and_with_one_allows_none() {
    let free = Close {
        no_charge_reason: Some(slug("warranty")),
    };
    let mut desk = on_site();
    desk.run(complete());
    desk.run(verify());
    assert_eq!(pointer(&desk.refuse(close())), "/no_charge_reason");
    let mut invoiced = desk.clone();
    desk.run(free.clone());
    assert_eq!(desk.ticket().state, TicketState::Closed);
    invoiced.run(invoice(100));
    assert_eq!(pointer(&invoiced.refuse(free)), "/no_charge_reason");
}

#[test]
fn reopening_takes_the_invoice_back_once_and_within_the_window() {
    let reopen = Reopen {
        reason: slug("leaks"),
    };
    let mut desk = closed();
    let decided = desk.run(reopen.clone());
    let TicketEvent::Reopened { credit_note, .. } = &decided.changes[0].event else {
        panic!("reopened")
    };
    let ticket = desk.ticket();
    assert_eq!(ticket.state, TicketState::ReturnPending);
    assert!(credit_note.is_some());
    assert_eq!(&ticket.invoice.as_ref().unwrap().credit_note, credit_note);

    let window = window_in(desk.now, 1);
    desk.run(ProposeSchedule { window });
    for command in [confirm(), dispatch(), check_in(), complete(), verify()] {
        desk.run(command);
    }
    let decided = desk.run(reopen.clone());
    assert!(matches!(
        &decided.changes[0].event,
        TicketEvent::Reopened {
            credit_note: None,
            ..
        }
    ));
}

#[test]
fn the_reopen_window_includes_its_last_moment() {
    let reopen = Reopen {
        reason: slug("leaks"),
    };
    let end = |desk: &Desk| desk.ticket().verified_at.unwrap() + TimeDelta::hours(24);
    let mut last = closed();
    last.now = end(&last);
    let mut late = last.clone();
    last.run(reopen.clone());
    assert_eq!(last.ticket().state, TicketState::ReturnPending);

    late.now += TimeDelta::microseconds(1);
    let rejection = late.refuse(reopen.clone());
    assert_eq!(rejection.code(), ErrorCode::Expired);
    assert_eq!(rejection.meta()["ended_at"], "2026-11-24T08:50:00Z");

    // It counts from the last verification, also of a job that was never charged.
    let mut free = on_site();
    free.run(complete());
    free.run(verify());
    free.run(Close {
        no_charge_reason: Some(slug("goodwill")),
    });
    free.run(reopen);
    assert_eq!(free.ticket().invoice, None);
}

#[test]
fn a_ticket_that_was_reopened_is_charged_anew() {
    let mut desk = closed();
    let first = desk.ticket().invoice.clone().unwrap();
    desk.run(Reopen {
        reason: slug("leaks"),
    });
    let window = window_in(desk.now, 1);
    desk.run(ProposeSchedule { window });
    for command in [confirm(), dispatch(), check_in(), complete(), verify()] {
        desk.run(command);
    }
    desk.run(invoice(4_000));
    let second = desk.ticket().invoice.clone().unwrap();
    assert_ne!(first.number, second.number);
    assert_eq!(second.credit_note, None, "the new one stands");
    let decided = desk.run(Reopen {
        reason: slug("still_leaks"),
    });
    let TicketEvent::Reopened { credit_note, .. } = &decided.changes[0].event else {
        panic!("reopened")
    };
    assert!(credit_note.is_some(), "and is taken back in its turn");
    let numbers: Vec<_> = desk.ticket().visits.iter().map(|v| v.number).collect();
    assert_eq!(numbers, [1, 2, 3]);
}

#[test]
fn what_was_merged_or_cancelled_stays_so() {
    let other = TicketId::from_uuid(uuid(9));
    let merged = Desk::after([create(), Merge { into: other }.into()]);
    let cancelled = Desk::after([
        create(),
        Cancel {
            reason: slug("duplicate"),
        }
        .into(),
    ]);
    for mut desk in [merged, cancelled] {
        let reopen = Reopen {
            reason: slug("not_a_duplicate"),
        };
        assert_eq!(desk.refuse(reopen).code(), ErrorCode::IllegalTransition);
        let again = desk.refuse(Merge { into: other });
        assert_eq!(again.code(), ErrorCode::IllegalTransition);
    }
}

#[test]
fn a_merge_needs_another_open_ticket() {
    let other = TicketId::from_uuid(uuid(9));
    let mut desk = Desk::after([create()]);
    assert_eq!(
        pointer(&desk.refuse(Merge {
            into: key().ticket_id
        })),
        "/into"
    );
    for target in [
        None,
        Some(TicketState::Closed),
        Some(TicketState::Cancelled),
    ] {
        let mut facts = desk.facts();
        facts.merge_target = target;
        let rejection = desk.try_with(&Merge { into: other }.into(), &facts);
        assert_eq!(pointer(&rejection.unwrap_err()), "/into");
    }
    desk.run(Merge { into: other });
    let ticket = desk.ticket();
    assert_eq!(ticket.state, TicketState::Cancelled);
    assert_eq!(ticket.merged_into, Some(other));
}

#[test]
fn the_customer_is_awaited_once_at_a_time() {
    let wait = CustomerAwait {
        reason: slug("key"),
    };
    let mut desk = Desk::after([create()]);
    let rejection = desk.refuse(CustomerResume {});
    assert!(rejection.detail().contains("not awaited"), "{rejection}");
    desk.run(wait.clone());
    let rejection = desk.refuse(wait.clone());
    assert!(rejection.detail().contains("resume first"), "{rejection}");
    desk.run(CustomerResume {});
    let rejection = closed().refuse(wait);
    assert_eq!(rejection.code(), ErrorCode::IllegalTransition);
}

#[test]
fn triage_adds_details_and_takes_a_new_templates_amount() {
    let mut desk = Desk::after([create()]);
    let detail = |name: &str, n| {
        let value = contracts::value::DetailValue::Number(n);
        [(slug(name), value)].into()
    };
    desk.run(Triage {
        priority: Priority::P3,
        template: None,
        details: detail("pane_count", 1),
    });
    let command = Triage {
        priority: Priority::P3,
        template: Some(door().id),
        details: detail("width_cm", 90),
    };
    let mut facts = desk.facts();
    facts.template = Some(door());
    desk.try_with(&command.clone().into(), &facts).unwrap();
    let ticket = desk.ticket();
    assert_eq!(ticket.template, door().id);
    assert_eq!((ticket.details.len(), ticket.nte_cents), (2, 70_000));

    facts.template = None;
    let rejection = desk.try_with(&command.into(), &facts).unwrap_err();
    assert_eq!(pointer(&rejection), "/template");
    let rejection = desk.try_with(&triage(Priority::P1), &facts).unwrap_err();
    assert_eq!(rejection.code(), ErrorCode::PolicyUnavailable);
    let many = (0..65).flat_map(|n| detail(&format!("d{n}"), n));
    let rejection = desk.refuse(Triage {
        priority: Priority::P3,
        template: None,
        details: many.collect(),
    });
    assert_eq!(pointer(&rejection), "/details");
}

#[test]
fn a_workflow_ahead_of_the_database_is_told_so() {
    let mut desk = Desk::after([create()]);
    let proposal = |based_on_version, applied_seq, looked_at| RecordProposal {
        based_on_version,
        applied_seq,
        input: contracts::proposal::AdvisorInput::Triage(triage_input(looked_at)),
        advice: no_advice(),
    };
    let rejection = desk.refuse(proposal(1, 2, 1));
    assert_eq!(rejection.code(), ErrorCode::AheadOfDatabase);
    assert_eq!(rejection.meta()["what"], "applied_seq");
    let rejection = desk.refuse(proposal(2, 1, 2));
    assert_eq!(rejection.code(), ErrorCode::AheadOfDatabase);
    assert_eq!(
        pointer(&desk.refuse(proposal(1, 1, 0))),
        "/based_on_version"
    );
    assert_eq!(
        pointer(&desk.refuse(proposal(0, 1, 0))),
        "/based_on_version"
    );
    let before = desk.ticket().clone();
    let decided = desk.run(proposal(1, 1, 1));
    assert_eq!(desk.ticket(), &before, "bookkeeping changes nothing");
    assert!(matches!(
        decided.effects[..],
        [Effect::RecordProposal { .. }]
    ));
}

#[test]
fn a_choice_is_about_what_the_input_is_about() {
    let mut advice = no_advice();
    advice.ranked.push(contracts::proposal::Ranked {
        choice: contracts::proposal::Choice::Dispatch {
            technician_id: technician(1),
            eta: monday(),
        },
        score: 0,
        factors: Vec::new(),
    });
    let rejection = Desk::after([create()]).refuse(RecordProposal {
        based_on_version: 1,
        applied_seq: 1,
        input: contracts::proposal::AdvisorInput::Triage(triage_input(1)),
        advice,
    });
    assert_eq!(pointer(&rejection), "/advice/ranked/0/choice");
}

#[test]
fn every_operation_is_in_the_table_of_a_ticket_it_can_be_given_to() {
    use strum::VariantArray;
    for operation in Operation::VARIANTS {
        let from = TicketState::VARIANTS
            .iter()
            .filter(|state| super::table::next_state(*operation, **state).is_some());
        let expected = match operation {
            Operation::CreateTicket
            | Operation::UpsertSite
            | Operation::UpsertAsset
            | Operation::UpsertContact
            | Operation::UpsertTechnician
            | Operation::RecordAbsence
            | Operation::CancelAbsence
            | Operation::EngageKillSwitch
            | Operation::ReleaseKillSwitch
            | Operation::RecordDrill
            | Operation::DelegateApprovals
            | Operation::RevokeDelegation
            | Operation::RecordGateReport
            | Operation::PromoteStage
            | Operation::DemoteStage
            | Operation::ApplyStageChange
            | Operation::UploadBundle
            | Operation::ActivateBundle
            | Operation::CreateTenant
            | Operation::ConfigureTenant
            | Operation::SuspendTenant
            | Operation::ResumeTenant
            | Operation::RequestTenantDeletion
            | Operation::CancelTenantDeletion
            | Operation::EraseTenant
            | Operation::LimitTenant
            | Operation::RecordTenantExport
            | Operation::UpsertServiceAccount
            | Operation::DisableServiceAccount
            | Operation::IssueApiKey
            | Operation::RotateApiKey
            | Operation::RevokeApiKey => 0,
            // What is done with an approval is a matter of the approval, not of the state.
            Operation::DecideApproval
            | Operation::AmendApproval
            | Operation::WithdrawApproval
            | Operation::ChangeApprovalDue
            | Operation::RecordApprovalStep
            | Operation::ExecuteApproval
            | Operation::ClaimApproval
            | Operation::ReleaseApproval
            | Operation::TakeOverApproval
            | Operation::CommentApproval
            | Operation::AddNote
            | Operation::RecordProposal
            | Operation::RecordSla
            | Operation::AddEvidence
            | Operation::CommsInbound
            | Operation::CommsOutbound
            | Operation::AttachMessage => 13,
            Operation::CustomerAwait | Operation::CustomerResume | Operation::SetTicketAutonomy => {
                11
            }
            Operation::Cancel => 8,
            Operation::ProposeSchedule | Operation::Reopen => 3,
            Operation::Triage
            | Operation::Reschedule
            | Operation::Dispatch
            | Operation::NoAccess
            | Operation::Close
            | Operation::Merge => 2,
            Operation::ConfirmSchedule
            | Operation::Unassign
            | Operation::EnRoute
            | Operation::CheckIn
            | Operation::RequestChange
            | Operation::ReturnVisit
            | Operation::Complete
            | Operation::QaVerify
            | Operation::QaReject
            | Operation::GenerateInvoice => 1,
        };
        assert_eq!(from.count(), expected, "{operation}");
    }
}
