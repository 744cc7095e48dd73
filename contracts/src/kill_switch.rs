//! The kill switch: where software is stopped.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{command::Operation, comms::Channel, ids::*, value::Slug};

/// Where software is stopped. Several may be engaged at once; any that fits stops it.
#[derive(
    Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum KillScope {
    /// All tenants of this installation.
    Everything,
    /// This tenant.
    #[default]
    Tenant,
    /// One kind of command.
    Operation {
        /// Which.
        operation: Operation,
    },
    /// Messages of software on one channel.
    Channel {
        /// Which.
        channel: Channel,
    },
    /// One actor that is no person.
    Agent {
        /// The subject of its token.
        actor_id: String,
    },
    /// One ticket.
    Ticket {
        /// Which.
        ticket_id: TicketId,
    },
}

impl KillScope {
    /// Its name in rows and texts: `tenant`, `operation:dispatch`, `ticket:tkt_…`.
    pub fn key(&self) -> String {
        match self {
            Self::Everything => "everything".to_owned(),
            Self::Tenant => "tenant".to_owned(),
            Self::Operation { operation } => format!("operation:{operation}"),
            Self::Channel { channel } => format!("channel:{channel}"),
            Self::Agent { actor_id } => format!("agent:{actor_id}"),
            Self::Ticket { ticket_id } => format!("ticket:{ticket_id}"),
        }
    }
}

/// One switch as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KillSwitchRow {
    /// [`KillScope::key`].
    pub scope: String,
    /// Whether it is engaged. After its `expires_at` it counts as released.
    pub engaged: bool,
    /// Rises with each turn of this switch.
    pub generation: u64,
    /// Why it was turned.
    pub reason: Slug,
    /// When it releases itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
}

impl KillSwitchRow {
    /// Whether it stops software at this moment.
    pub fn stops(&self, at: DateTime<Utc>) -> bool {
        self.engaged && self.expires_at.is_none_or(|end| at < end)
    }
}
