//! What happened to a ticket: the committed event catalogue.
//!
//! An event type is a stable name with a version. A field may be added (old readers ignore it); a
//! change that an old reader would misread needs a new version. `contracts/schemas/events/` holds
//! the JSON Schema of each, and a test compares them with the code.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    actor::Role,
    approval::{ApprovalKind, ApprovalStep, StepKind, TicketApproval, Verdict},
    command::Operation,
    comms::{Channel, Purpose, Routing},
    ids::*,
    inbox::Owed,
    proposal::{PairingOutcome, ProposalKind},
    schedule::TimeWindow,
    sla::{SlaClock, SlaRecordKind},
    ticket::{EvidenceRef, Invoice, Part, Priority, TicketState},
    value::{DetailValue, Slug, TemplateId},
};

macro_rules! events {
    ($($(#[$doc:meta])* $variant:ident = $name:literal v $version:literal, $audience:ident
        { $($(#[$field_doc:meta])* $field:ident: $ty:ty,)* })+) => {
        /// One thing that happened, with all that is needed to fold it into the ticket.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::EnumDiscriminants)]
        #[strum_discriminants(name(EventType), derive(PartialOrd, Ord, Hash, strum::VariantArray), doc = "The name of an event.")]
        #[serde(tag = "type", content = "data")]
        pub enum TicketEvent {
            $($(#[$doc])* #[serde(rename = $name)] $variant { $($(#[$field_doc])* $field: $ty,)* },)+
        }

        impl EventType {
            /// The name on the wire.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The version of its shape.
            pub const fn version(self) -> u16 {
                match self { $(Self::$variant => $version,)+ }
            }

            /// Who hears of it.
            pub const fn audience(self) -> Audience {
                match self { $(Self::$variant => Audience::$audience,)+ }
            }
        }
    };
}

/// The commands that a ticket's event may name, as its readers have known them since version 1. Those
/// that came later are about no ticket; one that is makes a new version.
fn operation_on_ticket(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = Operation::json_schema(generator);
    let known = |one: &Value| {
        let operation = one["const"].as_str().and_then(|name| name.parse().ok());
        operation.is_some_and(|operation: Operation| operation <= Operation::ActivateBundle)
    };
    let names = schema.ensure_object().get_mut("oneOf");
    if let Some(Value::Array(names)) = names {
        names.retain(known);
    }
    schema
}

/// Who an event is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Gets a gapless `seq` and is relayed to the ticket's workflow; the ticket's version rises.
    Workflow,
    /// Gets a `seq` and is relayed too, but the ticket itself has not changed: its version stays.
    Waits,
    /// For live readers and the audit only.
    Readers,
}

impl Audience {
    /// Whether the ticket's workflow hears of it.
    pub const fn is_workflow(self) -> bool {
        matches!(self, Self::Workflow | Self::Waits)
    }
}

events! {
    /// Opened.
    Created = "ticket.created" v 1, Workflow {
        /// Where.
        site_id: SiteId,
        /// What broke.
        asset_id: Option<AssetId>,
        /// Who reported it.
        contact_id: Option<ContactId>,
        /// Kind of incident.
        template: TemplateId,
        /// How urgent.
        priority: Priority,
        /// What is known.
        details: BTreeMap<Slug, DetailValue>,
        /// Not-to-exceed amount in cents.
        nte_cents: i64,
        /// The first visit.
        visit_id: VisitId,
        /// What the caller said.
        note_id: Option<NoteId>,
    }
    /// Triaged, or triaged again.
    Triaged = "ticket.triaged" v 1, Workflow {
        /// Kind of incident.
        template: TemplateId,
        /// How urgent.
        priority: Priority,
        /// All that is known now.
        details: BTreeMap<Slug, DetailValue>,
        /// Not-to-exceed amount in cents.
        nte_cents: i64,
    }
    /// A window was offered.
    ScheduleProposed = "schedule.proposed" v 1, Workflow {
        /// Which visit.
        visit_id: VisitId,
        /// The window.
        window: TimeWindow,
    }
    /// The customer took it.
    ScheduleConfirmed = "schedule.confirmed" v 1, Workflow {
        /// Which visit.
        visit_id: VisitId,
    }
    /// Another window; the assignment is released.
    Rescheduled = "schedule.rescheduled" v 1, Workflow {
        /// Which visit.
        visit_id: VisitId,
        /// The new window.
        window: TimeWindow,
        /// Why.
        reason: Slug,
    }
    /// A technician was sent.
    Dispatched = "assignment.dispatched" v 1, Workflow {
        /// Which visit.
        visit_id: VisitId,
        /// Who.
        technician_id: TechnicianId,
        /// When they expect to be there.
        eta: Option<DateTime<Utc>>,
    }
    /// The technician was taken off.
    Unassigned = "assignment.released" v 1, Workflow {
        /// Which visit.
        visit_id: VisitId,
        /// Why.
        reason: Slug,
    }
    /// Under way.
    EnRoute = "visit.en_route" v 1, Workflow {
        /// Which visit.
        visit_id: VisitId,
        /// When they expect to be there.
        eta: Option<DateTime<Utc>>,
    }
    /// There.
    CheckedIn = "visit.checked_in" v 1, Workflow {
        /// Which visit.
        visit_id: VisitId,
    }
    /// Nobody could get in; the next visit is open.
    NoAccess = "visit.no_access" v 1, Workflow {
        /// Which visit.
        visit_id: VisitId,
        /// Why.
        reason: Slug,
        /// The visit that was opened.
        next_visit_id: VisitId,
    }
    /// More work than agreed was asked for.
    ChangeRequested = "change.requested" v 1, Workflow {
        /// The approval that decides.
        approval_id: ApprovalId,
        /// What is to be done besides.
        scope: Slug,
        /// By how much the NTE would rise, in cents.
        price_delta_cents: i64,
        /// In the technician's words.
        note_id: Option<NoteId>,
    }
    /// The change was decided.
    ChangeDecided = "change.decided" v 1, Workflow {
        /// The approval.
        approval_id: ApprovalId,
        /// Yes or no.
        verdict: Verdict,
        /// Not-to-exceed amount afterwards, in cents.
        nte_cents: i64,
        /// Why.
        reason: Option<Slug>,
        /// The last yes was said, and does not count: what was asked must not be had so any more.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        void: bool,
    }
    /// Another visit is needed; it is open.
    ReturnNeeded = "visit.return_needed" v 1, Workflow {
        /// The visit that ended.
        visit_id: VisitId,
        /// Why.
        reason: Slug,
        /// What must be there then.
        parts: Vec<Part>,
        /// What the visit documented.
        evidence: Vec<EvidenceRef>,
        /// The visit that was opened.
        next_visit_id: VisitId,
    }
    /// The work is done.
    Completed = "visit.completed" v 1, Workflow {
        /// Which visit.
        visit_id: VisitId,
        /// What it documented.
        evidence: Vec<EvidenceRef>,
    }
    /// Quality is good.
    Verified = "qa.verified" v 1, Workflow {}
    /// Quality is not good; the next visit is open.
    QaRejected = "qa.rejected" v 1, Workflow {
        /// Why.
        reasons: Vec<Slug>,
        /// The visit that was opened.
        next_visit_id: VisitId,
    }
    /// Charged.
    Invoiced = "invoice.generated" v 1, Workflow {
        /// The invoice.
        invoice: Invoice,
    }
    /// Ended.
    Closed = "ticket.closed" v 1, Workflow {
        /// Why nothing was charged.
        no_charge_reason: Option<Slug>,
    }
    /// Open again; the next visit is open.
    Reopened = "ticket.reopened" v 1, Workflow {
        /// Why.
        reason: Slug,
        /// The number of the credit note, when an invoice was taken back.
        credit_note: Option<String>,
        /// The visit that was opened.
        next_visit_id: VisitId,
    }
    /// Called off.
    Cancelled = "ticket.cancelled" v 1, Workflow {
        /// Why.
        reason: Slug,
    }
    /// The same job as another ticket.
    Merged = "ticket.merged" v 1, Workflow {
        /// The one that stays.
        into: TicketId,
    }
    /// The customer has to do something first.
    CustomerAwaited = "customer.awaited" v 1, Workflow {
        /// What.
        reason: Slug,
    }
    /// The customer did it.
    CustomerResumed = "customer.resumed" v 1, Workflow {}
    /// Software may not act on this ticket, or may again.
    AutonomySet = "autonomy.set" v 1, Workflow {
        /// Whether it only proposes.
        opt_out: bool,
        /// Why.
        reason: Slug,
    }
    /// A command is held until people decide; or a change order got its plan.
    ApprovalRequested = "approval.requested" v 1, Waits {
        /// The approval.
        approval_id: ApprovalId,
        /// What is to be decided.
        kind: ApprovalKind,
        /// What is to be carried out.
        #[schemars(schema_with = "operation_on_ticket")]
        operation: Operation,
        /// Whether software asked.
        autonomous: bool,
        /// SHA-256 of the facts that it depends on.
        facts_sha256: Option<String>,
        /// What happens while nobody decides.
        steps: Vec<ApprovalStep>,
        /// Whose word is still owed.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        waits_for: Vec<Owed>,
    }
    /// Somebody said yes or no, and more must.
    ApprovalVoted = "approval.voted" v 1, Waits {
        /// The approval.
        approval_id: ApprovalId,
        /// Yes or no.
        verdict: Verdict,
        /// Whose word is still owed.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        waits_for: Vec<Owed>,
    }
    /// A held command was released to be carried out, or rejected.
    ApprovalDecided = "approval.decided" v 1, Waits {
        /// The approval.
        approval_id: ApprovalId,
        /// Which version of it.
        version: u32,
        /// Yes or no.
        verdict: Verdict,
        /// Why.
        reason: Option<Slug>,
    }
    /// What an approval asks for was changed: it is pending again.
    ApprovalAmended = "approval.amended" v 1, Waits {
        /// The approval.
        approval_id: ApprovalId,
        /// Its new version.
        version: u32,
        /// SHA-256 of the facts that it depends on.
        facts_sha256: Option<String>,
        /// What happens while nobody decides.
        steps: Vec<ApprovalStep>,
        /// Whose word is still owed.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        waits_for: Vec<Owed>,
        /// Why.
        reason: Slug,
    }
    /// An approval was taken back.
    ApprovalWithdrawn = "approval.withdrawn" v 1, Waits {
        /// The approval.
        approval_id: ApprovalId,
        /// Why.
        reason: Slug,
    }
    /// What an approval depends on has changed, or policy has become stricter: it is void.
    ApprovalStale = "approval.stale" v 1, Waits {
        /// The approval.
        approval_id: ApprovalId,
        /// `facts_changed`, `policy_stricter`, or the code of what stood against it.
        reason: Slug,
    }
    /// Nobody decided for so long that people were reminded, or more people were asked.
    ApprovalStepTaken = "approval.step_taken" v 1, Waits {
        /// The approval.
        approval_id: ApprovalId,
        /// Reminder or escalation.
        step: StepKind,
        /// Roles that may decide besides from now on.
        roles: Vec<Role>,
        /// What is still to come.
        steps: Vec<ApprovalStep>,
        /// Whose word is still owed.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        waits_for: Vec<Owed>,
    }
    /// The end of an approval was moved.
    ApprovalDueChanged = "approval.due_changed" v 1, Waits {
        /// The approval.
        approval_id: ApprovalId,
        /// What is still to come.
        steps: Vec<ApprovalStep>,
        /// Why.
        reason: Slug,
    }
    /// Nobody decided in time: it is denied.
    ApprovalExpired = "approval.expired" v 1, Waits {
        /// The approval.
        approval_id: ApprovalId,
    }
    /// What was approved was carried out, by the command that this event belongs to.
    ApprovalExecuted = "approval.executed" v 1, Waits {
        /// The approval.
        approval_id: ApprovalId,
        /// What was carried out.
        #[schemars(schema_with = "operation_on_ticket")]
        operation: Operation,
        /// Who had proposed it.
        proposed_by: String,
        /// Who had approved it.
        approved_by: Vec<String>,
        /// Why a person did it although a kill switch is engaged.
        kill_switch_override: Option<Slug>,
    }
    /// Somebody works on an approval.
    ApprovalClaimed = "approval.claimed" v 1, Readers {
        /// The approval.
        approval_id: ApprovalId,
        /// Until when.
        until: DateTime<Utc>,
        /// Why, when it was taken over.
        reason: Option<Slug>,
    }
    /// Nobody works on it any more.
    ApprovalReleased = "approval.released" v 1, Readers {
        /// The approval.
        approval_id: ApprovalId,
    }
    /// Something was said about an approval.
    ApprovalCommented = "approval.commented" v 1, Readers {
        /// The approval.
        approval_id: ApprovalId,
        /// What.
        comment_id: CommentId,
    }
    /// A note was written.
    NoteAdded = "note.added" v 1, Readers {
        /// Which.
        note_id: NoteId,
    }
    /// Software said what it would have done.
    ProposalRecorded = "proposal.recorded" v 2, Readers {
        /// Which.
        proposal_id: ProposalId,
        /// About what.
        kind: ProposalKind,
        /// The version it is about.
        based_on_version: u64,
    }
    /// A person did what a proposal was about.
    ProposalPaired = "proposal.paired" v 2, Readers {
        /// Which.
        proposal_id: ProposalId,
        /// How the two compare.
        outcome: PairingOutcome,
        /// Whether they had read the proposal before.
        #[serde(default)]
        seen: bool,
    }
    /// A promise is near its end, or was broken.
    SlaRecorded = "sla.recorded" v 1, Readers {
        /// Which clock.
        clock: Slug,
        /// Warning or breach.
        kind: SlaRecordKind,
        /// The clock's revision.
        revision: u32,
        /// The deadline that passed.
        effective_at: DateTime<Utc>,
    }
    /// A documented fact was recorded.
    EvidenceAdded = "evidence.added" v 1, Readers {
        /// Which.
        evidence_id: EvidenceId,
        /// `photo_before`, `photo_after`, `signature` …
        kind: Slug,
    }
    /// A message came in about this ticket.
    MessageReceived = "message.received" v 1, Readers {
        /// Which.
        message_id: MessageId,
        /// How it came.
        channel: Channel,
        /// How it was found to belong here.
        routing: Routing,
    }
    /// A person said that a held message belongs here.
    MessageAttached = "message.attached" v 1, Readers {
        /// Which.
        message_id: MessageId,
    }
    /// A message was queued to be sent.
    MessageQueued = "message.queued" v 2, Readers {
        /// Which.
        message_id: MessageId,
        /// How it is to travel.
        channel: Channel,
        /// What it is for.
        purpose: Purpose,
        /// Not before.
        due_at: DateTime<Utc>,
    }
}

/// An event with its moment and, where they changed, the SLA clocks after it. The fold of a
/// ticket's changes is the ticket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TicketChange {
    /// When dispatch-api decided it.
    pub at: DateTime<Utc>,
    /// What happened.
    pub event: TicketEvent,
    /// All clocks after it; absent when none changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sla: Option<Vec<SlaClock>>,
}

impl TicketEvent {
    /// Which event it is.
    pub fn event_type(&self) -> EventType {
        EventType::from(self)
    }
}

/// How far software may act by itself; each mode includes the ones before it.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    strum::Display,
    strum::EnumString,
    strum::VariantArray,
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum AutonomyMode {
    /// Does not even propose.
    Off,
    /// Proposes and never acts.
    Shadow,
    /// Acts when a person has released it.
    Approve,
    /// Acts by itself on a share of the tickets, chosen by their hash; APPROVE on the others.
    Canary,
    /// Acts by itself.
    Auto,
}

/// What a ticket waits for.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    strum::Display,
    strum::EnumString,
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum WaitingFor {
    Triage,
    Schedule,
    Confirmation,
    Assignment,
    Arrival,
    Completion,
    ChangeApproval,
    Customer,
    Qa,
    Invoice,
    Closing,
    Nothing,
}

/// The ticket as its workflow sees it: a level, complete in itself. Whoever holds the newest level
/// needs no earlier event to decide what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TicketLevel {
    /// Where it stands.
    pub state: TicketState,
    /// Its version.
    pub version: u64,
    /// Kind of incident.
    pub template: TemplateId,
    /// How urgent.
    pub priority: Priority,
    /// What it waits for.
    pub waiting_for: WaitingFor,
    /// Number of the current visit.
    pub visit: u32,
    /// The SLA clocks.
    pub sla: Vec<SlaClock>,
    /// Approvals that wait for a decision.
    pub open_approvals: Vec<ApprovalId>,
    /// How far software may act by itself: the most of all kinds of command.
    pub autonomy: AutonomyMode,
    /// Rises with each turn of any kill switch of this tenant, and of the one over everything.
    pub kill_generation: u64,
    /// Approvals with what is still to come of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<TicketApproval>,
    /// Advice that software may follow by itself, with or without an approval: stage and kill
    /// switches let it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub acts_on: Vec<ProposalKind>,
    /// Advice that is not wanted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub silent_on: Vec<ProposalKind>,
    /// What a kill switch stops on this ticket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Stopped>,
}

impl TicketLevel {
    /// What of it follows from the ticket itself. Stages and kill switches come from elsewhere: a
    /// workflow that a turn does not concern is not told of it, so two levels of one ticket may
    /// differ in them.
    pub fn of_the_ticket(&self) -> Self {
        Self {
            autonomy: AutonomyMode::Off,
            kill_generation: 0,
            acts_on: Vec::new(),
            silent_on: Vec::new(),
            stopped: None,
            ..self.clone()
        }
    }
}

/// What a kill switch stops on a ticket.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stopped {
    /// All that software does.
    pub all: bool,
    /// Else these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<Operation>,
}

impl Stopped {
    /// Whether software may not do this.
    pub fn stops(&self, operation: Operation) -> bool {
        self.all || self.operations.contains(&operation)
    }
}
