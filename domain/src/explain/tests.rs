use contracts::{
    ApprovalId, CommentId, EvidenceId, InvoiceId, MessageId, NoteId, Priority, ProposalId, Role,
    SiteId, TemplateId, TicketId, VisitId,
    approval::{ApprovalKind, ApprovalStep},
    comms::{Channel, Purpose},
    event::EventType,
    policy::DenyClass,
    proposal::{PairingOutcome, ProposalKind},
    schedule::WorkCalendar,
    ticket::{EvidenceRef, Invoice, InvoiceLine, Part},
};

use super::*;
use crate::testing::{at, office, slug, technician, uuid};

const ID: u128 = 0x019a_0000_0000_7000_8000_0000_1234_abcd;

fn place() -> Place {
    Place::of(&settings("EUR", office()))
}

fn settings(currency: &str, calendar: WorkCalendar) -> TenantSettings {
    TenantSettings {
        calendar,
        currency: currency.to_owned(),
        quiet_hours: None,
    }
}

fn window() -> TimeWindow {
    TimeWindow {
        start: at("2026-11-24T08:00:00Z"),
        end: at("2026-11-24T11:00:00Z"),
    }
}

/// An example of each event: a new one does not compile until it has one.
fn sample(event: EventType) -> TicketEvent {
    let visit_id = VisitId::from_uuid(uuid(ID));
    let reason = slug("because");
    let approval_id = ApprovalId::from_uuid(uuid(ID));
    let expiry = ApprovalStep {
        at: at("2026-11-24T18:00:00Z"),
        step: StepKind::Expiry,
        roles: Vec::new(),
    };
    let evidence = vec![EvidenceRef {
        kind: slug("photo_after"),
        sha256: "0d".repeat(32),
    }];
    match event {
        EventType::Created => TicketEvent::Created {
            site_id: SiteId::from_uuid(uuid(ID)),
            asset_id: None,
            contact_id: None,
            template: TemplateId::new("glass").unwrap(),
            priority: Priority::P2,
            details: Default::default(),
            nte_cents: 50_000,
            visit_id,
            note_id: None,
        },
        EventType::Triaged => TicketEvent::Triaged {
            template: TemplateId::new("glass").unwrap(),
            priority: Priority::P1,
            details: Default::default(),
            nte_cents: 50_000,
        },
        EventType::ScheduleProposed => TicketEvent::ScheduleProposed {
            visit_id,
            window: window(),
        },
        EventType::ScheduleConfirmed => TicketEvent::ScheduleConfirmed { visit_id },
        EventType::Rescheduled => TicketEvent::Rescheduled {
            visit_id,
            window: window(),
            reason,
        },
        EventType::Dispatched => TicketEvent::Dispatched {
            visit_id,
            technician_id: technician(ID),
            eta: Some(at("2026-11-24T08:30:00Z")),
        },
        EventType::Unassigned => TicketEvent::Unassigned { visit_id, reason },
        EventType::EnRoute => TicketEvent::EnRoute {
            visit_id,
            eta: None,
        },
        EventType::CheckedIn => TicketEvent::CheckedIn { visit_id },
        EventType::NoAccess => TicketEvent::NoAccess {
            visit_id,
            reason,
            next_visit_id: visit_id,
        },
        EventType::ChangeRequested => TicketEvent::ChangeRequested {
            approval_id,
            scope: slug("second_pane"),
            price_delta_cents: 35_005,
            note_id: None,
        },
        EventType::ChangeDecided => TicketEvent::ChangeDecided {
            approval_id,
            verdict: Verdict::Approve,
            nte_cents: 85_005,
            reason: Some(reason),
            void: false,
        },
        EventType::ReturnNeeded => TicketEvent::ReturnNeeded {
            visit_id,
            reason,
            parts: vec![Part {
                sku: slug("pane"),
                quantity: 1,
            }],
            evidence,
            next_visit_id: visit_id,
        },
        EventType::Completed => TicketEvent::Completed { visit_id, evidence },
        EventType::Verified => TicketEvent::Verified {},
        EventType::QaRejected => TicketEvent::QaRejected {
            reasons: vec![reason],
            next_visit_id: visit_id,
        },
        EventType::Invoiced => TicketEvent::Invoiced {
            invoice: Invoice {
                id: InvoiceId::from_uuid(uuid(ID)),
                number: "INV-000042".into(),
                amount_cents: 32_900,
                lines: vec![InvoiceLine {
                    item: slug("labour"),
                    quantity: 1,
                    unit_cents: 32_900,
                }],
                issued_at: at("2026-11-24T12:00:00Z"),
                credit_note: None,
            },
        },
        EventType::Closed => TicketEvent::Closed {
            no_charge_reason: None,
        },
        EventType::Reopened => TicketEvent::Reopened {
            reason,
            credit_note: Some("CN-000001".into()),
            next_visit_id: visit_id,
        },
        EventType::Cancelled => TicketEvent::Cancelled { reason },
        EventType::Merged => TicketEvent::Merged {
            into: TicketId::from_uuid(uuid(ID)),
        },
        EventType::CustomerAwaited => TicketEvent::CustomerAwaited { reason },
        EventType::CustomerResumed => TicketEvent::CustomerResumed {},
        EventType::AutonomySet => TicketEvent::AutonomySet {
            opt_out: true,
            reason,
        },
        EventType::ApprovalRequested => TicketEvent::ApprovalRequested {
            approval_id,
            kind: ApprovalKind::HeldCommand,
            operation: Operation::Dispatch,
            autonomous: true,
            facts_sha256: None,
            steps: vec![expiry],
            waits_for: Vec::new(),
        },
        EventType::ApprovalVoted => TicketEvent::ApprovalVoted {
            approval_id,
            verdict: Verdict::Approve,
            waits_for: Vec::new(),
        },
        EventType::ApprovalDecided => TicketEvent::ApprovalDecided {
            approval_id,
            version: 1,
            verdict: Verdict::Reject,
            reason: Some(reason),
        },
        EventType::ApprovalAmended => TicketEvent::ApprovalAmended {
            approval_id,
            version: 2,
            facts_sha256: None,
            steps: vec![expiry],
            reason,
            waits_for: Vec::new(),
        },
        EventType::ApprovalWithdrawn => TicketEvent::ApprovalWithdrawn {
            approval_id,
            reason,
        },
        EventType::ApprovalStale => TicketEvent::ApprovalStale {
            approval_id,
            reason,
        },
        EventType::ApprovalStepTaken => TicketEvent::ApprovalStepTaken {
            approval_id,
            step: StepKind::Escalation,
            roles: vec![Role::AccountManager],
            steps: vec![expiry],
            waits_for: Vec::new(),
        },
        EventType::ApprovalDueChanged => TicketEvent::ApprovalDueChanged {
            approval_id,
            steps: vec![expiry],
            reason,
        },
        EventType::ApprovalExpired => TicketEvent::ApprovalExpired { approval_id },
        EventType::ApprovalExecuted => TicketEvent::ApprovalExecuted {
            approval_id,
            operation: Operation::Dispatch,
            proposed_by: "agent:scheduler".into(),
            approved_by: vec!["user:ann".into(), "user:bob".into()],
            kill_switch_override: None,
        },
        EventType::ApprovalClaimed => TicketEvent::ApprovalClaimed {
            approval_id,
            until: at("2026-11-24T08:00:00Z"),
            reason: None,
        },
        EventType::ApprovalReleased => TicketEvent::ApprovalReleased { approval_id },
        EventType::ApprovalCommented => TicketEvent::ApprovalCommented {
            approval_id,
            comment_id: CommentId::from_uuid(uuid(ID)),
        },
        EventType::NoteAdded => TicketEvent::NoteAdded {
            note_id: NoteId::from_uuid(uuid(ID)),
        },
        EventType::ProposalRecorded => TicketEvent::ProposalRecorded {
            proposal_id: ProposalId::from_uuid(uuid(ID)),
            kind: ProposalKind::Triage,
            based_on_version: 1,
        },
        EventType::ProposalPaired => TicketEvent::ProposalPaired {
            proposal_id: ProposalId::from_uuid(uuid(ID)),
            outcome: PairingOutcome::Same,
            seen: true,
        },
        EventType::SlaRecorded => TicketEvent::SlaRecorded {
            clock: slug("response"),
            kind: SlaRecordKind::Breach,
            revision: 1,
            effective_at: at("2026-11-24T08:00:00Z"),
        },
        EventType::EvidenceAdded => TicketEvent::EvidenceAdded {
            evidence_id: EvidenceId::from_uuid(uuid(ID)),
            kind: slug("signature"),
        },
        EventType::MessageReceived => TicketEvent::MessageReceived {
            message_id: MessageId::from_uuid(uuid(ID)),
            channel: Channel::Sms,
            routing: Routing::Attached {
                ticket_id: TicketId::from_uuid(uuid(ID)),
            },
        },
        EventType::MessageAttached => TicketEvent::MessageAttached {
            message_id: MessageId::from_uuid(uuid(ID)),
        },
        EventType::MessageQueued => TicketEvent::MessageQueued {
            message_id: MessageId::from_uuid(uuid(ID)),
            channel: Channel::Email,
            purpose: Purpose::SlaBreach,
            due_at: at("2026-11-24T08:00:00Z"),
        },
    }
}

#[track_caller]
fn is_prose(text: &str) {
    assert!(text.len() > 6, "{text}");
    assert!(text.ends_with('.'), "{text}");
    assert!(!text.contains("  ") && !text.contains(".."), "{text}");
    assert!(!text.contains("019a0000"), "an id in full: {text}");
    assert!(text.starts_with(|c: char| c.is_ascii_uppercase()), "{text}");
}

fn accepted(event: TicketEvent) -> String {
    let change = TicketChange {
        at: at("2026-11-24T08:00:00Z"),
        event,
        sla: None,
    };
    explain(
        &Attempt {
            operation: Operation::Triage,
            refused: None,
            before: None,
            reasons: &[],
            changes: &[change],
        },
        &place(),
    )
}

fn refused(operation: Operation, before: TicketState, code: ErrorCode) -> String {
    explain(
        &Attempt {
            operation,
            refused: Some(code),
            before: Some(before),
            reasons: &[],
            changes: &[],
        },
        &place(),
    )
}

#[test]
fn every_event_is_a_sentence_of_its_own() {
    let mut seen = std::collections::BTreeSet::new();
    for &event in EventType::VARIANTS {
        let text = accepted(sample(event));
        is_prose(&text);
        assert!(seen.insert(text.clone()), "twice: {text}");
    }
}

#[test]
fn every_command_can_be_explained_whatever_became_of_it() {
    let mut seen = std::collections::BTreeSet::new();
    for &operation in Operation::VARIANTS {
        assert!(seen.insert(intent(operation)), "twice: {operation}");
        let nothing = Attempt {
            operation,
            refused: None,
            before: Some(TicketState::New),
            reasons: &[],
            changes: &[],
        };
        is_prose(&explain(&nothing, &place()));
        for &code in ErrorCode::VARIANTS {
            for &state in TicketState::VARIANTS {
                is_prose(&refused(operation, state, code));
            }
        }
    }
}

#[test]
fn times_amounts_and_ids_are_those_that_people_use() {
    assert_eq!(
        accepted(sample(EventType::ScheduleProposed)),
        "The customer was offered 24 Nov 2026 09:00 to 12:00 CET for visit 1234abcd."
    );
    assert_eq!(
        accepted(sample(EventType::Dispatched)),
        "Technician 1234abcd was sent and expected at 24 Nov 2026 09:30 CET."
    );
    assert_eq!(
        accepted(sample(EventType::Invoiced)),
        "EUR 329.00 was charged with invoice INV-000042 (1 line)."
    );
    assert_eq!(
        accepted(sample(EventType::ChangeRequested)),
        "More work was asked for: `second_pane` for EUR 350.05. Approval 1234abcd decides."
    );
}

#[test]
fn a_currency_has_its_own_number_of_decimals() {
    let money = |currency, amount| Place::of(&settings(currency, office())).money(amount);
    assert_eq!(money("EUR", -5), "EUR -0.05");
    assert_eq!(money("JPY", 1_500), "JPY 1500");
    assert_eq!(money("KWD", 1_500), "KWD 1.500");
    assert_eq!(money("EUR", i64::MIN), "EUR -92233720368547758.08");
}

#[test]
fn a_time_zone_that_is_none_is_utc() {
    let calendar = WorkCalendar {
        time_zone: "Nowhere/Land".into(),
        ..office()
    };
    let place = Place::of(&settings("EUR", calendar));
    let text = place.time(at("2026-07-01T08:00:00Z"));
    assert_eq!(text, "1 Jul 2026 08:00 UTC");
}

#[test]
fn a_denial_says_why_and_what_would_pass() {
    let reason = Reason {
        code: "MISSING_EVIDENCE".into(),
        class: DenyClass::PolicyDenied,
        message: "Evidence is missing: photo_after.".into(),
        to_pass: "add photo_after".into(),
        pointer: None,
    };
    let attempt = Attempt {
        operation: Operation::Complete,
        refused: Some(ErrorCode::PolicyDenied),
        before: Some(TicketState::OnSite),
        reasons: &[reason],
        changes: &[],
    };
    assert_eq!(
        explain(&attempt, &place()),
        "Refused (POLICY_DENIED): report the work as done. Evidence is missing: photo_after. To \
         pass: add photo_after."
    );
}

#[test]
fn a_wrong_state_is_told_from_an_obstacle_within_a_right_one() {
    let illegal = |operation, state| refused(operation, state, ErrorCode::IllegalTransition);
    assert_eq!(
        illegal(Operation::CheckIn, TicketState::New),
        "Refused (ILLEGAL_TRANSITION): check in. It leads nowhere from NEW; it passes from \
         DISPATCHED."
    );
    let awaited = illegal(Operation::CustomerAwait, TicketState::New);
    assert!(awaited.contains("awaited already"), "{awaited}");
    let direct = illegal(Operation::Dispatch, TicketState::Triaged);
    assert!(direct.contains("once a window is confirmed"), "{direct}");
}

#[test]
fn the_next_deadline_is_told_when_the_clocks_changed() {
    let desk = crate::testing::Desk::after([crate::testing::create()]);
    let change = TicketChange {
        at: at("2026-11-24T08:00:00Z"),
        event: sample(EventType::Verified),
        sla: Some(desk.ticket().sla.clone()),
    };
    let attempt = Attempt {
        operation: Operation::QaVerify,
        refused: None,
        before: None,
        reasons: &[],
        changes: &[change],
    };
    let text = explain(&attempt, &place());
    assert_eq!(
        text,
        "The work was verified. Next deadline: `answer`, 23 Nov 2026 09:30 CET."
    );
}
