//! Approvals as people read them: the inbox, one approval with all that its approver needs, rights
//! that were lent, and many decisions at once.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    actor::Role,
    approval::{Approval, ApprovalKind, ApprovalState, ApprovalStep, Verdict},
    command::Operation,
    event::WaitingFor,
    ids::*,
    policy::{BundleRef, PolicyResult, Reason},
    problem::Problem,
    ticket::{Priority, TicketState},
    value::{FreeText, Slug, TemplateId},
};

/// Filters of the inbox; all given ones must hold. An empty list is no filter, several values are
/// alternatives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApprovalFilter {
    /// Only these states; pending ones without it.
    pub state: Vec<ApprovalState>,
    /// Only these kinds.
    pub kind: Vec<ApprovalKind>,
    /// Only what somebody with one of these roles may decide.
    pub role: Vec<Role>,
    /// Only what would carry out one of these.
    pub operation: Vec<Operation>,
    /// Only of this ticket.
    pub ticket_id: Option<TicketId>,
    /// Only what the caller has claimed.
    pub mine: bool,
    /// Only what has waited for at least so many minutes.
    pub waiting_minutes: Option<u32>,
    /// Only where the ticket's next deadline comes before the approval's own end.
    pub sla_at_risk: bool,
    /// Only where the ticket's next deadline comes within so many minutes, or is over.
    pub sla_within_minutes: Option<u32>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
    /// Rows per page, 1 to 200; 50 without it.
    pub limit: Option<u32>,
}

/// What is still owed to one demand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Owed {
    /// The rule that wants it.
    pub code: String,
    /// Roles that count now.
    pub roles: Vec<Role>,
    /// How many must say yes.
    pub count: u8,
    /// How many have.
    pub given: u8,
}

/// The ticket of an approval, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ApprovalTicket {
    /// Where it stands.
    pub state: TicketState,
    /// How urgent.
    pub priority: Priority,
    /// Kind of incident.
    pub template: TemplateId,
    /// Where.
    pub site_id: SiteId,
    /// What it waits for besides.
    pub waiting_for: WaitingFor,
    /// Not-to-exceed amount in cents.
    pub nte_cents: i64,
    /// The nearest deadline of a running clock.
    pub due_at: Option<DateTime<Utc>>,
}

/// An approval in the inbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ApprovalSummary {
    /// The approval.
    #[serde(flatten)]
    pub approval: Approval,
    /// Whose word is still owed: what the workflow waits for. Empty once it was decided.
    pub waits_for: Vec<Owed>,
    /// What happens next if nobody decides.
    pub next_step: Option<ApprovalStep>,
    /// Seconds until it ends undecided; 0 when that moment is over.
    pub seconds_left: Option<u64>,
    /// Its ticket, if it has one.
    pub ticket: Option<ApprovalTicket>,
    /// Whether the ticket's next deadline comes before the approval's own end.
    pub sla_at_risk: bool,
}

/// A page of the inbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ApprovalPage {
    /// The approvals, the least time left first.
    pub items: Vec<ApprovalSummary>,
    /// How many there are by state, whatever states were asked for; the other filters hold.
    pub counts: BTreeMap<ApprovalState, u64>,
    /// Give it back, with the same filters, to get the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// What somebody said about an approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ApprovalComment {
    /// Its id.
    pub id: CommentId,
    /// Who.
    pub author_id: String,
    /// When.
    pub at: DateTime<Utc>,
    /// What.
    pub text: FreeText,
}

/// Why a command was held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ApprovalGround {
    /// The decision.
    pub decision_id: DecisionId,
    /// What it was; `ALLOW` for a change order, which is asked for rather than held.
    pub result: PolicyResult,
    /// The rules that want people to agree.
    pub reasons: Vec<Reason>,
    /// The bundle that decided.
    pub bundle: BundleRef,
}

/// An approval with all that its approver needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ApprovalDetail {
    /// As in the inbox.
    #[serde(flatten)]
    pub summary: ApprovalSummary,
    /// The held command as it was sent, `{operation, ticket_id, body}`. Where it holds what somebody
    /// wrote it is for those who are asked, the one who asked and those who may read the messages of its
    /// ticket; `request` has the rest. Never for software. Absent for a change order, whose `request`
    /// says it all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Value>,
    /// The decision that asked for it.
    pub ground: Option<ApprovalGround>,
    /// Once it was carried out: the decision that let it pass, with the votes that there were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carried_out: Option<ApprovalGround>,
    /// What was said about it, oldest first: for the same people. Others see what they said themselves.
    pub comments: Vec<ApprovalComment>,
    /// Whether something that people wrote was left out here, because the caller may not read it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub withheld: bool,
    /// Whether the caller may decide it now.
    pub may_decide: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why_not: Option<String>,
}

/// A right to decide approvals, lent for a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Delegation {
    /// Its id.
    pub id: DelegationId,
    /// Whose right.
    pub from_actor: String,
    /// Who may use it.
    pub to_actor: String,
    /// Which roles.
    pub roles: Vec<Role>,
    /// From when.
    pub from: DateTime<Utc>,
    /// Until when.
    pub until: DateTime<Utc>,
    /// Why.
    pub reason: Slug,
    /// When it was taken back.
    pub revoked_at: Option<DateTime<Utc>>,
}

/// All that concerns the caller; all of the tenant for its administrators and auditors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DelegationList {
    /// The newest first.
    pub items: Vec<Delegation>,
}

/// Many decisions in one request. Each is a command of its own, with an outcome of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DecideMany {
    /// 1 to 100, each about another approval.
    #[schemars(length(min = 1, max = 100))]
    pub decisions: Vec<OneDecision>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OneDecision {
    /// Which.
    pub approval_id: ApprovalId,
    /// Yes or no.
    pub verdict: Verdict,
    /// Why; needed for a no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Slug>,
    /// The version that was looked at; needed once it was amended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
}

/// What became of many decisions, in their order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DecidedMany {
    /// One for each.
    pub items: Vec<OneOutcome>,
}

/// What became of one of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OneOutcome {
    /// Which.
    pub approval_id: ApprovalId,
    /// The request id that it was sent under: send it again by itself with this one.
    pub request_id: String,
    /// The status that it would have had by itself.
    pub status: u16,
    /// Where the approval stands, when the decision was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<ApprovalState>,
    /// The attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command_id: Option<CommandId>,
    /// Why it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}
