//! Bodies of the read endpoints.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    actor::{ActorKind, Role},
    command::Operation,
    event::TicketChange,
    ids::*,
    policy::PolicyResult,
    problem::ErrorCode,
    proposal::Proposal,
    ticket::{Priority, Ticket, TicketState},
    trace::CorrelationId,
    value::TemplateId,
};

/// Filters of the ticket list; all given ones must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TicketFilter {
    /// Only this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<TicketState>,
    /// Only this priority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// Only this kind of incident.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<TemplateId>,
    /// Only this site.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site_id: Option<SiteId>,
    /// `next_cursor` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Rows per page, 1 to 200; 50 without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 200))]
    pub limit: Option<u32>,
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Page<T> {
    /// The rows, newest first.
    pub items: Vec<T>,
    /// Give it back to get the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// A page of tickets.
pub type TicketPage = Page<Ticket>;
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
    /// SHA-256 chained over the ticket's rows, 64 hex digits.
    pub chain_hash: String,
}

/// Whether a part works.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// `ok`, or `unavailable` when a part is not.
    pub status: String,
    /// The parts by name, `ok` or what is wrong.
    pub parts: std::collections::BTreeMap<String, String>,
    /// Version of the program.
    pub version: String,
}
