//! The starter bundle: each rule met and broken, and its own tests.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::*;
use contracts::{
    ActorKind, Command, ErrorCode, Operation, Role, TicketState,
    command::*,
    policy::{DenyClass, PolicyDecision, PolicyInput, PolicyResult},
    sla::ClockCalendar,
    ticket::{EvidenceRef, Priority},
};
use dispatch_policy::{Bundle, primary_code};
use strum::VariantArray;

fn evidence(kinds: &[&str]) -> Vec<EvidenceRef> {
    kinds
        .iter()
        .map(|kind| EvidenceRef {
            kind: slug(kind),
            sha256: "0".repeat(64),
        })
        .collect()
}

fn codes(decision: &PolicyDecision) -> BTreeSet<&str> {
    decision.reasons.iter().map(|r| r.code.as_str()).collect()
}

fn decide(input: &PolicyInput) -> PolicyDecision {
    Bundle::starter().unwrap().evaluate(input).unwrap()
}

/// Asserts that the input is refused with exactly these reason codes.
#[track_caller]
fn refused(input: &PolicyInput, expected: &[&str]) -> PolicyDecision {
    let decision = decide(input);
    assert_eq!(decision.result, PolicyResult::Deny);
    assert_eq!(
        codes(&decision),
        expected.iter().copied().collect(),
        "{:#?}",
        decision.reasons
    );
    decision
}

#[track_caller]
fn allowed(input: &PolicyInput) {
    let decision = decide(input);
    assert_eq!(decision.result, PolicyResult::Allow, "{decision:#?}");
    assert!(decision.reasons.is_empty());
}

#[test]
fn the_bundles_own_tests_hold() {
    let report = Bundle::starter().unwrap().run_tests().unwrap();
    assert!(report.outcomes.len() > 30);
    let failures: Vec<_> = report.failures().collect();
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn a_decision_names_its_bundle() {
    let bundle = Bundle::starter().unwrap();
    let input = ask(
        person(Role::Dispatcher),
        command(Operation::ProposeSchedule),
    );
    let decision = bundle.evaluate(&input).unwrap();
    assert_eq!(decision.bundle, *bundle.reference());
    assert_eq!(decision.bundle.version, "1.2.0");
    assert_eq!(decision.bundle.sha256.len(), 64);
}

#[test]
fn templates_come_typed() {
    let bundle = Bundle::starter().unwrap();
    assert!(bundle.template(&template("nothing")).is_none());
    let glass = bundle.template(&template("emergency_glass")).unwrap();
    let clocks: BTreeMap<_, _> = glass.clocks.iter().map(|c| (c.name.as_str(), c)).collect();
    assert_eq!(clocks["response"].minutes[&Priority::P1], 120);
    assert_eq!(clocks["response"].stops_at, [TicketState::OnSite]);
    assert_eq!(clocks["make_safe"].minutes[&Priority::P1], 240);
    assert_eq!(
        clocks["make_safe"].stops_at,
        [TicketState::ReturnPending, TicketState::WorkComplete]
    );
    assert_eq!(clocks["completion"].calendar, ClockCalendar::BusinessHours);
    assert_eq!(bundle.templates().count(), 3);
}

#[test]
fn a_technician_acts_on_their_own_visit() {
    let mut input = ask(person(Role::Technician), command(Operation::CheckIn));
    allowed(&input);
    input.actor.technician_id = Some(id("tec", 2));
    refused(&input, &["NOT_ASSIGNED"]);
    input.actor.technician_id = None;
    input.ticket.as_mut().unwrap().technician_id = None;
    let decision = refused(&input, &["NOT_ASSIGNED"]);
    assert_eq!(primary_code(&decision), ErrorCode::Forbidden);
}

#[test]
fn the_approver_is_another_person_with_the_role() {
    let mut input = ask(person(Role::Approver), command(Operation::DecideApproval));
    allowed(&input);
    input.approval.as_mut().unwrap().required_roles = vec![Role::AccountManager];
    refused(&input, &["APPROVER_ROLE"]);
    input.actor.id = "technician-1".into();
    let decision = refused(&input, &["APPROVER_ROLE", "SELF_APPROVAL"]);
    assert_eq!(primary_code(&decision), ErrorCode::Forbidden);
}

/// What software may put on record by itself.
const RECORDS: &[Operation] = &[
    Operation::AddNote,
    Operation::ApplyStageChange,
    Operation::DemoteStage,
    Operation::ExecuteApproval,
    Operation::RecordApprovalStep,
    Operation::RecordProposal,
    Operation::RecordSla,
    Operation::WithdrawApproval,
];

#[test]
fn software_changes_nothing() {
    for kind in [ActorKind::Agent, ActorKind::Workflow] {
        for operation in Operation::VARIANTS {
            let mut caller = actor(kind, Role::VARIANTS);
            caller.technician_id = Some(id("tec", 1));
            let decision = decide(&ask(caller, command(*operation)));
            let by_stage = decision.reasons.iter().any(|r| r.class == DenyClass::Stage);
            assert_eq!(by_stage, !RECORDS.contains(operation), "{kind} {operation}");
            if by_stage {
                assert_eq!(primary_code(&decision), ErrorCode::Stage);
            }
        }
    }
}

#[test]
fn triage_needs_what_the_template_asks_for() {
    let mut input = ask(person(Role::Dispatcher), command(Operation::Triage));
    allowed(&input);
    input.ticket.as_mut().unwrap().details.clear();
    let decision = refused(&input, &["MISSING_DETAIL"]);
    let pointers: Vec<_> = decision
        .reasons
        .iter()
        .filter_map(|r| r.pointer.as_deref())
        .collect();
    assert_eq!(pointers, ["/details/pane_count", "/details/public_hazard"]);
    assert_eq!(primary_code(&decision), ErrorCode::PolicyDenied);

    let triage = Triage {
        priority: Priority::P1,
        template: None,
        details: details(),
    };
    let mut input = ask(person(Role::Dispatcher), triage.into());
    input.ticket.as_mut().unwrap().details.clear();
    allowed(&input);
}

#[test]
fn a_template_must_exist() {
    let Command::CreateTicket(mut create) = command(Operation::CreateTicket) else {
        unreachable!("command() gives what it is asked for")
    };
    create.template = template("moon_landing");
    let decision = refused(
        &ask(person(Role::Dispatcher), create.into()),
        &["UNKNOWN_TEMPLATE"],
    );
    assert_eq!(decision.reasons[0].pointer.as_deref(), Some("/template"));
    assert_eq!(
        decision.reasons[0].to_pass,
        "Name one of: emergency_door, emergency_glass, scheduled_install."
    );

    let mut input = ask(person(Role::Technician), command(Operation::Complete));
    input.ticket.as_mut().unwrap().template = template("retired");
    refused(&input, &["TEMPLATE_RETIRED"]);
}

#[test]
fn evidence_counts_over_all_visits_and_the_body() {
    let complete = |kinds: &[&str]| Complete {
        evidence: evidence(kinds),
    };
    let mut input = ask(
        person(Role::Technician),
        complete(&["photo_after", "signature"]).into(),
    );
    input.ticket.as_mut().unwrap().evidence = [slug("photo_before")].into();
    allowed(&input);
    input.ticket.as_mut().unwrap().evidence.clear();
    let decision = refused(&input, &["MISSING_EVIDENCE"]);
    assert_eq!(
        decision.reasons[0].to_pass,
        "Add evidence of kind `photo_before`."
    );
    assert_eq!(decision.reasons[0].pointer.as_deref(), Some("/evidence"));

    let mut input = ask(person(Role::Technician), command(Operation::ReturnVisit));
    input.ticket.as_mut().unwrap().evidence.clear();
    assert_eq!(refused(&input, &["MISSING_EVIDENCE"]).reasons.len(), 2);
}

#[test]
fn direct_dispatch_is_for_what_the_template_says() {
    let mut input = ask(person(Role::Dispatcher), command(Operation::Dispatch));
    let set = |input: &mut PolicyInput, state, priority| {
        let ticket = input.ticket.as_mut().unwrap();
        ticket.state = state;
        ticket.priority = priority;
    };
    set(&mut input, TicketState::Triaged, Priority::P1);
    allowed(&input);
    set(&mut input, TicketState::Triaged, Priority::P2);
    refused(&input, &["SCHEDULE_REQUIRED"]);
    set(&mut input, TicketState::Scheduled, Priority::P2);
    allowed(&input);
}

#[test]
fn an_invoice_stays_within_the_nte() {
    let invoice = |lines| GenerateInvoice { lines };
    allowed(&ask(
        person(Role::Billing),
        invoice(vec![line(3, 20_000), line(1, 20_000)]).into(),
    ));
    let decision = refused(
        &ask(
            person(Role::Billing),
            invoice(vec![line(3, 20_000), line(1, 20_001)]).into(),
        ),
        &["NTE_EXCEEDED"],
    );
    assert_eq!(
        decision.reasons[0].message,
        "The lines sum to 80001, more than the not-to-exceed amount of 80000 (smallest unit of EUR)."
    );
    // Beyond 2^53, where floating point would lose the last cent.
    let mut input = ask(
        person(Role::Billing),
        invoice(vec![line(100_000, 1_000_000_000); 1000]).into(),
    );
    input.ticket.as_mut().unwrap().nte_cents = 99_999_999_999_999_999;
    refused(&input, &["NTE_EXCEEDED"]);
}

#[test]
fn closing_without_charge_needs_a_reason() {
    let mut input = ask(person(Role::Billing), command(Operation::Close));
    input.ticket.as_mut().unwrap().state = TicketState::Invoiced;
    allowed(&input);
    input.ticket.as_mut().unwrap().state = TicketState::Verified;
    refused(&input, &["NO_CHARGE_REASON"]);
    let close = Close {
        no_charge_reason: Some(slug("goodwill")),
    };
    let mut input = ask(person(Role::Billing), close.into());
    input.ticket.as_mut().unwrap().state = TicketState::Verified;
    allowed(&input);
}

#[test]
fn every_failed_condition_is_reported() {
    let mut input = ask(
        actor(ActorKind::Agent, &[]),
        Triage {
            priority: Priority::P1,
            template: Some(template("moon_landing")),
            details: BTreeMap::new(),
        }
        .into(),
    );
    let decision = refused(&input, &["STAGE_SHADOW", "UNKNOWN_TEMPLATE"]);
    assert_eq!(primary_code(&decision), ErrorCode::Stage);

    input = ask(person(Role::Auditor), command(Operation::Complete));
    input.ticket.as_mut().unwrap().evidence.clear();
    let decision = refused(&input, &["MISSING_EVIDENCE", "NOT_PERMITTED"]);
    assert_eq!(decision.reasons.len(), 4);
    assert!(decision.reasons.is_sorted());
}

#[test]
fn a_ticket_that_is_not_there_is_no_reason_to_fail() {
    for operation in Operation::VARIANTS {
        let mut input = ask(person(Role::Technician), command(*operation));
        input.ticket = None;
        input.approval = None;
        decide(&input);
    }
}

#[test]
fn the_same_input_gives_the_same_decision() {
    let (one, other) = (Bundle::starter().unwrap(), Bundle::starter().unwrap());
    for operation in Operation::VARIANTS {
        for role in Role::VARIANTS {
            let mut input = ask(person(*role), command(*operation));
            input.ticket.iter_mut().for_each(|t| t.evidence.clear());
            let decision = one.evaluate(&input).unwrap();
            for bundle in [&one, &other, &one] {
                assert_eq!(bundle.evaluate(&input).unwrap(), decision);
            }
        }
    }
}

#[test]
fn many_threads_share_a_bundle() {
    let bundle = Bundle::starter().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8_usize {
            let bundle = &bundle;
            scope.spawn(move || {
                for round in 0..50_usize {
                    let role = Role::VARIANTS[(thread + round) % Role::VARIANTS.len()];
                    let input = ask(person(role), command(Operation::QaVerify));
                    let expected = if role == Role::Qa {
                        PolicyResult::Allow
                    } else {
                        PolicyResult::Deny
                    };
                    assert_eq!(bundle.evaluate(&input).unwrap().result, expected);
                }
            });
        }
    });
}
