//! What a run starts with.

use contracts::signal::TicketWorkflowStart;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::follower::TicketFollower;

/// The relay's [`TicketWorkflowStart`], and what an earlier run carries over. Read leniently: what
/// is carried and cannot be read is left behind, and a snapshot makes it good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketInput {
    /// Which ticket.
    #[serde(flatten)]
    pub start: TicketWorkflowStart,
    /// Continue as new after so many history events; [`HISTORY_LIMIT`] without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history_limit: Option<u32>,
    /// What the run before knew.
    #[serde(
        default,
        deserialize_with = "lenient",
        skip_serializing_if = "Option::is_none"
    )]
    pub carried: Option<Box<TicketFollower>>,
}

/// History events after which a run continues as a new one.
pub const HISTORY_LIMIT: u32 = 2_000;

impl TicketInput {
    /// A first run.
    pub fn new(start: TicketWorkflowStart) -> Self {
        Self {
            start,
            history_limit: None,
            carried: None,
        }
    }

    /// History events after which this run continues as a new one. Never so few that a run could
    /// do nothing but continue.
    pub fn history_limit(&self) -> u32 {
        self.history_limit.unwrap_or(HISTORY_LIMIT).max(10)
    }
}

fn lenient<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Box<TicketFollower>>, D::Error> {
    Ok(serde_json::from_value(Value::deserialize(d)?).ok())
}
