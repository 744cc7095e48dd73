//! What a policy is asked and what it answers. The JSON Schemas of both are published for authors.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    actor::{ActorKind, Role},
    approval::{ApprovalKind, ApprovalNeed},
    command::Operation,
    event::AutonomyMode,
    ids::*,
    schedule::TenantSettings,
    ticket::{Priority, TicketState},
    value::{DetailValue, Slug, TemplateId},
};

/// Everything a decision depends on besides the bundle: stored with it, in canonical form, so that
/// the decision can be computed again. Holds no names, phones, streets or free text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyInput {
    /// Shape of this document; 1.
    pub v: u16,
    /// What is attempted.
    pub operation: Operation,
    /// When: the only clock a policy sees.
    pub at: DateTime<Utc>,
    /// Who.
    pub actor: PolicyActor,
    /// The command's body, free text replaced by its length.
    pub body: Value,
    /// The ticket before the command; absent for a creation or an unknown id.
    pub ticket: Option<PolicyTicket>,
    /// The approval that the command is about, if any.
    pub approval: Option<PolicyApproval>,
    /// The tenant's settings.
    pub tenant: TenantSettings,
    /// How far software may act by itself for this tenant.
    pub autonomy: AutonomyMode,
    /// Whether software is stopped; looked up for agents and workflows only, and for what they had
    /// proposed.
    #[serde(default)]
    pub kill_switch: bool,
    /// The switches that stop it, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kill_switches: Vec<String>,
    /// Why a person does it although a kill switch is engaged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kill_switch_override: Option<Slug>,
    /// How the mode in `autonomy` came about; absent when the caller is a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<PolicyStage>,
    /// The approval that releases this command, when it is carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<PolicyRelease>,
    /// What software did by itself in this hour; absent when the caller is a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hour: Option<PolicyHour>,
    /// The report that the body names, as it is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<PolicyReport>,
    /// Rights to decide approvals that others lent to the caller.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lent: Vec<PolicyLoan>,
}

/// How a mode came about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyStage {
    /// What is set for this command and risk class; the bundle's default when nothing is.
    pub configured: AutonomyMode,
    /// The share of tickets, for CANARY.
    pub percent: u8,
    /// The ticket's risk class.
    pub risk: Slug,
    /// The most that this environment allows.
    pub ceiling: AutonomyMode,
    /// Whether the ticket is in the share.
    pub in_canary: bool,
    /// Whether the ticket was taken out.
    pub opted_out: bool,
}

/// The approval that releases a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyRelease {
    /// Which.
    pub approval_id: ApprovalId,
    /// Who had proposed the command: the rules are asked about them.
    pub proposer: PolicyActor,
    /// What they were asked about: the rules that wanted people to agree. A yes releases nothing else.
    /// Absent in what was recorded before the starter bundle 1.5.0, where it released all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codes: Option<BTreeSet<String>>,
    /// Who said yes, with the roles that they had then.
    pub votes: Vec<PolicyVote>,
}

/// One yes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyVote {
    /// Whose.
    pub actor_id: String,
    /// Their roles then.
    pub roles: BTreeSet<Role>,
}

/// What software did by itself in the running clock hour (UTC), for this tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyHour {
    /// Commands of this kind that take effect in the hour in which this one would: a message in that of its
    /// `send_at`.
    pub of_operation: u32,
    /// Commands of any kind.
    pub in_all: u32,
    /// What they spent, in cents.
    pub spent_cents: i64,
    /// What this command would spend, in cents.
    pub spends_cents: i64,
}

/// A report as a rule sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyReport {
    /// `gate` or `policy_diff`.
    pub kind: String,
    /// How old it is.
    pub age_minutes: u64,
    /// What it is about: a stage's name, or a bundle's hash.
    pub subject: String,
    /// Its figures, as its kind defines them.
    pub figures: BTreeMap<String, i64>,
}

/// What a report of `dispatch policy diff` comes to: recorded decisions, made again under a
/// candidate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiffSummary {
    /// SHA-256 of the report's canonical content.
    pub report_sha256: String,
    /// SHA-256 of the candidate.
    pub candidate_sha256: String,
    /// From when on decisions were looked at; absent in what was made before the starter bundle 1.6.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<DateTime<Utc>>,
    /// The last decision that was looked at was made before this.
    pub until: DateTime<Utc>,
    /// How many were looked at.
    pub decisions: u32,
    /// Refused or held then, allowed by the candidate.
    pub newly_allowed: u32,
    /// Passed or held then, denied by the candidate.
    pub newly_denied: u32,
    /// Passed or denied then, held by the candidate.
    pub newly_held: u32,
    /// Which the candidate could not decide.
    pub undecided: u32,
}

/// A right that somebody lent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyLoan {
    /// Who.
    pub from: String,
    /// Which roles.
    pub roles: BTreeSet<Role>,
}

/// The caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyActor {
    /// Opaque id.
    pub id: String,
    /// Person, agent, workflow or integration.
    pub kind: ActorKind,
    /// Roles.
    pub roles: BTreeSet<Role>,
    /// For technicians.
    pub technician_id: Option<TechnicianId>,
}

/// The ticket as rules see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyTicket {
    /// Its id.
    pub id: TicketId,
    /// Where it stands.
    pub state: TicketState,
    /// Its version.
    pub version: u64,
    /// Kind of incident.
    pub template: TemplateId,
    /// How urgent.
    pub priority: Priority,
    /// What is known.
    pub details: BTreeMap<Slug, DetailValue>,
    /// Not-to-exceed amount in cents.
    pub nte_cents: i64,
    /// The technician of the current visit.
    pub technician_id: Option<TechnicianId>,
    /// Number of the current visit.
    pub visit: u32,
    /// Kinds of evidence that count: of all visits and on record, without those that the template
    /// wants verified and that are not.
    pub evidence: BTreeSet<Slug>,
    /// Whether the customer is awaited.
    pub customer_awaited: bool,
    /// Commands of software that wait for people on it, or to be carried out.
    #[serde(default)]
    pub held_by_software: u32,
}

/// The approval that a decision is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyApproval {
    /// Its id.
    pub id: ApprovalId,
    /// Its kind.
    pub kind: ApprovalKind,
    /// Who asked.
    pub requested_by: String,
    /// Who may decide.
    pub required_roles: Vec<Role>,
    /// What is to be carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Operation>,
    /// Who holds it at this moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed_by: Option<String>,
}

/// The answer.
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
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum PolicyResult {
    /// Go on.
    Allow,
    /// Refused.
    Deny,
    /// A person has to release it first.
    RequireApproval,
}

/// Which class of refusal a deny is: it picks the error code.
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
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum DenyClass {
    /// Software is stopped.
    KillSwitch,
    /// The autonomy stage forbids software to do this by itself.
    Stage,
    /// The caller has no right to this operation.
    Forbidden,
    /// A rule of the business is not met.
    PolicyDenied,
    /// People have to release it.
    Approval,
}

/// One failed condition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// Stable code, for example `MISSING_EVIDENCE`.
    pub code: String,
    /// Class of refusal.
    pub class: DenyClass,
    /// A sentence for people.
    pub message: String,
    /// What would make the condition pass.
    pub to_pass: String,
    /// The field it is about, as a JSON pointer into the body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
}

/// Which bundle decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BundleRef {
    /// The version its manifest says.
    pub version: String,
    /// SHA-256 of its canonical content, 64 hex digits.
    pub sha256: String,
}

/// A decision with its reasons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyDecision {
    /// Allow, deny or require an approval.
    pub result: PolicyResult,
    /// Every failed condition, not only the first; sorted.
    pub reasons: Vec<Reason>,
    /// What must be done besides.
    pub obligations: Vec<String>,
    /// Who has to release it; exactly when the result says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalNeed>,
    /// Who decided.
    pub bundle: BundleRef,
}
