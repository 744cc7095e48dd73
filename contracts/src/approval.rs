//! Approvals: decisions that a person owes.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{actor::Role, ids::*, value::Slug};

/// What is to be decided.
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
pub enum ApprovalKind {
    /// More work, or dearer work, than the NTE covers.
    ChangeOrder,
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
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    strum::Display,
    strum::EnumString,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum ApprovalState {
    /// Waits.
    Pending,
    /// Approved.
    Approved,
    /// Rejected.
    Rejected,
    /// The ticket ended first.
    Withdrawn,
}

/// An approval with its decision, if any.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Approval {
    /// Its id.
    pub id: ApprovalId,
    /// The ticket it is about.
    pub ticket_id: TicketId,
    /// What is to be decided.
    pub kind: ApprovalKind,
    /// Where it stands.
    pub state: ApprovalState,
    /// The actor that asked; may not decide.
    pub requested_by: String,
    /// One of these roles decides.
    pub required_roles: Vec<Role>,
    /// SHA-256 of the canonical request: what the approver saw is what takes effect.
    pub request_sha256: String,
    /// What is asked, for a change order `{scope, price_delta_cents}`.
    pub request: serde_json::Value,
    /// When it was asked.
    pub requested_at: DateTime<Utc>,
    /// Who decided.
    pub decided_by: Option<String>,
    /// When.
    pub decided_at: Option<DateTime<Utc>>,
    /// Why.
    pub reason: Option<Slug>,
}
