//! Takes the locks of an inbound message and reads where it could belong.

use chrono::{DateTime, Utc};
use contracts::{
    ContactId, MessageId, SiteId, TicketId,
    command::CommsInbound,
    comms::{Channel, CommsRules},
    value::PeerAddress,
};
use domain::comms::{NamedSite, PeerContact, PeerTicket, RouteFacts, Seen};
use serde::Deserialize;
use serde_json::json;
use sqlx::types::Json;

use crate::{Error, TenantTx};

/// Where an inbound message could belong.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct RouteRows {
    /// SHA-256 of the active bundle; `None` when there is none.
    pub bundle: Option<String>,
    seen: Option<SeenRow>,
    /// Of the site that the body names; `None` when there is none.
    site_active: Option<bool>,
    contacts: Vec<ContactRow>,
    tickets: Vec<TicketRow>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct SeenRow {
    message_id: MessageId,
    ticket_id: Option<TicketId>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct ContactRow {
    id: ContactId,
    site_id: Option<SiteId>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct TicketRow {
    id: TicketId,
    site_id: SiteId,
    contact_id: Option<ContactId>,
    last_activity: DateTime<Utc>,
}

impl RouteRows {
    /// The same for the rule that decides.
    pub fn facts<'a>(
        &self,
        body: &CommsInbound,
        now: DateTime<Utc>,
        rules: &'a CommsRules,
    ) -> RouteFacts<'a> {
        let contacts = self.contacts.iter().map(|row| PeerContact {
            id: row.id,
            site_id: row.site_id,
        });
        let tickets = self.tickets.iter().map(|row| PeerTicket {
            id: row.id,
            site_id: row.site_id,
            contact_id: row.contact_id,
            last_activity: row.last_activity,
        });
        RouteFacts {
            now,
            seen: self.seen.as_ref().map(|row| Seen {
                message_id: row.message_id,
                ticket_id: row.ticket_id,
            }),
            named: body.site_id.map(|id| match self.site_active {
                Some(true) => NamedSite::Active(id),
                Some(false) => NamedSite::Inactive(id),
                None => NamedSite::Unknown,
            }),
            contacts: contacts.collect(),
            tickets: tickets.collect(),
            rules,
        }
    }
}

/// Looks for where a message from `peer` (normalised) could belong. The provider's message, the
/// peer and the peer's open tickets stay locked until the transaction ends, except for a trial.
///
/// # Errors
/// [`Error::LockTimeout`] when one of them was not free in time.
pub async fn route(
    tx: &mut TenantTx,
    body: &CommsInbound,
    peer: &PeerAddress,
    dry_run: bool,
) -> Result<RouteRows, Error> {
    let (kind, channels) = family(body.channel);
    let message = json!({
        "provider": body.provider,
        "provider_message_id": body.provider_message_id,
        "peer": peer,
        "kind": kind,
        "channels": channels,
        "site_id": body.site_id.map(|id| id.as_uuid()),
    });
    let tenant = tx.tenant_id().as_uuid();
    let Json(rows) = sqlx::query_scalar("select command_route($1, $2, $3)")
        .bind(tenant)
        .bind(Json(message))
        .bind(dry_run)
        .fetch_one(tx.connection())
        .await?;
    Ok(rows)
}

/// What sort of address a channel has, and the channels that share it: somebody who calls is the
/// same as somebody who writes from that telephone.
fn family(channel: Channel) -> (&'static str, &'static [Channel]) {
    match channel {
        Channel::Sms | Channel::Whatsapp | Channel::Voice => {
            ("phone", &[Channel::Sms, Channel::Whatsapp, Channel::Voice])
        }
        Channel::Email => ("email", &[Channel::Email]),
        Channel::Web => ("web", &[Channel::Web]),
        Channel::Operations => ("operations", &[]),
    }
}
