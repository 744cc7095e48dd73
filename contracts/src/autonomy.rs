//! Staged autonomy: how far software may act by itself, per tenant, kind of command and risk class.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    actor::ActorKind,
    command::Operation,
    event::AutonomyMode,
    ids::TenantId,
    kill_switch::KillScope,
    ticket::Priority,
    value::{Slug, TemplateId},
};

/// What a stage is about.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(deny_unknown_fields)]
pub struct StageTarget {
    /// The kind of command.
    pub operation: Operation,
    /// The risk class of the tickets, by the bundle's `autonomy.risk_classes`; all without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risk: Option<Slug>,
}

impl StageTarget {
    /// Its name in rows and texts: `dispatch` or `dispatch/emergency`.
    pub fn key(&self) -> String {
        match &self.risk {
            None => self.operation.to_string(),
            Some(risk) => format!("{}/{risk}", self.operation),
        }
    }
}

/// A stage as it is set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StageSetting {
    /// What it is about.
    pub target: StageTarget,
    /// How far.
    pub mode: AutonomyMode,
    /// The share of tickets, for CANARY.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
    /// Rises with each change. A risk class for which nothing is set has that of the stage for all
    /// classes, and goes on from there with its first own one: each version is one way it stood.
    pub version: u64,
}

/// What a workflow may at most go on with while a kill switch stops it: the books that people rely
/// on, and what they had decided before. A bundle lets it go on with these or fewer, and `dispatch
/// verify` holds what was done against them. Carrying out an approval is recorded as what is carried
/// out.
pub const THROUGH_KILL_SWITCH: [Operation; 7] = [
    Operation::DemoteStage,
    Operation::EraseTenant,
    Operation::ExecuteApproval,
    Operation::RecordApprovalStep,
    Operation::RecordProposal,
    Operation::RecordSla,
    Operation::ReleaseKillSwitch,
];

/// The rules of autonomy: data of the policy bundle (`autonomy/data.json`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AutonomyRules {
    /// Kinds of actors that act by themselves.
    pub kinds: Vec<ActorKind>,
    /// What they may do at any stage: keep the books.
    pub bookkeeping: Vec<Operation>,
    /// What a workflow goes on with under a kill switch: some of [`THROUGH_KILL_SWITCH`].
    pub through_kill_switch: Vec<Operation>,
    /// The mode where none is set.
    pub default_mode: AutonomyMode,
    /// The risk class of tickets that fit no other.
    pub default_risk: Slug,
    /// Risk classes: a ticket is in the first one, by name, that lists its priority or template.
    pub risk_classes: BTreeMap<Slug, RiskClass>,
    /// What software may do in one clock hour, per tenant.
    pub caps: Caps,
    /// What a promotion to a mode needs.
    pub gates: BTreeMap<AutonomyMode, StageGate>,
    /// What demotes by itself.
    pub guardrails: Guardrails,
}

impl AutonomyRules {
    /// Whether a switch of this scope stops no workflow: it is over one of the books.
    pub fn workflows_pass(&self, scope: &KillScope) -> bool {
        let KillScope::Operation { operation } = scope else {
            return false;
        };
        self.through_kill_switch.contains(operation)
    }
}

/// Which tickets a risk class holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RiskClass {
    /// Of these priorities.
    #[serde(default)]
    pub priorities: Vec<Priority>,
    /// Of these templates.
    #[serde(default)]
    pub templates: Vec<TemplateId>,
}

/// Caps on what software does by itself in one clock hour (UTC), per tenant. They are held by
/// counters that are raised with each such command, not by counting afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Caps {
    /// Commands of any kind.
    pub commands_per_hour: u32,
    /// Commands of one kind, where that is fewer.
    #[serde(default)]
    pub of_operation_per_hour: BTreeMap<Operation, u32>,
    /// The sum of what they charge or add to a not-to-exceed amount, in cents.
    pub spend_cents_per_hour: i64,
    /// Commands of software that wait for people on one ticket, at any time; without it as many as
    /// there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_per_ticket: Option<u32>,
}

/// How far back a gate report may look, in days: what was long ago must not outweigh what is.
pub const LONGEST_REPORT_DAYS: u32 = 92;

/// What a promotion needs. Shares are in thousandths.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StageGate {
    /// How far back the report has to look, in days.
    #[serde(default)]
    pub min_window_days: u32,
    /// Pairs of a proposal, unseen by whoever acted, with what they did.
    pub min_sample: u32,
    /// The lower bound (Wilson, 95 %) of the share in which both were the same or equivalent.
    pub min_agreement_permille: u32,
    /// The share of software's attempts that policy denied.
    pub max_denied_permille: u32,
    /// The share of what software did that people undid.
    pub max_overridden_permille: u32,
    /// Promises broken on tickets on which software acted.
    pub max_breaches: u32,
    /// How old the report may be.
    pub max_age_minutes: u32,
}

/// What demotes by itself, looked at over the last hours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Guardrails {
    /// How many hours are looked at.
    pub window_hours: u32,
    /// Acts of software below which nothing is concluded.
    pub min_acts: u32,
    /// The share of them that people undid, in thousandths.
    pub max_overridden_permille: u32,
    /// Promises broken on tickets on which software acted.
    pub max_breaches: u32,
    /// Attempts of software that policy denied, in thousandths of all.
    pub max_denied_permille: u32,
}

/// The type name of the workflow that keeps a tenant's time: what is due without a ticket.
pub const TENANT_CONTROL_WORKFLOW: &str = "TenantControl";

/// What [`TENANT_CONTROL_WORKFLOW`] is started with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TenantControlStart {
    /// Whose time.
    pub tenant_id: TenantId,
}

/// What is due for a tenant now, in the order in which it is to be sent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ControlDue {
    /// Guardrails that were breached, scheduled changes and approval steps whose time has come,
    /// kill switches that have expired.
    pub commands: Vec<DueCommand>,
}

/// A command that the tenant's workflow actor is to send.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DueCommand {
    /// Its key: the same for the same reason, however often it is found due.
    pub request_id: String,
    /// What.
    pub operation: Operation,
    /// Its body.
    pub body: Value,
}
