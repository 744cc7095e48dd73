//! What happened to a ticket: the committed event catalogue.
//!
//! An event type is a stable name with a version. A field may be added (old readers ignore it); a
//! change that an old reader would misread needs a new version. `contracts/schemas/events/` holds
//! the JSON Schema of each, and a test compares them with the code.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    approval::Verdict,
    comms::{Channel, Purpose, Routing},
    ids::*,
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

/// Who an event is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Gets a gapless `seq` and is relayed to the ticket's workflow.
    Workflow,
    /// For live readers and the audit only.
    Readers,
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
    MessageQueued = "message.queued" v 1, Readers {
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

/// How far software may act by itself. Only SHADOW exists yet: everything else is refused.
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
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum AutonomyMode {
    /// Proposes and never acts.
    Shadow,
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
    /// How far software may act by itself.
    pub autonomy: AutonomyMode,
    /// Rises with each turn of the kill switch.
    pub kill_generation: u64,
}
