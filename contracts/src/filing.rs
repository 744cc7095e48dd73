//! Filings: commands about something other than a ticket, and what they lead to.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{comms::Routing, ids::*, schedule::TimeWindow, ticket::Ticket, value::Slug};

/// What a filing led to: the change in its audit row, and the answer to its caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", content = "data")]
pub enum Filed {
    /// A site was written.
    #[serde(rename = "site.upserted")]
    Site {
        /// Which.
        site_id: SiteId,
        /// Its name in files and filters.
        code: Slug,
    },
    /// A thing at a site was written.
    #[serde(rename = "asset.upserted")]
    Asset {
        /// Which.
        asset_id: AssetId,
        /// Its name in files and filters.
        code: Slug,
    },
    /// A person at the customer's was written.
    #[serde(rename = "contact.upserted")]
    Contact {
        /// Which.
        contact_id: ContactId,
        /// Their name in files and filters: no name of a person.
        code: Slug,
    },
    /// A technician was written.
    #[serde(rename = "technician.upserted")]
    Technician {
        /// Which.
        technician_id: TechnicianId,
        /// Their name in files and filters: no name of a person.
        code: Slug,
    },
    /// A technician will be away.
    #[serde(rename = "absence.recorded")]
    AbsenceRecorded {
        /// Who.
        technician_id: TechnicianId,
        /// When.
        window: TimeWindow,
    },
    /// A technician will be there after all.
    #[serde(rename = "absence.cancelled")]
    AbsenceCancelled {
        /// Who.
        technician_id: TechnicianId,
        /// When they would have been away.
        window: TimeWindow,
    },
    /// Software stops acting for this tenant.
    #[serde(rename = "kill_switch.engaged")]
    KillSwitchEngaged {
        /// Rises with each turn.
        generation: u64,
        /// Why.
        reason: Slug,
    },
    /// Software may act again.
    #[serde(rename = "kill_switch.released")]
    KillSwitchReleased {
        /// Rises with each turn.
        generation: u64,
        /// Why.
        reason: Slug,
    },
    /// A message came in.
    #[serde(rename = "message.received")]
    Message {
        /// Which; for a duplicate the first one.
        message_id: MessageId,
        /// Where it belongs.
        routing: Routing,
    },
}

/// The answer to a filing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FilingReceipt {
    /// This attempt.
    pub command_id: CommandId,
    /// The policy decision that let it pass.
    pub decision_id: DecisionId,
    /// The version of the thing before; 0 when it is new. For a message that of its ticket.
    pub applied_to_version: u64,
    /// Its version afterwards.
    pub produced_version: u64,
    /// `true`: nothing was changed, this is what would have happened.
    #[serde(default)]
    pub dry_run: bool,
    /// What it led to.
    pub filed: Filed,
    /// The ticket that the message belongs to, afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<Ticket>,
}
