//! The starter bundle: each rule met and broken, and its own tests.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::*;
use contracts::{
    ActorKind, Command, ErrorCode, Operation, Role, TicketState,
    approval::OnExpiry,
    command::*,
    event::AutonomyMode,
    policy::{
        DenyClass, PolicyActor, PolicyDecision, PolicyHour, PolicyInput, PolicyRelease,
        PolicyResult, PolicyTicket, PolicyVote,
    },
    schedule::QuietHours,
    sla::ClockCalendar,
    ticket::{EvidenceRef, Priority},
    value::DetailValue,
};
use dispatch_policy::{Bundle, BundleError, BundleFiles, Trust, primary_code};
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
    assert_eq!(decision.bundle.version, "1.6.0");
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
    Operation::EraseTenant,
    Operation::AddNote,
    Operation::ApplyStageChange,
    Operation::DemoteStage,
    Operation::ExecuteApproval,
    Operation::RecordApprovalStep,
    Operation::RecordProposal,
    Operation::RecordSla,
    Operation::ReleaseKillSwitch,
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

/// The same, carried out after these people said yes.
fn released(mut input: PolicyInput, votes: &[(&str, Role)]) -> PolicyInput {
    input.release = Some(PolicyRelease {
        approval_id: id("apr", 1),
        proposer: input.actor.clone(),
        codes: None,
        votes: votes
            .iter()
            .map(|(who, role)| PolicyVote {
                actor_id: (*who).to_owned(),
                roles: [*role].into(),
            })
            .collect(),
    });
    input
}

/// What software asks for at a stage.
fn by_software(kind: ActorKind, operation: Operation, mode: AutonomyMode) -> PolicyInput {
    let mut input = ask(actor(kind, &[]), command(operation));
    input.autonomy = mode;
    if let Some(ticket) = &mut input.ticket {
        ticket.state = TicketState::Scheduled;
    }
    input
}

#[track_caller]
fn held(input: &PolicyInput, expected: &[&str]) -> PolicyDecision {
    let decision = decide(input);
    assert_eq!(
        decision.result,
        PolicyResult::RequireApproval,
        "{decision:#?}"
    );
    assert_eq!(codes(&decision), expected.iter().copied().collect());
    decision
}

#[test]
fn at_approve_a_person_releases_what_software_proposes() {
    let input = by_software(
        ActorKind::Workflow,
        Operation::Dispatch,
        AutonomyMode::Approve,
    );
    let need = held(&input, &["STAGE_APPROVE"]).approval.unwrap();
    assert_eq!(need.demands[0].roles, [Role::Dispatcher]);
    assert_eq!(need.plan.on_expiry, OnExpiry::Escalate);
    let bundle = Bundle::starter().unwrap();
    assert_eq!(
        bundle.approval_need("STAGE_APPROVE", Operation::Dispatch),
        Some(need)
    );

    allowed(&released(input.clone(), &[("anna", Role::Dispatcher)]));
    held(
        &released(input.clone(), &[("anna", Role::Billing)]),
        &["STAGE_APPROVE"],
    );
    held(
        &released(input.clone(), &[("someone", Role::Dispatcher)]),
        &["STAGE_APPROVE"],
    );
    let mut stopped = released(input, &[("anna", Role::Dispatcher)]);
    stopped.kill_switch = true;
    let decision = refused(&stopped, &["KILL_SWITCH_ENGAGED"]);
    assert_eq!(primary_code(&decision), ErrorCode::KillSwitch);
    stopped.kill_switch_override = Some(slug("storm"));
    allowed(&stopped);
    stopped.autonomy = AutonomyMode::Shadow;
    refused(&stopped, &["STAGE_SHADOW"]);
}

#[test]
fn change_orders_are_decided_by_those_of_the_bundle() {
    let need = Bundle::starter().unwrap().change_order_need();
    assert_eq!(need.demands.len(), 1);
    assert_eq!(need.demands[0].code, "CHANGE_ORDER");
    assert_eq!(
        need.demands[0].roles,
        [Role::Approver, Role::AccountManager]
    );
    assert_eq!(need.plan.remind_after_minutes, [15]);
}

/// The starter bundle with one word of one file replaced.
fn spoilt(path: &str, word: &str, by: &str) -> Result<Bundle, BundleError> {
    let starter = BundleFiles::read(concat!(env!("CARGO_MANIFEST_DIR"), "/bundle").as_ref())?;
    let (_, text) = starter.iter().find(|(name, _)| *name == path).unwrap();
    assert!(text.contains(word), "{path} has no {word}");
    let spoilt = text.replacen(word, by, 1);
    let others = starter.iter().filter(|(name, _)| *name != path);
    let files = BundleFiles::from_texts(others.chain([(path, spoilt.as_str())]))?;
    Bundle::load(Trust::Anybody.accept(files)?)
}

#[test]
fn a_bundle_that_would_let_too_much_pass_is_no_bundle() {
    assert!(spoilt("nte/data.json", "250000", "250001").is_ok());
    let refused = |path, word, by| spoilt(path, word, by).map(drop).unwrap_err().to_string();
    for (path, word, by, says) in [
        (
            "approvals/data.json",
            "\"deny\"",
            "\"approve\"",
            "expected `deny` or `escalate`",
        ),
        ("approvals/data.json", "\"REARM\"", "\"REAM\"", "REARM"),
        (
            "autonomy/data.json",
            "\"add_note\"",
            "\"cancel\"",
            "more than keep the books",
        ),
        ("nte/data.json", "delta_cents", "delta", "unknown field"),
        ("quiet_hours/data.json", "1320", "1440", "0 to 1439"),
        (
            "activation/data.json",
            "false",
            "\"no\"",
            "expected a boolean",
        ),
    ] {
        let message = refused(path, word, by);
        assert!(
            message.contains(path) && message.contains(says),
            "{message}"
        );
    }
}

#[test]
fn a_cap_is_a_cap() {
    let bundle = Bundle::starter().unwrap();
    let caps = &bundle.autonomy().caps;
    let mut input = by_software(
        ActorKind::Workflow,
        Operation::GenerateInvoice,
        AutonomyMode::Auto,
    );
    let hour = |in_all, of_operation, spent_cents| {
        Some(PolicyHour {
            of_operation,
            in_all,
            spent_cents,
            spends_cents: 80_000,
        })
    };
    let of_invoices = caps.of_operation_per_hour[&Operation::GenerateInvoice];
    let left = caps.spend_cents_per_hour - 80_000;
    input.hour = hour(caps.commands_per_hour - 1, of_invoices - 1, left);
    allowed(&input);
    input.hour = hour(caps.commands_per_hour, of_invoices, left + 1);
    let decision = refused(
        &input,
        &[
            "AUTONOMY_CAP_COUNT",
            "AUTONOMY_CAP_OPERATION",
            "AUTONOMY_CAP_SPEND",
        ],
    );
    assert_eq!(primary_code(&decision), ErrorCode::PolicyDenied);
}

#[test]
fn software_asks_people_for_no_more_than_they_can_look_at() {
    let most = Bundle::starter().unwrap().autonomy().caps.held_per_ticket;
    let mut input = by_software(ActorKind::Agent, Operation::QaVerify, AutonomyMode::Approve);
    let mut waiting = |n| {
        input.ticket = Some(PolicyTicket {
            state: TicketState::WorkComplete,
            held_by_software: n,
            ..ticket()
        });
        input.clone()
    };
    held(&waiting(most.unwrap() - 1), &["STAGE_APPROVE"]);
    refused(
        &waiting(most.unwrap()),
        &["AUTONOMY_CAP_HELD", "STAGE_APPROVE"],
    );
}

#[test]
fn at_night_customers_are_left_in_peace() {
    let mut input = ask(person(Role::Dispatcher), command(Operation::CommsOutbound));
    input.ticket = Some(PolicyTicket {
        template: template("scheduled_install"),
        ..ticket()
    });
    for (moment, quiet) in [
        // The night of 25 October 2026 is an hour longer in Amsterdam, that of 29 March shorter.
        ("2026-10-24T19:59:59Z", false),
        ("2026-10-24T20:00:00Z", true),
        ("2026-10-25T05:59:59Z", true),
        ("2026-10-25T06:00:00Z", false),
        ("2026-03-28T20:59:59Z", false),
        ("2026-03-28T21:00:00Z", true),
        ("2026-03-29T04:59:59Z", true),
        ("2026-03-29T05:00:00Z", false),
    ] {
        input.at = moment.parse().unwrap();
        if quiet {
            held(&input, &["QUIET_HOURS"]);
        } else {
            allowed(&input);
        }
    }
    input.tenant.quiet_hours = Some(QuietHours {
        from_minute: 7 * 60,
        until_minute: 7 * 60 + 1,
    });
    held(&input, &["QUIET_HOURS"]);
    allowed(&released(input.clone(), &[("anna", Role::Dispatcher)]));
    input.ticket.as_mut().unwrap().template = template("emergency_door");
    allowed(&input);
}

/// Everybody who may call, with all roles or none.
fn callers() -> impl Iterator<Item = PolicyActor> {
    ActorKind::VARIANTS
        .iter()
        .flat_map(|kind| [actor(*kind, &[]), actor(*kind, Role::VARIANTS)])
}

#[test]
fn below_approve_software_changes_nothing_whoever_says_yes() {
    let bundle = Bundle::starter().unwrap();
    let books = &bundle.autonomy().bookkeeping;
    let everybody: Vec<(&str, Role)> = Role::VARIANTS.iter().map(|role| ("anna", *role)).collect();
    for caller in callers().filter(|caller| caller.kind.is_autonomous()) {
        for operation in Operation::VARIANTS.iter().filter(|op| !books.contains(op)) {
            for mode in [
                AutonomyMode::Off,
                AutonomyMode::Shadow,
                AutonomyMode::Canary,
            ] {
                let mut input = ask(caller.clone(), command(*operation));
                input.autonomy = mode;
                for input in [input.clone(), released(input, &everybody)] {
                    let decision = bundle.evaluate(&input).unwrap();
                    assert_eq!(decision.result, PolicyResult::Deny, "{operation} {mode}");
                    assert!(decision.reasons.iter().any(|r| r.class == DenyClass::Stage));
                }
            }
        }
    }
}

/// People can waive what is held, and nothing else: no vote mends a denial, and none spoils what
/// passes.
#[test]
fn votes_only_ever_release() {
    let bundle = Bundle::starter().unwrap();
    let votes = [
        ("someone", Role::Dispatcher),
        ("bob", Role::Auditor),
        ("anna", Role::Dispatcher),
        ("anna", Role::Qa),
        ("carl", Role::Billing),
        ("dora", Role::AccountManager),
        ("ed", Role::Qa),
        ("fred", Role::TenantAdmin),
    ];
    let rank = |result| match result {
        PolicyResult::Deny => 0,
        PolicyResult::RequireApproval => 1,
        PolicyResult::Allow => 2,
    };
    let (mut waited, mut passed) = (BTreeSet::new(), BTreeSet::new());
    for caller in callers() {
        for operation in Operation::VARIANTS {
            for mode in [AutonomyMode::Approve, AutonomyMode::Auto] {
                let mut input = ask(caller.clone(), command(*operation));
                input.autonomy = mode;
                input.at = "2026-11-21T23:00:00Z".parse().unwrap();
                if let Some(ticket) = &mut input.ticket {
                    ticket.template = template("scheduled_install");
                    ticket.state = TicketState::Scheduled;
                    ticket.details = BTreeMap::from([
                        (slug("unit_count"), DetailValue::Number(1)),
                        (slug("measured"), DetailValue::Flag(true)),
                    ]);
                }
                let first = bundle.evaluate(&input).unwrap();
                let mut before = rank(first.result);
                for count in [0, 1, 2, 3, votes.len()] {
                    let input = released(input.clone(), &votes[..count]);
                    let result = bundle.evaluate(&input).unwrap().result;
                    assert!(before <= rank(result), "{operation} {mode} {count}");
                    if first.result == PolicyResult::Deny {
                        // Caps are for what software does by itself; none is reached here.
                        assert_eq!(result, PolicyResult::Deny, "{operation} {mode} {count}");
                    }
                    before = rank(result);
                }
                if first.result == PolicyResult::RequireApproval {
                    waited.insert(*operation);
                    if before == rank(PolicyResult::Allow) {
                        passed.insert(*operation);
                    }
                }
            }
        }
    }
    assert_eq!(waited, passed, "what everybody agrees to passes");
    assert!(waited.len() >= 8, "{waited:?}");
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
