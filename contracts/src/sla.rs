//! SLA clocks: absolute deadlines that `domain` computes and everyone else only compares.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::value::Slug;

/// Which hours count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClockCalendar {
    /// Every hour of every day.
    Always,
    /// The tenant's office hours.
    BusinessHours,
}

/// What a clock is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum ClockPhase {
    /// Time counts.
    Running {
        /// Since when it runs without a break.
        since: DateTime<Utc>,
        /// When 80 % of the budget will be used up.
        warn_at: DateTime<Utc>,
        /// When all of it will be.
        due_at: DateTime<Utc>,
    },
    /// The customer is awaited: time does not count.
    Paused {
        /// Since when.
        since: DateTime<Utc>,
    },
    /// The aim was reached, or the ticket ended.
    Stopped {
        /// When.
        at: DateTime<Utc>,
        /// Whether that was in time.
        met: bool,
    },
}

/// One promise to the customer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SlaClock {
    /// `response`, `make_safe`, `completion` …
    pub name: Slug,
    /// Which hours count.
    pub calendar: ClockCalendar,
    /// How many counted seconds are promised.
    pub budget_seconds: u64,
    /// Counted seconds used up before the current phase began.
    pub used_seconds: u64,
    /// Rises when the promise itself changes (priority, template, reopening), not with a pause:
    /// a warning or breach is recorded once per revision.
    pub revision: u32,
    /// What the clock is doing.
    #[serde(flatten)]
    pub phase: ClockPhase,
}

impl SlaClock {
    /// The deadline, while the clock runs.
    pub fn due_at(&self) -> Option<DateTime<Utc>> {
        match self.phase {
            ClockPhase::Running { due_at, .. } => Some(due_at),
            ClockPhase::Paused { .. } | ClockPhase::Stopped { .. } => None,
        }
    }
}

/// What is recorded about a clock.
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
pub enum SlaRecordKind {
    /// 80 % of the budget is used up.
    Warning,
    /// All of it is.
    Breach,
}

/// Names one record: unique per ticket.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct SlaRecordKey {
    /// Which clock.
    pub clock: Slug,
    /// Warning or breach.
    pub kind: SlaRecordKind,
    /// [`SlaClock::revision`] it belongs to.
    pub revision: u32,
}
