//! The rollout: how good software's advice and acts were, and where its stages stand.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    approval::ApprovalState,
    autonomy::StageTarget,
    event::AutonomyMode,
    ids::*,
    proposal::{OutcomeCounts, PairingOutcome},
    value::Slug,
};

/// What the ledger says of one kind of command over a range of time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LedgerFigures {
    /// Proposals that whoever acted had not read: the sample that counts.
    pub unseen: OutcomeCounts,
    /// Proposals that they had read.
    pub seen: OutcomeCounts,
    /// Proposals that nothing was compared with by then.
    pub open: u64,
    /// The lower bound (Wilson, 95 %) of the agreement on the unseen ones, in thousandths.
    pub agreement_permille: u32,
    /// What software attempted and policy let pass, held or denied. What its stage, a kill switch or a
    /// cap stopped is no attempt here, and neither is what failed for another reason than policy.
    pub attempts: u64,
    /// What policy denied of that.
    pub denied: u64,
    /// Their share, in thousandths, rounded up.
    pub denied_permille: u32,
    /// What software did, by itself or once people had released it.
    pub acts: u64,
    /// What people undid of that.
    pub overridden: u64,
    /// Their share, in thousandths, rounded up.
    pub overridden_permille: u32,
    /// How they did, by the words of [`Undone::how`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub overridden_how: BTreeMap<Slug, u64>,
    /// Promises broken on tickets on which software had acted.
    pub breaches: u64,
    /// What became of the approvals that software asked for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub approvals: BTreeMap<ApprovalState, u64>,
    /// The median of the time from a proposal to the act that it foresaw, in seconds: what acting
    /// at once would have saved. Over the unseen ones; absent without any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saved_seconds: Option<u64>,
    /// Warnings that came between such a proposal and the act.
    pub warnings_avoidable: u64,
    /// Promises that were broken between such a proposal and the act.
    pub breaches_avoidable: u64,
    /// The unseen ones by the advisor that spoke and the reason that weighed most with it.
    pub by_rule: BTreeMap<String, OutcomeCounts>,
    /// The unseen ones by the technician whom the proposal is about.
    pub by_technician: BTreeMap<TechnicianId, OutcomeCounts>,
}

/// One figure beside what a gate wants of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GateCheck {
    /// The code that the policy gives for it: `GATE_SAMPLE`, `GATE_AGREEMENT` …
    pub code: String,
    /// What the report says.
    pub figure: u64,
    /// What is needed: at least, or at most.
    pub needed: u64,
    /// Whether it is good enough.
    pub met: bool,
}

/// A gate report: what a promotion is decided on. Its hash is over its canonical JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GateReport {
    /// Shape of this document; 1.
    pub v: u16,
    /// For what.
    pub target: StageTarget,
    /// Where it stood when the report was made.
    pub from: AutonomyMode,
    /// The share of tickets then, for CANARY.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
    /// The stage's version then: a report serves for one change. While nothing is set for a risk
    /// class its version is that of the stage for all classes.
    pub stage_version: u64,
    /// From when on proposals and acts count.
    pub since: DateTime<Utc>,
    /// Until when.
    pub until: DateTime<Utc>,
    /// The figures.
    pub figures: LedgerFigures,
    /// For each mode above the present one what its gate wants, and whether it is met; all but the
    /// report's age.
    pub gates: BTreeMap<AutonomyMode, Vec<GateCheck>>,
}

/// A kept report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KeptReport {
    /// SHA-256 over the canonical document.
    pub sha256: String,
    /// `gate`, `drill` or `policy_diff`.
    pub kind: String,
    /// What it is about.
    pub subject: String,
    /// When it was kept.
    pub made_at: DateTime<Utc>,
    /// The document.
    pub document: Value,
}

/// The ledger of one kind of command: figures, and what they are made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LedgerView {
    /// Of what.
    pub target: StageTarget,
    /// From when on.
    pub since: DateTime<Utc>,
    /// Until when.
    pub until: DateTime<Utc>,
    /// The figures.
    pub figures: LedgerFigures,
    /// Proposals that people's acts were compared with, newest first; at most 200.
    pub pairs: Vec<LedgerPair>,
    /// What software did, newest first; at most 200.
    pub acts: Vec<LedgerAct>,
}

/// A proposal beside what people did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LedgerPair {
    /// The proposal.
    pub proposal_id: ProposalId,
    /// Its ticket.
    pub ticket_id: TicketId,
    /// When software spoke.
    pub recorded_at: DateTime<Utc>,
    /// When people acted, or the moment for it was over.
    pub paired_at: DateTime<Utc>,
    /// How the two compare.
    pub outcome: PairingOutcome,
    /// Whether they had read it.
    pub seen: bool,
    /// The advisor, and the reason that weighed most with it.
    pub rule: String,
    /// Whom it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub technician_id: Option<TechnicianId>,
}

/// Something that software did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LedgerAct {
    /// The attempt.
    pub command_id: CommandId,
    /// Its ticket.
    pub ticket_id: TicketId,
    /// When.
    pub at: DateTime<Utc>,
    /// Whether people had released it.
    pub released: bool,
    /// How people undid it, if they did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undone: Option<Undone>,
}

/// How people undid what software had done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Undone {
    /// The attempt that undid it.
    pub by: CommandId,
    /// When.
    pub at: DateTime<Utc>,
    /// `other_technician`, `taken_off`, `other_window`, `triaged_again`, `reopened` or
    /// `credited`.
    pub how: Slug,
}

/// How far software may go, kind of command by kind of command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RolloutView {
    /// The most that this environment allows.
    pub ceiling: AutonomyMode,
    /// What holds where nothing is set.
    pub default_mode: AutonomyMode,
    /// The risk classes of the bundle; the default one is last.
    pub risks: Vec<Slug>,
    /// One for each kind of command that software can act with, and one for each risk class for
    /// which something of its own is set.
    pub stages: Vec<StageView>,
}

/// A stage as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StageView {
    /// Of what.
    pub target: StageTarget,
    /// What is set.
    pub mode: AutonomyMode,
    /// The share of tickets, for CANARY.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
    /// What holds: no more than the environment allows.
    pub effective: AutonomyMode,
    /// Rises with each change. While nothing is set for a risk class it is that of the stage for
    /// all classes; 0 when nothing was ever set there either.
    pub version: u64,
    /// Who set it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_by: Option<String>,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_at: Option<DateTime<Utc>>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Slug>,
    /// Changes whose time has not come.
    #[serde(default)]
    pub to_come: Vec<StageChange>,
}

/// A change of a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StageChange {
    /// The attempt that decided it.
    pub command_id: CommandId,
    /// Of what.
    pub target: StageTarget,
    /// From how far.
    pub from: AutonomyMode,
    /// How far.
    pub to: AutonomyMode,
    /// The share of tickets, for CANARY.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
    /// The report that it was decided on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report_sha256: Option<String>,
    /// Why.
    pub reason: Slug,
    /// Who.
    pub decided_by: String,
    /// When.
    pub decided_at: DateTime<Utc>,
    /// From when on.
    pub effective_at: DateTime<Utc>,
    /// When it came to be; absent for one to come and for one that never will.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied_at: Option<DateTime<Utc>>,
    /// The stage's version that it was decided on. While nothing is set for a risk class its
    /// version is that of the stage for all classes.
    pub stage_version: u64,
    /// Whether the stage has moved on from that version before: then it will never be applied.
    #[serde(default)]
    pub superseded: bool,
    /// The change that the stage has moved on with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<Superseding>,
}

/// Why a change to come will never be applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Superseding {
    /// The attempt that changed the stage before.
    pub command_id: CommandId,
    /// Of what: of the stage itself, or of the stage for all classes that it followed.
    pub target: StageTarget,
    /// How far it went with that.
    pub to: AutonomyMode,
    /// Why.
    pub reason: Slug,
    /// Who.
    pub decided_by: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// Changes of stages, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StageHistory {
    /// At most 200.
    pub items: Vec<StageChange>,
}
