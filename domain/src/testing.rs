//! What the tests share: a template, a set of facts, and a desk that runs commands in order.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use contracts::{
    ActorKind, ApprovalId, AssetId, Command, CommandId, ContactId, FreeText, InvoiceId, NoteId,
    Priority, ProposalId, Role, SiteId, Slug, TechnicianId, TemplateId, TenantId, TicketId,
    TicketState, VisitId,
    approval::{Approval, ApprovalNeed, ApprovalPlan, Demand, EscalationRung, OnExpiry},
    autonomy::{AutonomyRules, Caps, Guardrails},
    command::{
        CheckIn, Close, Complete, ConfirmSchedule, CreateTicket, Dispatch, GenerateInvoice,
        ProposeSchedule, QaVerify, RequestChange, ReturnVisit, Triage,
    },
    comms::CommsRules,
    event::{AutonomyMode, TicketChange},
    proposal::{Advice, TriageInput},
    schedule::{TimeWindow, WorkCalendar},
    sla::{ClockCalendar, SlaClock, SlaRecordKey},
    template::{ClockDefinition, IncidentTemplate},
    ticket::{EvidenceRef, InvoiceLine, Ticket},
};
use uuid::Uuid;

use crate::{
    Autonomy, Decided, Effect, Facts, FreshIds, OpenProposal, Rejection, TicketKey,
    approval::settle, decide,
};

pub(crate) fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("an RFC 3339 instant")
}

/// A Monday, 09:00 in Amsterdam.
pub(crate) fn monday() -> DateTime<Utc> {
    at("2026-11-23T08:00:00Z")
}

pub(crate) fn uuid(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

pub(crate) fn slug(text: &str) -> Slug {
    Slug::new(text).unwrap()
}

pub(crate) fn technician(n: u128) -> TechnicianId {
    TechnicianId::from_uuid(uuid(n))
}

pub(crate) fn key() -> TicketKey {
    TicketKey {
        tenant_id: TenantId::from_uuid(uuid(1)),
        ticket_id: TicketId::from_uuid(uuid(2)),
    }
}

/// Monday to Friday, 9 to 17.
pub(crate) fn office() -> WorkCalendar {
    let mut week = vec![vec![(9 * 60, 17 * 60)]; 5];
    week.extend([vec![], vec![]]);
    WorkCalendar {
        time_zone: "Europe/Amsterdam".to_owned(),
        week,
        days_off: Vec::new(),
    }
}

fn clock(
    name: &str,
    calendar: ClockCalendar,
    minutes: [u32; 4],
    stops_at: &[TicketState],
) -> ClockDefinition {
    let priorities = [Priority::P1, Priority::P2, Priority::P3, Priority::P4];
    let minutes = priorities.into_iter().zip(minutes);
    ClockDefinition {
        name: slug(name),
        calendar,
        minutes: minutes.filter(|(_, minutes)| *minutes > 0).collect(),
        stops_at: stops_at.to_vec(),
    }
}

/// A pane: answered within minutes, made safe within hours, done within working days.
pub(crate) fn glass() -> IncidentTemplate {
    IncidentTemplate {
        id: TemplateId::new("glass").unwrap(),
        title: "Glass".to_owned(),
        default_priority: Priority::P2,
        known_details: BTreeMap::new(),
        verified_evidence: Vec::new(),
        required_details: Vec::new(),
        required_skills: vec![slug("glazing")],
        evidence: BTreeMap::new(),
        direct_dispatch: vec![Priority::P1],
        nte_cents: 50_000,
        call_out_cents: 8_000,
        labour_per_hour_cents: 9_000,
        price_list: [(slug("pane"), 12_000)].into(),
        reopen_window_hours: 24,
        visit_minutes: 60,
        clocks: vec![
            clock(
                "answer",
                ClockCalendar::Always,
                [15, 30, 60, 60],
                &[TicketState::Triaged],
            ),
            clock(
                "make_safe",
                ClockCalendar::Always,
                [120, 240, 0, 0],
                &[TicketState::ReturnPending, TicketState::WorkComplete],
            ),
            clock(
                "completion",
                ClockCalendar::BusinessHours,
                [960, 1440, 2400, 4800],
                &[TicketState::WorkComplete],
            ),
        ],
    }
}

/// Another kind of job: fewer promises, another amount.
pub(crate) fn door() -> IncidentTemplate {
    let always = ClockCalendar::Always;
    IncidentTemplate {
        id: TemplateId::new("door").unwrap(),
        nte_cents: 70_000,
        clocks: vec![clock(
            "completion",
            always,
            [600, 600, 600, 600],
            &[TicketState::WorkComplete],
        )],
        ..glass()
    }
}

pub(crate) fn comms_rules() -> CommsRules {
    CommsRules {
        attach_window_hours: 72,
        intake_template: glass().id,
        audiences: BTreeMap::new(),
    }
}

/// Who asks for everything, unless a test says otherwise.
pub(crate) const DORA: &str = "user:dora";
/// Who decides: an approver.
pub(crate) const ANN: &str = "user:ann";

/// One approver or account manager; reminded after 15 minutes, escalated after 60, over after 240.
pub(crate) fn change_need() -> ApprovalNeed {
    ApprovalNeed {
        demands: vec![Demand {
            code: "CHANGE_ORDER".to_owned(),
            roles: vec![Role::Approver, Role::AccountManager],
            count: 1,
        }],
        plan: ApprovalPlan {
            remind_after_minutes: vec![15],
            escalations: vec![EscalationRung {
                after_minutes: 60,
                roles: vec![Role::TenantAdmin],
            }],
            expire_after_minutes: 240,
            on_expiry: OnExpiry::Deny,
        },
    }
}

/// Nothing is set and nothing is stopped: software only proposes.
pub(crate) fn autonomy() -> Autonomy {
    Autonomy {
        at: monday(),
        stages: Vec::new(),
        switches: Vec::new(),
        ceiling: AutonomyMode::Auto,
        rules: AutonomyRules {
            kinds: vec![ActorKind::Agent, ActorKind::Workflow],
            bookkeeping: Vec::new(),
            through_kill_switch: Vec::new(),
            default_mode: AutonomyMode::Shadow,
            default_risk: slug("standard"),
            risk_classes: BTreeMap::new(),
            caps: Caps {
                commands_per_hour: 100,
                of_operation_per_hour: BTreeMap::new(),
                spend_cents_per_hour: 100_000,
                held_per_ticket: None,
            },
            gates: BTreeMap::new(),
            guardrails: Guardrails {
                window_hours: 24,
                min_acts: 10,
                max_overridden_permille: 50,
                max_breaches: 0,
                max_denied_permille: 100,
            },
        },
    }
}

/// Facts for one attempt; `n` makes the fresh ids differ between attempts.
pub(crate) fn facts(now: DateTime<Utc>, n: u128) -> Facts {
    let id = uuid(1000 + n);
    Facts {
        now,
        ids: FreshIds {
            visit: VisitId::from_uuid(id),
            approval: ApprovalId::from_uuid(id),
            note: NoteId::from_uuid(id),
            proposal: ProposalId::from_uuid(id),
            invoice: InvoiceId::from_uuid(id),
            evidence: contracts::EvidenceId::from_uuid(id),
            message: contracts::MessageId::from_uuid(id),
            comment: contracts::CommentId::from_uuid(id),
            ended: contracts::MessageId::from_uuid(uuid(500_000 + n)),
        },
        actor_id: DORA.to_owned(),
        actor_kind: ActorKind::Person,
        actor_roles: vec![Role::Dispatcher],
        command_id: CommandId::from_uuid(id),
        template: Some(glass()),
        calendar: office(),
        site_known: true,
        asset_known: true,
        contact_known: true,
        technician_known: true,
        approval: None,
        asked_before: Vec::new(),
        merge_target: Some(TicketState::Triaged),
        invoice_number: Some(format!("INV-{n:06}")),
        credit_note_number: Some(format!("CN-{n:06}")),
        open_proposals: Vec::new(),
        sla_recorded: Vec::new(),
        route: None,
        message_held: true,
        contact_reachable: true,
        peace: None,
        comms: comms_rules(),
        lent: Vec::new(),
        amended: None,
        change_need: change_need(),
        change_anew: None,
        event_seq: 0,
        expected_version: None,
    }
}

/// Runs commands on one ticket and remembers what a database would.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) key: TicketKey,
    pub(crate) ticket: Option<Ticket>,
    pub(crate) now: DateTime<Utc>,
    pub(crate) changes: Vec<TicketChange>,
    pub(crate) approvals: Vec<Approval>,
    pub(crate) open_proposals: Vec<OpenProposal>,
    pub(crate) sla_recorded: Vec<SlaRecordKey>,
    pub(crate) seq: u64,
    attempts: u128,
}

impl Desk {
    pub(crate) fn new() -> Self {
        Self::of(key())
    }

    /// The desk of another ticket.
    pub(crate) fn of(key: TicketKey) -> Self {
        Self {
            key,
            ticket: None,
            now: monday(),
            changes: Vec::new(),
            approvals: Vec::new(),
            open_proposals: Vec::new(),
            sla_recorded: Vec::new(),
            seq: 0,
            attempts: 0,
        }
    }

    /// A ticket that was taken through these commands, ten minutes apart.
    pub(crate) fn after<const N: usize>(commands: [Command; N]) -> Self {
        let mut desk = Self::new();
        for command in commands {
            desk.run(command);
            desk.pass(10);
        }
        desk
    }

    pub(crate) fn pass(&mut self, minutes: i64) {
        self.now += TimeDelta::minutes(minutes);
    }

    /// Another attempt's facts, as the database would give them.
    pub(crate) fn facts(&mut self) -> Facts {
        self.attempts += 1;
        let is_door = |ticket: &Ticket| ticket.template == door().id;
        Facts {
            template: Some(if self.ticket.as_ref().is_some_and(is_door) {
                door()
            } else {
                glass()
            }),
            approval: self.approvals.last().cloned(),
            open_proposals: self.open_proposals.clone(),
            sla_recorded: self.sla_recorded.clone(),
            event_seq: self.seq,
            ..facts(self.now, self.attempts)
        }
    }

    /// Facts for this command: its approval, and for a decision somebody who may decide.
    pub(crate) fn facts_for(&mut self, command: &Command) -> Facts {
        let mut facts = self.facts();
        if let Some(id) = command.approval_id() {
            facts.approval = self.approvals.iter().find(|a| a.id == id).cloned();
        }
        if matches!(command, Command::DecideApproval(_)) {
            facts.actor_id = ANN.to_owned();
            facts.actor_roles = vec![Role::Approver];
        }
        facts
    }

    pub(crate) fn try_with(
        &mut self,
        command: &Command,
        facts: &Facts,
    ) -> Result<Decided, Rejection> {
        let decided = decide(self.key, self.ticket.as_ref(), command, facts)?;
        let decided = self.take(decided);
        for fresh in self.open_proposals.iter_mut().filter(|it| it.by.is_none()) {
            fresh.by = Some(facts.actor_id.clone());
        }
        Ok(decided)
    }

    /// Writes down what was decided.
    pub(crate) fn take(&mut self, decided: Decided) -> Decided {
        for effect in &decided.effects {
            self.keep(effect);
        }
        self.ticket = Some(decided.ticket.clone());
        self.seq += decided.changes.iter().filter(|c| heard(c)).count() as u64;
        self.changes.extend(decided.changes.iter().cloned());
        decided
    }

    pub(crate) fn attempt(&mut self, command: impl Into<Command>) -> Result<Decided, Rejection> {
        let command = command.into();
        let facts = self.facts_for(&command);
        self.try_with(&command, &facts)
    }

    pub(crate) fn run(&mut self, command: impl Into<Command>) -> Decided {
        let command = command.into();
        let operation = command.operation();
        match self.attempt(command) {
            Ok(decided) => decided,
            Err(rejection) => panic!("{operation}: {rejection}"),
        }
    }

    pub(crate) fn refuse(&mut self, command: impl Into<Command>) -> Rejection {
        let command = command.into();
        let operation = command.operation();
        match self.attempt(command) {
            Ok(_) => panic!("{operation} was accepted"),
            Err(rejection) => rejection,
        }
    }

    pub(crate) fn ticket(&self) -> &Ticket {
        self.ticket.as_ref().expect("created")
    }

    pub(crate) fn clock(&self, name: &str) -> &SlaClock {
        let mut clocks = self.ticket().sla.iter();
        clocks.find(|clock| clock.name.as_str() == name).unwrap()
    }

    /// The approval that was asked for last.
    pub(crate) fn approval(&self) -> &Approval {
        self.approvals.last().expect("asked for")
    }

    pub(crate) fn row(&mut self, id: ApprovalId) -> &mut Approval {
        let mut rows = self.approvals.iter_mut();
        rows.find(|row| row.id == id).expect("asked for")
    }

    fn keep(&mut self, effect: &Effect) {
        match effect {
            Effect::OpenApproval(approval) => self.approvals.push((**approval).clone()),
            Effect::WriteApproval(approval) => {
                let row = self.row(approval.id);
                assert_eq!(row.revision + 1, approval.revision, "written over another");
                *row = (**approval).clone();
            }
            Effect::SettleApproval {
                id,
                state,
                reason,
                at,
            } => {
                let row = self.row(*id);
                assert!(row.is_open(), "an approval ends twice");
                settle(row, *state, *at);
                row.revision += 1;
                if let Some(reason) = reason {
                    row.reason = Some(reason.clone());
                }
            }
            Effect::RecordProposal {
                id,
                kind,
                based_on_version,
                advice,
                ..
            } => self.open_proposals.push(OpenProposal {
                id: *id,
                kind: *kind,
                based_on_version: *based_on_version,
                advice: advice.clone(),
                seen: false,
                by: None,
            }),
            Effect::SeeProposal(id) => {
                let mut open = self.open_proposals.iter_mut();
                open.find(|it| it.id == *id).expect("it is open").seen = true;
            }
            Effect::PairProposal { id, .. } => {
                let before = self.open_proposals.len();
                self.open_proposals.retain(|proposal| proposal.id != *id);
                assert_eq!(self.open_proposals.len() + 1, before, "paired twice");
            }
            Effect::RecordSla { key, .. } => {
                assert!(!self.sla_recorded.contains(key), "recorded twice");
                self.sla_recorded.push(key.clone());
            }
            Effect::WriteNote { .. }
            | Effect::WriteComment { .. }
            | Effect::AddEvidence { .. }
            | Effect::ReceiveMessage { .. }
            | Effect::AttachMessage(_)
            | Effect::QueueMessage(_) => {}
        }
    }
}

fn heard(change: &TicketChange) -> bool {
    change.event.event_type().audience().is_workflow()
}

pub(crate) fn create() -> Command {
    CreateTicket {
        site_id: SiteId::from_uuid(uuid(3)),
        asset_id: Some(AssetId::from_uuid(uuid(4))),
        contact_id: Some(ContactId::from_uuid(uuid(5))),
        template: glass().id,
        priority: None,
        details: BTreeMap::new(),
        description: Some(FreeText::new("The pane is cracked.").unwrap()),
    }
    .into()
}

pub(crate) fn triage(priority: Priority) -> Command {
    Triage {
        priority,
        template: None,
        details: BTreeMap::new(),
    }
    .into()
}

/// A two-hour window that starts in `hours`.
pub(crate) fn window_in(now: DateTime<Utc>, hours: i64) -> TimeWindow {
    let start = now + TimeDelta::hours(hours);
    TimeWindow {
        start,
        end: start + TimeDelta::hours(2),
    }
}

pub(crate) fn propose() -> Command {
    ProposeSchedule {
        window: window_in(monday(), 24),
    }
    .into()
}

pub(crate) fn confirm() -> Command {
    ConfirmSchedule {}.into()
}

pub(crate) fn dispatch() -> Command {
    Dispatch {
        technician_id: technician(7),
        eta: None,
    }
    .into()
}

pub(crate) fn check_in() -> Command {
    CheckIn {}.into()
}

pub(crate) fn photo() -> EvidenceRef {
    EvidenceRef {
        kind: slug("photo_after"),
        sha256: "a".repeat(64),
    }
}

pub(crate) fn complete() -> Command {
    Complete {
        evidence: vec![photo()],
    }
    .into()
}

pub(crate) fn return_visit() -> Command {
    ReturnVisit {
        reason: slug("glass_to_order"),
        parts: Vec::new(),
        evidence: Vec::new(),
    }
    .into()
}

pub(crate) fn request_change(price_delta_cents: i64) -> Command {
    RequestChange {
        scope: slug("second_pane"),
        price_delta_cents,
        note: None,
    }
    .into()
}

pub(crate) fn verify() -> Command {
    QaVerify {}.into()
}

pub(crate) fn invoice(unit_cents: i64) -> Command {
    GenerateInvoice {
        lines: vec![InvoiceLine {
            item: slug("labour"),
            quantity: 2,
            unit_cents,
        }],
    }
    .into()
}

pub(crate) fn close() -> Command {
    Close {
        no_charge_reason: None,
    }
    .into()
}

/// A P1 ticket whose technician is at the site, at 09:40.
pub(crate) fn on_site() -> Desk {
    Desk::after([create(), triage(Priority::P1), dispatch(), check_in()])
}

/// A closed ticket with an invoice over two hours of labour.
pub(crate) fn closed() -> Desk {
    let mut desk = on_site();
    for command in [complete(), verify(), invoice(10_000), close()] {
        desk.run(command);
        desk.pass(10);
    }
    desk
}

pub(crate) fn triage_input(version: u64) -> TriageInput {
    TriageInput {
        version,
        at: monday(),
        template: glass().id,
        default_priority: Priority::P2,
        priority: Priority::P2,
        details: BTreeMap::new(),
        required_details: Vec::new(),
    }
}

pub(crate) fn no_advice() -> Advice {
    Advice {
        advisor: slug("test"),
        ranked: Vec::new(),
        excluded: Vec::new(),
    }
}
