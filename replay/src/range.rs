//! Which part of the record is looked at.

use chrono::{DateTime, Utc};
use contracts::{TenantId, TicketId};
use serde::{Deserialize, Serialize};

/// Part of the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// Whose, in the order in which they are looked at; never empty.
    pub tenants: Vec<TenantId>,
    /// Only this ticket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<TicketId>,
    /// From this moment on.
    pub since: DateTime<Utc>,
    /// Before this moment; without it to the end of the record.
    pub until: Option<DateTime<Utc>>,
}

impl Range {
    /// With the tenants in their order, each once.
    pub fn new(
        mut tenants: Vec<TenantId>,
        ticket: Option<TicketId>,
        since: DateTime<Utc>,
        until: Option<DateTime<Utc>>,
    ) -> Self {
        tenants.sort_unstable();
        tenants.dedup();
        Self {
            tenants,
            ticket,
            since,
            until,
        }
    }

    /// Whether this moment lies behind its end.
    pub(crate) fn is_over(&self, at: DateTime<Utc>) -> bool {
        self.until.is_some_and(|until| at >= until)
    }
}
