//! Bodies of the read endpoints.

use std::{collections::BTreeMap, fmt, str::FromStr};

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    actor::{ActorKind, Role},
    approval::Approval,
    command::Operation,
    event::{EventType, TicketChange, WaitingFor},
    ids::*,
    policy::{PolicyDecision, PolicyResult},
    problem::ErrorCode,
    proposal::Proposal,
    sla::{SlaRecordKey, SlaRecordKind},
    ticket::{Priority, Ticket, TicketState},
    trace::CorrelationId,
    value::{Slug, TemplateId},
};

/// A thing by its id or by its code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdOrCode<I> {
    /// By its id.
    Id(I),
    /// By its name in files and filters.
    Code(Slug),
}

impl<I: fmt::Display> fmt::Display for IdOrCode<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Code(code) => code.fmt(f),
        }
    }
}

impl<I: FromStr<Err = InvalidId>> FromStr for IdOrCode<I> {
    type Err = InvalidId;

    /// What reads as an id is one; the error is the id's.
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        text.parse()
            .map(Self::Id)
            .or_else(|error| Slug::new(text).map(Self::Code).map_err(|_| error))
    }
}

/// In which order tickets are listed.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    JsonSchema,
    strum::Display,
    strum::EnumString,
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum TicketSort {
    /// The newest first.
    #[default]
    Newest,
    /// The nearest running deadline first; tickets without one are left out.
    Due,
}

/// Filters of the ticket list; all given ones must hold. An empty list is no filter, several values
/// are alternatives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TicketFilter {
    /// Only these states.
    pub state: Vec<TicketState>,
    /// Only these priorities.
    pub priority: Vec<Priority>,
    /// Only these kinds of incident.
    pub incident_type: Vec<TemplateId>,
    /// Only what waits for one of these.
    pub waiting_for: Vec<WaitingFor>,
    /// Only this site.
    pub site: Option<IdOrCode<SiteId>>,
    /// Only what this technician is sent to: the one of the current visit.
    pub technician: Option<IdOrCode<TechnicianId>>,
    /// Only with a running deadline before this instant.
    pub due_before: Option<DateTime<Utc>>,
    /// Only what this text names: the beginning of a ticket's id, its short form, an invoice's
    /// number; or a site's code, an asset's code, a word of the details.
    pub q: Option<String>,
    /// In which order.
    pub sort: TicketSort,
    /// Also count them.
    pub counts: bool,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
    /// Rows per page, 1 to 200; 50 without it.
    pub limit: Option<u32>,
}

/// A ticket in the list: the ticket, and what it is sorted and filtered by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TicketSummary {
    /// The ticket.
    #[serde(flatten)]
    pub ticket: Ticket,
    /// What it waits for.
    pub waiting_for: WaitingFor,
    /// The nearest deadline of a running clock.
    pub due_at: Option<DateTime<Utc>>,
}

/// How many tickets the filters leave, on all pages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TicketCounts {
    /// All of them.
    pub total: u64,
    /// By state; a state without tickets is left out.
    pub by_state: BTreeMap<TicketState, u64>,
    /// `false`: there are more than were counted, and the numbers are those of a part.
    pub complete: bool,
}

/// A page of tickets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TicketPage {
    /// The tickets in the order asked for.
    pub items: Vec<TicketSummary>,
    /// Give it back, with the same filters, to get the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
    /// Present when they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<TicketCounts>,
}

/// A ticket with what it waits for and what can be done now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TicketStatus {
    /// The ticket.
    pub ticket: Ticket,
    /// What it waits for.
    pub waiting_for: WaitingFor,
    /// The next warning or breach that is not on record; it may lie in the past for a moment.
    pub next_deadline: Option<NextDeadline>,
    /// The commands that lead somewhere from here by state and template. Whether the caller may
    /// give them is the policy's to say.
    pub possible: Vec<Operation>,
    /// Approvals that wait for a decision, oldest first.
    pub open_approvals: Vec<Approval>,
    /// Warnings and breaches on record, oldest first.
    pub sla_records: Vec<SlaRecord>,
    /// `seq` of the last event to the ticket's workflow.
    pub event_seq: u64,
}

/// When a promise is warned of or broken next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NextDeadline {
    /// Which clock.
    pub clock: Slug,
    /// Warning or breach.
    pub kind: SlaRecordKind,
    /// When.
    pub at: DateTime<Utc>,
}

/// A warning or breach on record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SlaRecord {
    /// Which.
    #[serde(flatten)]
    pub key: SlaRecordKey,
    /// The deadline that passed.
    pub effective_at: DateTime<Utc>,
    /// When it was recorded.
    pub recorded_at: DateTime<Utc>,
}

/// Whether an attempt was let pass.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    JsonSchema,
    strum::Display,
    strum::EnumString,
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum AttemptOutcome {
    /// It was done.
    Accepted,
    /// Nothing changed.
    Refused,
}

/// Filters of a timeline; all given ones must hold. An empty list is no filter, several values are
/// alternatives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TimelineFilter {
    /// Only these commands.
    pub operation: Vec<Operation>,
    /// Only actors of these kinds.
    pub actor_kind: Vec<ActorKind>,
    /// Only this actor.
    pub actor: Option<String>,
    /// Only accepted or only refused ones.
    pub outcome: Option<AttemptOutcome>,
    /// Only attempts that led to this event.
    pub event: Option<EventType>,
    /// Only from this instant on.
    pub from: Option<DateTime<Utc>>,
    /// Only before this instant.
    pub to: Option<DateTime<Utc>>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
    /// Rows per page, 1 to 200; 100 without it.
    pub limit: Option<u32>,
}

/// Filters of recorded decisions; all given ones must hold. An empty list is no filter, several
/// values are alternatives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DecisionFilter {
    /// Only about these commands.
    pub operation: Vec<Operation>,
    /// Only with these results.
    pub result: Vec<PolicyResult>,
    /// Only this actor's.
    pub actor: Option<String>,
    /// Only about this ticket.
    pub ticket_id: Option<TicketId>,
    /// Only with this reason's code among the reasons.
    pub reason: Option<String>,
    /// Only from this instant on.
    pub from: Option<DateTime<Utc>>,
    /// Only before this instant.
    pub to: Option<DateTime<Utc>>,
    /// `next_cursor` of the page before; an export takes none.
    pub cursor: Option<String>,
    /// Rows per page, 1 to 200; 50 without it. An export takes none.
    pub limit: Option<u32>,
}

/// A recorded decision with the attempt that it was about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DecisionRecord {
    /// Its id.
    pub id: DecisionId,
    /// The attempt.
    pub command_id: CommandId,
    /// The audit row.
    pub audit_id: AuditId,
    /// The ticket, when there is one.
    pub ticket_id: Option<TicketId>,
    /// What was attempted.
    pub operation: Operation,
    /// When.
    pub at: DateTime<Utc>,
    /// Result, reasons, obligations and the bundle that decided.
    #[serde(flatten)]
    pub decision: PolicyDecision,
    /// The refusal of the attempt, whoever refused it: the policy or, after it, the state table.
    pub refused: Option<ErrorCode>,
    /// Who.
    pub actor_id: String,
    /// Person, agent, workflow or integration.
    pub actor_kind: ActorKind,
    /// Roles the actor had.
    pub actor_roles: Vec<Role>,
    /// The tool an agent used.
    pub tool_name: Option<String>,
    /// Key of the request.
    pub request_id: String,
    /// The conversation.
    pub correlation_id: CorrelationId,
    /// The trace.
    pub trace_id: String,
    /// How long the policy took.
    pub evaluation_micros: u64,
}

/// A recorded decision with everything that it depends on besides the bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DecisionDetail {
    /// The decision.
    #[serde(flatten)]
    pub record: DecisionRecord,
    /// What the policy was asked, as it was stored: [`crate::policy::PolicyInput`] in the shape that
    /// its `v` says. The same under the same bundle decides the same.
    pub input: Value,
}

/// A page of decisions, newest first.
pub type DecisionPage = Page<DecisionRecord>;

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Page<T> {
    /// The rows, in the order that the read says.
    pub items: Vec<T>,
    /// Give it back to get the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// A page of the timeline, oldest first.
pub type TimelinePage = Page<TimelineEntry>;
/// All proposals of a ticket, oldest first.
pub type ProposalPage = Page<Proposal>;

/// One attempt to change the ticket, successful or not: the audit row for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TimelineEntry {
    /// Position in the ticket's chain, from 1.
    pub position: u64,
    /// The audit row.
    pub audit_id: AuditId,
    /// The attempt.
    pub command_id: CommandId,
    /// The decision.
    pub decision_id: DecisionId,
    /// What the policy said.
    pub decision: PolicyResult,
    /// What was attempted.
    pub operation: Operation,
    /// When.
    pub at: DateTime<Utc>,
    /// Who.
    pub actor_id: String,
    /// Person, agent, workflow or integration.
    pub actor_kind: ActorKind,
    /// Roles the actor had.
    pub actor_roles: Vec<Role>,
    /// The tool an agent used.
    pub tool_name: Option<String>,
    /// Key of the request.
    pub request_id: String,
    /// The conversation.
    pub correlation_id: CorrelationId,
    /// The trace.
    pub trace_id: String,
    /// The refusal, when it was one.
    pub refused: Option<ErrorCode>,
    /// State before; absent for a creation.
    pub before: Option<TicketState>,
    /// State after.
    pub after: Option<TicketState>,
    /// Version it was applied to.
    pub applied_to_version: u64,
    /// Version it produced; the same when nothing changed.
    pub produced_version: u64,
    /// The command's body without free text.
    pub payload: Value,
    /// What happened, in order; empty for refusals. Folding these gives the ticket.
    pub changes: Vec<TicketChange>,
    /// What happened, in a sentence for people: times in the tenant's time zone, amounts in its
    /// currency, ids by their short form. Empty from a server that knows none.
    #[serde(default)]
    pub explanation: String,
    /// SHA-256 chained over the ticket's rows, 64 hex digits.
    pub chain_hash: String,
}

/// Whether a part works.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// `ok`; `degraded` when a part is away that others need; `unavailable` when this process cannot
    /// serve.
    pub status: String,
    /// The parts by name: `ok`, `not configured`, or what is wrong.
    pub parts: BTreeMap<String, String>,
    /// Version of the program.
    pub version: String,
}

/// A policy bundle that was uploaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StoredBundle {
    /// Which.
    pub bundle: crate::policy::BundleRef,
    /// The key that signed it; none when this installation asks for no signature.
    pub signed_by: Option<String>,
    /// When it came.
    pub uploaded_at: DateTime<Utc>,
    /// Who brought it: for a `platform_admin` only, because bundles are those of all tenants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uploaded_by: Option<String>,
    /// Whether it decides now.
    pub active: bool,
}

/// All bundles that were uploaded, the newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StoredBundles {
    /// One entry per bundle.
    pub bundles: Vec<StoredBundle>,
}

/// From when on a bundle decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BundleActivation {
    /// Rises with each activation.
    pub position: u64,
    /// Which.
    pub bundle: crate::policy::BundleRef,
    /// The one before it.
    pub previous_sha256: Option<String>,
    /// When.
    pub activated_at: DateTime<Utc>,
    /// Who: for a `platform_admin` only, because bundles decide for all tenants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activated_by: Option<String>,
    /// Why; likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Which bundle decided when, the newest first; at most a thousand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BundleActivations {
    /// One entry per activation.
    pub activations: Vec<BundleActivation>,
}
