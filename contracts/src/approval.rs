//! Approvals: decisions that people owe.
//!
//! A command that policy marks `REQUIRE_APPROVAL` is *held*: it is kept as it was sent, bound to its
//! hash and to the facts that its kind names, and carried out once when enough people have said yes.
//! Silence never does: an approval that nobody decides expires.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    actor::{ActorKind, Role},
    command::Operation,
    ids::*,
    inbox::Owed,
    value::Slug,
};

/// What is to be decided.
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
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum ApprovalKind {
    /// More work, or dearer work, than the NTE covers.
    ChangeOrder,
    /// A command on a ticket that policy holds.
    HeldCommand,
    /// Software may do more by itself.
    Promotion,
    /// Software may act again after a kill switch.
    Rearm,
    /// Another policy bundle is to decide.
    BundleActivation,
}

impl ApprovalKind {
    /// The kind of a held command; `None` for one that is never held.
    pub const fn of_held(operation: Operation) -> Option<Self> {
        use crate::command::CommandClass;
        match operation {
            Operation::PromoteStage => Some(Self::Promotion),
            Operation::ReleaseKillSwitch => Some(Self::Rearm),
            Operation::ActivateBundle => Some(Self::BundleActivation),
            Operation::CreateTicket | Operation::RecordProposal | Operation::RecordSla => None,
            _ => match operation.class() {
                CommandClass::Change | CommandClass::Bookkeeping => Some(Self::HeldCommand),
                CommandClass::Waiting | CommandClass::Filing => None,
            },
        }
    }
}

/// Yes or no.
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
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Verdict {
    /// Yes.
    Approve,
    /// No.
    Reject,
}

/// Where an approval stands.
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
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum ApprovalState {
    /// Waits for people.
    Pending,
    /// Enough people said yes. A held command is carried out next.
    Approved,
    /// Somebody said no.
    Rejected,
    /// The proposer took it back, or the ticket ended first.
    Withdrawn,
    /// Nobody decided in time.
    Expired,
    /// What it was about has changed, or policy has become stricter.
    Stale,
    /// Approved and carried out.
    Executed,
}

/// People who must agree: that many distinct ones, each with one of the roles.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Demand {
    /// The rule that wants it.
    pub code: String,
    /// Roles that count; at least one.
    pub roles: Vec<Role>,
    /// How many; at least 1.
    pub count: u8,
}

/// One person's word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Vote {
    /// Who.
    pub actor_id: String,
    /// The roles that it counts with: those that they had then, or those that were lent to them.
    pub roles: Vec<Role>,
    /// Yes or no.
    pub verdict: Verdict,
    /// When.
    pub at: DateTime<Utc>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Slug>,
    /// For whom, when the right was lent by somebody who is away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<String>,
    /// The attempt.
    pub command_id: CommandId,
}

/// What happens while nobody decides.
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
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum StepKind {
    /// Those who may decide are reminded.
    Reminder,
    /// More people may decide, and hear of it.
    Escalation,
    /// It is over: nothing is done.
    Expiry,
}

/// One step of the plan, at its moment. The last one is the expiry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ApprovalStep {
    /// When.
    pub at: DateTime<Utc>,
    /// What.
    pub step: StepKind,
    /// Roles that may decide from then on besides; for an escalation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<Role>,
}

/// What a policy asks for: who must agree, and what happens while nobody does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApprovalNeed {
    /// All of them must be met; sorted by rule, at least one.
    pub demands: Vec<Demand>,
    /// From the moment of the request on.
    pub plan: ApprovalPlan,
}

/// Reminders, escalations and the end, in minutes after the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApprovalPlan {
    /// Reminders.
    #[serde(default)]
    pub remind_after_minutes: Vec<u32>,
    /// Who hears of it and may decide besides, in time order.
    #[serde(default)]
    pub escalations: Vec<EscalationRung>,
    /// The end; later than all before. One that escalates is followed by another, as long after it.
    pub expire_after_minutes: u32,
    /// What the end means.
    pub on_expiry: OnExpiry,
}

/// One rung of an escalation chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EscalationRung {
    /// When.
    pub after_minutes: u32,
    /// Who; at least one role.
    pub roles: Vec<Role>,
}

/// What it means when nobody decided. There is no third possibility: silence is no consent.
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
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum OnExpiry {
    /// It is denied.
    Deny,
    /// Once more as long as planned, for the roles of the last rung; then it is denied.
    Escalate,
}

/// An approval as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Approval {
    /// Its id.
    pub id: ApprovalId,
    /// The ticket it is about; none for a promotion, a re-arming, another bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket_id: Option<TicketId>,
    /// What is to be decided.
    pub kind: ApprovalKind,
    /// Where it stands.
    pub state: ApprovalState,
    /// What is to be carried out; for a change order the request itself.
    #[serde(default = "change_order")]
    pub operation: Operation,
    /// The actor that asked; may not decide.
    pub requested_by: String,
    /// What sort of actor.
    #[serde(default = "person")]
    pub requested_by_kind: ActorKind,
    /// Whoever has one of these may decide now.
    pub required_roles: Vec<Role>,
    /// Who must agree.
    #[serde(default)]
    pub demands: Vec<Demand>,
    /// What was said so far, about this version.
    #[serde(default)]
    pub votes: Vec<Vote>,
    /// 1; rises when what is asked is amended, and all votes are void.
    #[serde(default = "first")]
    pub version: u32,
    /// Rises with each write.
    #[serde(default)]
    pub revision: u64,
    /// SHA-256 of the canonical request: what the approver saw is what takes effect.
    pub request_sha256: String,
    /// What is asked, free text masked; for a change order `{scope, price_delta_cents}`.
    pub request: Value,
    /// SHA-256 of the facts that this kind of command depends on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts_sha256: Option<String>,
    /// When it was asked.
    pub requested_at: DateTime<Utc>,
    /// When it ends undecided; `None` for those of before version 0.3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
    /// What its plan says of its first end; the steps that follow from it are among those below.
    #[serde(default = "deny")]
    pub on_expiry: OnExpiry,
    /// What is still to come while nobody decides, in time order.
    #[serde(default)]
    pub steps: Vec<ApprovalStep>,
    /// Who works on it, as long as the lease runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<Claim>,
    /// The decision that asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision_id: Option<DecisionId>,
    /// Who decided.
    pub decided_by: Option<String>,
    /// When.
    pub decided_at: Option<DateTime<Utc>>,
    /// Why; for a stale, expired or withdrawn one why it ended.
    pub reason: Option<Slug>,
    /// The attempt that carried it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executed_command_id: Option<CommandId>,
}

/// Somebody works on an approval: others are told so, until the lease ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Claim {
    /// Who.
    pub by: String,
    /// Until when.
    pub until: DateTime<Utc>,
}

impl Approval {
    /// Whether something still comes: a decision, or what was decided. A change order takes effect
    /// with its decision.
    pub const fn is_open(&self) -> bool {
        match self.state {
            ApprovalState::Pending => true,
            ApprovalState::Approved => !matches!(self.kind, ApprovalKind::ChangeOrder),
            _ => false,
        }
    }

    /// Who holds it at this moment.
    pub fn claimed_by(&self, at: DateTime<Utc>) -> Option<&Claim> {
        self.claim.as_ref().filter(|claim| at < claim.until)
    }
}

/// An open approval as the ticket carries it: all that its workflow needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TicketApproval {
    /// Its id.
    pub id: ApprovalId,
    /// What is to be decided.
    pub kind: ApprovalKind,
    /// What is to be carried out.
    pub operation: Operation,
    /// Rises when it is amended.
    pub version: u32,
    /// Whether it was approved and waits to be carried out.
    pub released: bool,
    /// Whether software asked for it: its stage and the kill switch still apply.
    pub autonomous: bool,
    /// SHA-256 of the facts it depends on; none for a change order, which stops the ticket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts_sha256: Option<String>,
    /// What is still to come while nobody decides, in time order; once released the end alone.
    pub steps: Vec<ApprovalStep>,
    /// Whose word is still owed; nobody's once released.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waits_for: Vec<Owed>,
}

fn change_order() -> Operation {
    Operation::RequestChange
}

fn person() -> ActorKind {
    ActorKind::Person
}

fn deny() -> OnExpiry {
    OnExpiry::Deny
}

fn first() -> u32 {
    1
}
