use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use contracts::{
    CommandId, Operation, Priority, ProposalId, TechnicianId, TemplateId, TicketEvent, TicketId,
    VisitId,
    approval::ApprovalState,
    autonomy::{RiskClass, StageGate, StageSetting, StageTarget},
    canonical::canonical_sha256,
    event::{AutonomyMode, TicketChange},
    proposal::{Factor, PairingOutcome},
    rollout::LedgerPair,
    schedule::TimeWindow,
    sla::SlaRecordKind,
};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::{
    Autonomy,
    testing::{autonomy, monday, slug, technician},
};

fn ticket(n: u128) -> TicketId {
    TicketId::from_uuid(Uuid::from_u128(n))
}

fn visit(n: u128) -> VisitId {
    VisitId::from_uuid(Uuid::from_u128(n))
}

fn attempt(n: u128) -> CommandId {
    CommandId::from_uuid(Uuid::from_u128(n))
}

fn minute(n: i64) -> DateTime<Utc> {
    monday() + TimeDelta::minutes(n)
}

fn pair(n: u128, outcome: PairingOutcome, seen: bool) -> PairFacts {
    let pair = LedgerPair {
        proposal_id: ProposalId::from_uuid(Uuid::from_u128(n)),
        ticket_id: ticket(n),
        recorded_at: minute(0),
        paired_at: minute(i64::try_from(n).unwrap()),
        outcome,
        seen,
        rule: "technician_v2/travel_minutes".to_owned(),
        technician_id: Some(technician(n % 2)),
    };
    PairFacts {
        pair,
        risk: risk(Priority::P3),
    }
}

fn target(risk: Option<&str>) -> StageTarget {
    StageTarget {
        operation: Operation::Dispatch,
        risk: risk.map(slug),
    }
}

fn risk(priority: Priority) -> TicketRisk {
    TicketRisk {
        priority,
        template: TemplateId::new("emergency_glass").unwrap(),
    }
}

fn staged(settings: &[(Option<&str>, AutonomyMode, Option<u8>)]) -> Autonomy {
    let mut autonomy = autonomy();
    let emergency = RiskClass {
        priorities: vec![Priority::P1],
        templates: Vec::new(),
    };
    autonomy.rules.risk_classes = BTreeMap::from([(slug("emergency"), emergency)]);
    autonomy.stages = settings
        .iter()
        .map(|(risk, mode, percent)| StageSetting {
            target: target(*risk),
            mode: *mode,
            percent: *percent,
            version: 3,
        })
        .collect();
    autonomy
}

// Wilson.

#[test]
fn the_lower_bound_has_the_known_values() {
    for (hits, all, permille) in [
        (0, 0, 0),
        (0, 10, 0),
        (10, 10, 722),
        (8, 10, 490),
        (50, 100, 403),
        (90, 100, 825),
        (19, 20, 763),
        (190, 200, 910),
        (1_000_000, 1_000_000, 999),
    ] {
        assert_eq!(lower_bound_permille(hits, all), permille, "{hits} of {all}");
    }
}

proptest! {
    #[test]
    fn the_lower_bound_is_that_of_the_formula(all in 1_u64..100_000, part in 0_u64..=1000) {
        let hits = all * part / 1000;
        let (k, n, z) = (hits as f64, all as f64, 1.959_964_f64);
        let p = k / n;
        let exact = (p + z * z / (2.0 * n)
            - z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt()) / (1.0 + z * z / n);
        let bound = f64::from(lower_bound_permille(hits, all));
        prop_assert!(bound <= exact * 1000.0 + 0.001 && bound > exact * 1000.0 - 1.01);
        prop_assert!(bound <= p * 1000.0 + 0.001, "never more than the share itself");
    }

    #[test]
    fn more_hits_never_lower_the_bound(all in 1_u64..10_000, hits in 0_u64..10_000) {
        let hits = hits.min(all - 1);
        prop_assert!(lower_bound_permille(hits, all) <= lower_bound_permille(hits + 1, all));
    }
}

// Overrides.

fn act(event: TicketEvent) -> ActFacts {
    ActFacts {
        command_id: attempt(1),
        ticket_id: ticket(1),
        risk: None,
        at: minute(0),
        released: false,
        changes: vec![change(0, event)],
    }
}

fn change(at: i64, event: TicketEvent) -> TicketChange {
    TicketChange {
        at: minute(at),
        event,
        sla: None,
    }
}

fn step(n: u128, by_software: bool, event: TicketEvent) -> StepFacts {
    let at = i64::try_from(n).unwrap();
    StepFacts {
        command_id: attempt(n),
        at: minute(at),
        by_software,
        changes: vec![change(at, event)],
    }
}

fn dispatched(v: u128, who: u128) -> TicketEvent {
    TicketEvent::Dispatched {
        visit_id: visit(v),
        technician_id: technician(who),
        eta: None,
    }
}

fn unassigned(v: u128) -> TicketEvent {
    TicketEvent::Unassigned {
        visit_id: visit(v),
        reason: slug("sick"),
    }
}

fn hours(from: i64) -> TimeWindow {
    TimeWindow {
        start: minute(from * 60),
        end: minute(from * 60 + 60),
    }
}

fn offered(v: u128, from: i64) -> TicketEvent {
    TicketEvent::ScheduleProposed {
        visit_id: visit(v),
        window: hours(from),
    }
}

fn moved(v: u128, from: i64) -> TicketEvent {
    TicketEvent::Rescheduled {
        visit_id: visit(v),
        window: hours(from),
        reason: slug("customer"),
    }
}

fn triaged(priority: Priority) -> TicketEvent {
    TicketEvent::Triaged {
        template: TemplateId::new("emergency_glass").unwrap(),
        priority,
        details: BTreeMap::new(),
        nte_cents: 0,
    }
}

fn reopened(credit_note: Option<&str>) -> TicketEvent {
    TicketEvent::Reopened {
        reason: slug("leaks"),
        credit_note: credit_note.map(ToOwned::to_owned),
        next_visit_id: visit(9),
    }
}

fn how(operation: Operation, done: TicketEvent, later: &[StepFacts]) -> Option<String> {
    let undone = undone(operation, &act(done), later)?;
    Some(undone.how.to_string())
}

#[test]
fn a_dispatch_is_undone_until_somebody_checks_in() {
    let how = |later: &[StepFacts]| how(Operation::Dispatch, dispatched(1, 5), later);
    let there = || step(2, false, TicketEvent::CheckedIn { visit_id: visit(1) });
    assert_eq!(how(&[]), None);
    assert_eq!(how(&[step(2, false, unassigned(1))]).unwrap(), "taken_off");
    assert_eq!(
        how(&[step(2, false, dispatched(1, 6))]).unwrap(),
        "other_technician"
    );
    assert_eq!(how(&[step(2, false, moved(1, 3))]).unwrap(), "other_window");
    assert_eq!(
        how(&[step(2, false, dispatched(1, 5))]),
        None,
        "the same one again"
    );
    assert_eq!(
        how(&[step(2, false, unassigned(2))]),
        None,
        "of another visit"
    );
    assert_eq!(how(&[step(2, true, unassigned(1))]), None, "by software");
    assert_eq!(
        how(&[there(), step(3, false, unassigned(1))]),
        None,
        "too late"
    );
    assert_eq!(
        how(&[step(2, false, unassigned(1)), there()]).unwrap(),
        "taken_off"
    );
    let cancelled = TicketEvent::Cancelled {
        reason: slug("duplicate"),
    };
    assert_eq!(
        how(&[step(2, false, cancelled)]),
        None,
        "nobody said it was wrong"
    );
}

#[test]
fn an_offer_is_undone_until_the_customer_takes_it() {
    let how = |later: &[StepFacts]| how(Operation::ProposeSchedule, offered(1, 4), later);
    let taken = TicketEvent::ScheduleConfirmed { visit_id: visit(1) };
    assert_eq!(
        how(&[step(2, false, offered(1, 5))]).unwrap(),
        "other_window"
    );
    assert_eq!(how(&[step(2, false, moved(1, 5))]).unwrap(), "other_window");
    assert_eq!(how(&[step(2, false, offered(1, 4))]), None);
    assert_eq!(
        how(&[step(2, false, taken), step(3, false, moved(1, 5))]),
        None
    );
}

#[test]
fn triage_verification_and_invoices_are_undone_by_their_opposite() {
    let again = [step(2, false, triaged(Priority::P2))];
    let triage = |later: &[StepFacts]| how(Operation::Triage, triaged(Priority::P1), later);
    assert_eq!(triage(&again).unwrap(), "triaged_again");
    assert_eq!(triage(&[step(2, false, triaged(Priority::P1))]), None);

    let open = [step(2, false, reopened(None))];
    let verify = |later: &[StepFacts]| how(Operation::QaVerify, TicketEvent::Verified {}, later);
    assert_eq!(verify(&open).unwrap(), "reopened");
    assert_eq!(verify(&again), None);

    let invoiced = || TicketEvent::Invoiced {
        invoice: serde_json::from_value(serde_json::json!({
            "id": format!("inv_{}", "0".repeat(32)), "number": "INV-000001",
            "lines": [], "amount_cents": 0, "issued_at": minute(0), "credit_note": null,
        }))
        .unwrap(),
    };
    let charge = |later: &[StepFacts]| how(Operation::GenerateInvoice, invoiced(), later);
    assert_eq!(charge(&open), None, "the invoice stands");
    assert_eq!(
        charge(&[step(2, false, reopened(Some("CRN-000001")))]).unwrap(),
        "credited"
    );
}

// The ledger.

fn attempted(n: u128, denied: bool) -> AttemptFacts {
    AttemptFacts {
        ticket_id: ticket(n),
        risk: None,
        denied,
    }
}

fn asked(n: u128, state: ApprovalState) -> ApprovalFacts {
    ApprovalFacts {
        ticket_id: ticket(n),
        state,
        risk: None,
    }
}

fn facts() -> LedgerFacts {
    use PairingOutcome::*;
    LedgerFacts {
        tickets: (1..=6).map(|n| (ticket(n), risk(Priority::P3))).collect(),
        pairs: vec![
            pair(1, Same, false),
            pair(2, Equivalent, false),
            pair(3, Different, false),
            pair(4, Nothing, false),
            pair(5, Different, true),
        ],
        open: vec![OpenFacts {
            ticket_id: ticket(6),
            risk: risk(Priority::P3),
        }],
        attempts: vec![attempted(1, false), attempted(2, true), attempted(3, false)],
        acts: vec![act(dispatched(1, 5))],
        steps: BTreeMap::from([(ticket(1), vec![step(3, false, unassigned(1))])]),
        promises: vec![
            PromiseFacts {
                ticket_id: ticket(1),
                kind: SlaRecordKind::Breach,
                effective_at: minute(1),
            },
            PromiseFacts {
                ticket_id: ticket(2),
                kind: SlaRecordKind::Breach,
                effective_at: minute(3),
            },
            PromiseFacts {
                ticket_id: ticket(2),
                kind: SlaRecordKind::Warning,
                effective_at: minute(2),
            },
        ],
        approvals: vec![
            asked(1, ApprovalState::Executed),
            asked(2, ApprovalState::Rejected),
        ],
    }
}

#[test]
fn figures_count_what_is_on_record() {
    let figures = ledger(Operation::Dispatch, &facts());
    let unseen = figures.unseen;
    assert_eq!(
        (
            unseen.same,
            unseen.equivalent,
            unseen.different,
            unseen.nothing
        ),
        (1, 1, 1, 1)
    );
    assert_eq!((figures.seen.different, figures.open), (1, 1));
    assert_eq!(figures.agreement_permille, lower_bound_permille(2, 3));
    assert_eq!(
        (figures.attempts, figures.denied, figures.denied_permille),
        (3, 1, 334)
    );
    assert_eq!(
        (
            figures.acts,
            figures.overridden,
            figures.overridden_permille
        ),
        (1, 1, 1000)
    );
    assert_eq!(
        figures.overridden_how,
        BTreeMap::from([(slug("taken_off"), 1)])
    );
    assert_eq!(
        figures.breaches, 1,
        "only on the ticket on which software had acted"
    );
    assert_eq!(
        figures.saved_seconds,
        Some(60),
        "the lower of the two in the middle"
    );
    // The breach of ticket 1 came with the act, that of ticket 2 after it.
    assert_eq!(
        (figures.warnings_avoidable, figures.breaches_avoidable),
        (1, 1)
    );
    assert_eq!(figures.approvals[&ApprovalState::Rejected], 1);
    assert_eq!(figures.by_rule["technician_v2/travel_minutes"].different, 1);
    let who: TechnicianId = technician(1);
    assert_eq!(figures.by_technician[&who].same, 1);
    assert_eq!(
        ledger(Operation::Dispatch, &LedgerFacts::default()),
        Default::default()
    );
}

#[test]
fn a_breach_before_the_act_is_not_softwares() {
    let mut facts = facts();
    facts.promises[0].effective_at = minute(-1);
    assert_eq!(ledger(Operation::Dispatch, &facts).breaches, 0);
}

#[test]
fn a_stage_for_all_leaves_out_classes_with_one_of_their_own() {
    let mut facts = facts();
    facts.tickets.insert(ticket(1), risk(Priority::P1));
    facts.pairs[0].risk = risk(Priority::P1);
    let general = target(None);
    let emergency = target(Some("emergency"));
    let sample = |autonomy: &Autonomy, target: &StageTarget| {
        let governed = facts.clone().governed_by(target, autonomy);
        (
            governed.pairs.len(),
            governed.acts.len(),
            governed.promises.len(),
        )
    };
    let together = staged(&[(None, AutonomyMode::Approve, None)]);
    assert_eq!(sample(&together, &general), (5, 1, 3));
    assert_eq!(sample(&together, &emergency), (1, 1, 1));
    let apart = staged(&[(Some("emergency"), AutonomyMode::Off, None)]);
    assert_eq!(sample(&apart, &general), (4, 0, 2));
    assert_eq!(sample(&apart, &target(Some("standard"))), (4, 0, 2));
}

#[test]
fn what_happened_counts_for_the_class_of_then() {
    // All of it on tickets that people have since made P3.
    let mut facts = facts();
    facts.pairs[0].risk = risk(Priority::P1);
    facts.open[0].risk = risk(Priority::P1);
    facts.attempts[0].risk = Some(slug("emergency"));
    facts.acts[0].risk = Some(slug("emergency"));
    facts.approvals[1].risk = Some(slug("emergency"));
    let apart = staged(&[(Some("emergency"), AutonomyMode::Auto, None)]);
    let figures = |facts: &LedgerFacts, risk: Option<&str>| {
        let governed = facts.clone().governed_by(&target(risk), &apart);
        let figures = ledger(Operation::Dispatch, &governed);
        let pairs = (governed.pairs.len(), figures.open);
        let acts = (
            figures.attempts,
            figures.acts,
            figures.overridden,
            figures.breaches,
        );
        let asked: Vec<_> = figures.approvals.into_keys().collect();
        (pairs, acts, asked, governed.promises.len())
    };
    assert_eq!(
        figures(&facts, Some("emergency")),
        ((1, 1), (1, 1, 1, 1), vec![ApprovalState::Rejected], 3),
        "with the promises of all tickets on which something was done then"
    );
    assert_eq!(
        figures(&facts, None),
        ((4, 0), (2, 0, 0, 0), vec![ApprovalState::Executed], 3)
    );
    // A ticket that became an emergency only afterwards is none of that class's.
    facts.acts[0].risk = Some(slug("standard"));
    facts.tickets.insert(ticket(1), risk(Priority::P1));
    let governed = facts
        .clone()
        .governed_by(&target(Some("emergency")), &apart);
    assert_eq!(governed.acts, []);
    assert_eq!(facts.governed_by(&target(None), &apart).acts.len(), 1);
}

#[test]
fn advice_is_counted_by_its_heaviest_reason() {
    let factor = |name: &str, points| Factor {
        name: slug(name),
        value: 0,
        points,
    };
    let rule_of = |factors: &[Factor]| rule("technician_v2", factors);
    assert_eq!(rule_of(&[]), "technician_v2");
    let factors = [factor("open_visits", -3), factor("travel_minutes", 2)];
    assert_eq!(rule_of(&factors), "technician_v2/open_visits");
    let factors = [factor("b", 3), factor("a", -3)];
    assert_eq!(rule_of(&factors), "technician_v2/a");
}

// The report.

fn gate(min_sample: u32, min_agreement_permille: u32) -> StageGate {
    StageGate {
        min_window_days: 0,
        min_sample,
        min_agreement_permille,
        max_denied_permille: 334,
        max_overridden_permille: 999,
        max_breaches: 1,
        max_age_minutes: 60,
    }
}

fn report(autonomy: &Autonomy) -> contracts::rollout::GateReport {
    gate_report(&target(None), (minute(0), minute(100)), facts(), autonomy)
}

#[test]
fn the_same_rows_give_the_same_report() {
    let mut autonomy = staged(&[(None, AutonomyMode::Canary, Some(10))]);
    let modes = [
        AutonomyMode::Approve,
        AutonomyMode::Canary,
        AutonomyMode::Auto,
    ];
    autonomy.rules.gates = modes.into_iter().map(|mode| (mode, gate(3, 300))).collect();
    let first = report(&autonomy);
    assert_eq!(
        canonical_sha256(&first).unwrap(),
        canonical_sha256(&report(&autonomy)).unwrap()
    );
    assert_eq!(
        (first.from, first.percent, first.stage_version),
        (AutonomyMode::Canary, Some(10), 3)
    );
    // A larger share is a further step too.
    let told: Vec<_> = first.gates.keys().copied().collect();
    assert_eq!(told, [AutonomyMode::Canary, AutonomyMode::Auto]);
    let met = |code: &str| {
        let of = &first.gates[&AutonomyMode::Auto];
        of.iter().find(|check| check.code == code).unwrap().met
    };
    assert!(met("GATE_SAMPLE") && met("GATE_DENIED") && met("GATE_BREACHES"));
    assert!(!met("GATE_AGREEMENT") && !met("GATE_OVERRIDDEN"));

    let figures = policy_figures(&first);
    assert_eq!(figures["sample"], 3);
    assert_eq!(figures["window_minutes"], 101, "a clock may be ahead");
    assert_eq!(figures["from_mode"], 3);
    assert_eq!(figures["stage_version"], 3);
    assert_eq!(figures["denied_permille"], 334);
    assert_eq!(figures["advised"], 1);
    let mut unadvised = first.clone();
    unadvised.target.operation = contracts::Operation::CommsOutbound;
    assert_eq!(policy_figures(&unadvised)["advised"], 0);

    autonomy.stages[0].version = 4;
    assert_ne!(
        canonical_sha256(&first).unwrap(),
        canonical_sha256(&report(&autonomy)).unwrap()
    );
}

#[test]
fn a_report_says_whether_it_looks_back_far_enough() {
    let mut autonomy = staged(&[(None, AutonomyMode::Canary, Some(10))]);
    let gate = StageGate {
        min_window_days: 7,
        ..gate(1, 0)
    };
    autonomy.rules.gates = [(AutonomyMode::Auto, gate)].into();
    let check = |minutes: i64| {
        let range = (minute(-minutes), minute(0));
        let report = gate_report(&target(None), range, facts(), &autonomy);
        let of = report.gates[&AutonomyMode::Auto].iter();
        let mut of = of.filter(|check| check.code == "GATE_WINDOW");
        let check = of.next().unwrap();
        assert_eq!(check.needed, 7);
        (check.figure, check.met)
    };
    assert_eq!(check(7 * 1440), (7, true));
    assert_eq!(check(7 * 1440 - 1), (7, true), "cut off by a clock");
    assert_eq!(check(7 * 1440 - 2), (6, false));
    assert_eq!(check(60), (0, false));
}

// Guardrails.

#[test]
fn a_guardrail_takes_one_stage_back_once_there_is_enough_to_go_by() {
    let rules = autonomy().rules.guardrails;
    let figures = |acts: u64, overridden_permille, breaches, attempts: u64, denied_permille| {
        contracts::rollout::LedgerFigures {
            acts,
            overridden_permille,
            breaches,
            attempts,
            denied_permille,
            ..Default::default()
        }
    };
    let word = |mode, figures| {
        let breached = breached(&rules, mode, &figures)?;
        Some((breached.reason.to_string(), breached.to))
    };
    use AutonomyMode::*;
    assert_eq!(word(Auto, figures(10, 50, 0, 10, 100)), None, "all hold");
    assert_eq!(word(Auto, figures(9, 1000, 9, 9, 1000)), None, "too few");
    let of = |reason: &str, to| Some((reason.to_owned(), to));
    let overridden = || figures(10, 51, 0, 10, 0);
    assert_eq!(
        word(Auto, overridden()),
        of("guardrail_overridden", Approve)
    );
    assert_eq!(
        word(Canary, overridden()),
        of("guardrail_overridden", Approve)
    );
    assert_eq!(
        word(Approve, overridden()),
        of("guardrail_overridden", Shadow)
    );
    assert_eq!(word(Shadow, overridden()), None, "it does not act");
    assert_eq!(
        word(Auto, figures(10, 0, 1, 10, 0)),
        of("guardrail_breaches", Approve)
    );
    // Where all is denied nothing is done.
    assert_eq!(
        word(Auto, figures(0, 0, 0, 10, 101)),
        of("guardrail_denied", Approve)
    );
}

#[test]
fn the_window_begins_with_the_stage() {
    let rules = autonomy().rules.guardrails;
    let now = minute(0);
    assert_eq!(window(&rules, None, now), now - TimeDelta::hours(24));
    assert_eq!(window(&rules, Some(minute(-5)), now), minute(-5));
    let long_ago = now - TimeDelta::days(9);
    assert_eq!(
        window(&rules, Some(long_ago), now),
        now - TimeDelta::hours(24)
    );
}
