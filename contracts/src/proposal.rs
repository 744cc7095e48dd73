//! Shadow proposals: what software would have done, why, and how a person's act compares.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    ids::*,
    schedule::{GeoPoint, TimeWindow, WorkCalendar},
    ticket::Priority,
    value::{DetailValue, Slug, TemplateId},
};

/// What a proposal is about.
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
pub enum ProposalKind {
    /// Priority and template of a new ticket.
    Triage,
    /// Who should be sent.
    Technician,
}

/// Everything an advisor looks at; stored with the proposal, so the advice can be computed again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AdvisorInput {
    /// For [`ProposalKind::Triage`].
    Triage(TriageInput),
    /// For [`ProposalKind::Technician`].
    Technician(TechnicianInput),
}

impl AdvisorInput {
    /// What it is about.
    pub const fn kind(&self) -> ProposalKind {
        match self {
            Self::Triage(_) => ProposalKind::Triage,
            Self::Technician(_) => ProposalKind::Technician,
        }
    }
}

/// What triage advice is based on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TriageInput {
    /// The ticket's version.
    pub version: u64,
    /// When the facts were read.
    pub at: DateTime<Utc>,
    /// The template it came with.
    pub template: TemplateId,
    /// That template's default.
    pub default_priority: Priority,
    /// The priority it came with.
    pub priority: Priority,
    /// What is known.
    pub details: BTreeMap<Slug, DetailValue>,
    /// What the template wants to be known.
    pub required_details: Vec<Slug>,
}

/// What technician advice is based on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TechnicianInput {
    /// The ticket's version.
    pub version: u64,
    /// When the facts were read.
    pub at: DateTime<Utc>,
    /// How urgent.
    pub priority: Priority,
    /// Where the work is.
    pub site: GeoPoint,
    /// The confirmed window, if there is one; otherwise "as soon as possible".
    pub window: Option<TimeWindow>,
    /// How long the visit takes.
    pub visit_minutes: u32,
    /// Skills that the template needs.
    pub required_skills: Vec<Slug>,
    /// The nearest running deadline.
    pub due_at: Option<DateTime<Utc>>,
    /// Everybody who could be sent.
    pub candidates: Vec<Candidate>,
}

/// A technician as the advisor sees them: no name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Candidate {
    /// Who.
    pub technician_id: TechnicianId,
    /// What they can do.
    pub skills: Vec<Slug>,
    /// Where they start from.
    pub base: GeoPoint,
    /// When they work.
    pub calendar: WorkCalendar,
    /// Windows in which they are away or booked.
    pub busy: Vec<TimeWindow>,
    /// Visits assigned to them that have not ended.
    pub open_visits: u32,
}

/// What an advisor says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Advice {
    /// Name and version of the advisor, for example `technician_v1`.
    pub advisor: Slug,
    /// Best first; empty when nothing fits.
    pub ranked: Vec<Ranked>,
    /// What fell out, and why.
    pub excluded: Vec<Excluded>,
}

impl Advice {
    /// What it recommends.
    pub fn best(&self) -> Option<&Choice> {
        self.ranked.first().map(|ranked| &ranked.choice)
    }
}

/// Something that could be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Choice {
    /// Triage so.
    Triage {
        /// Kind of incident.
        template: TemplateId,
        /// How urgent.
        priority: Priority,
    },
    /// Send this technician.
    Dispatch {
        /// Who.
        technician_id: TechnicianId,
        /// When they could be there.
        eta: DateTime<Utc>,
    },
}

/// A choice with its score and the reasons for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ranked {
    /// What to do.
    pub choice: Choice,
    /// Sum of the points; higher is better.
    pub score: i64,
    /// Where the points come from.
    pub factors: Vec<Factor>,
}

/// One reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Factor {
    /// `travel_minutes`, `sla_slack_minutes`, `open_visits` …
    pub name: Slug,
    /// The fact, in the unit that the name says.
    pub value: i64,
    /// What it counts for.
    pub points: i64,
}

/// A choice that a hard constraint forbids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Excluded {
    /// Who.
    pub technician_id: TechnicianId,
    /// Every constraint that failed: `missing_skill_glazing`, `off_shift`, `busy` …
    pub failed: Vec<Slug>,
}

/// How a person's act compares with the proposal.
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
pub enum PairingOutcome {
    /// They did what was recommended.
    Same,
    /// They did one of the ranked alternatives.
    Alternative,
    /// They did something else.
    Different,
}

/// A recorded proposal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Proposal {
    /// Its id.
    pub id: ProposalId,
    /// The ticket.
    pub ticket_id: TicketId,
    /// About what.
    pub kind: ProposalKind,
    /// The ticket's version that it is about.
    pub based_on_version: u64,
    /// SHA-256 of the canonical input.
    pub input_sha256: String,
    /// Everything the advisor looked at.
    pub input: AdvisorInput,
    /// What it says.
    pub advice: Advice,
    /// When it was recorded.
    pub recorded_at: DateTime<Utc>,
    /// What a person did about it.
    pub pairing: Option<Pairing>,
}

/// A proposal met by a person's act.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pairing {
    /// The act.
    pub command_id: CommandId,
    /// Who.
    pub actor_id: String,
    /// How they compare.
    pub outcome: PairingOutcome,
    /// When.
    pub at: DateTime<Utc>,
}
