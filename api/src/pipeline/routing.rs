//! Where an inbound message belongs.

use chrono::{DateTime, Utc};
use contracts::{
    Command, ContactId, TicketId, command::CommsInbound, filing::Filed, value::PeerAddress,
};
use domain::{Effect, Filing, Route, comms};
use store::{
    TenantTx,
    bundles::Place,
    command::{self, ReceivedMessage},
};

use super::{Call, Unrecorded};
use crate::bundles::Bundles;

/// An inbound message with where it belongs.
pub(super) struct Inbound<'a> {
    body: &'a CommsInbound,
    /// The sender's address in its one spelling, if it has one.
    peer: PeerAddress,
    /// By the rules.
    pub(super) route: Route,
}

/// Looks for the ticket of a message by the rules of the active bundle; `None` for any other
/// command. What was found stays locked until the transaction ends.
pub(super) async fn find<'a>(
    tx: &mut TenantTx,
    bundles: &Bundles,
    call: &'a Call,
    at: DateTime<Utc>,
) -> Result<Option<Inbound<'a>>, Unrecorded> {
    let Command::CommsInbound(body) = &call.command else {
        return Ok(None);
    };
    let peer = match comms::sender(body) {
        Ok(peer) => peer,
        Err(route) => {
            let peer = body.peer.clone();
            return Ok(Some(Inbound { body, peer, route }));
        }
    };
    let rows = command::route(tx, body, &peer, call.dry_run).await?;
    let sha256 = rows.bundle.as_ref().ok_or(Unrecorded::NoBundle)?;
    let bundle = bundles.load(Place::Tx(tx), sha256).await?;
    let route = comms::route(&rows.facts(body, at, bundle.comms()));
    Ok(Some(Inbound { body, peer, route }))
}

impl Inbound<'_> {
    /// The ticket that gets it.
    pub(super) fn ticket_id(&self) -> Option<TicketId> {
        match &self.route {
            Route::Attach { ticket_id, .. } => Some(*ticket_id),
            Route::Open { .. } | Route::Duplicate { .. } | Route::Hold { .. } => None,
            Route::Unusable { .. } => None,
        }
    }

    fn contact_id(&self) -> Option<ContactId> {
        match &self.route {
            Route::Attach { contact_id, .. }
            | Route::Open { contact_id, .. }
            | Route::Hold { contact_id, .. } => *contact_id,
            Route::Duplicate { .. } | Route::Unusable { .. } => None,
        }
    }

    /// The message that an accepted command took in for a ticket.
    pub(super) fn received<'a>(&'a self, effects: &'a [Effect]) -> Option<ReceivedMessage<'a>> {
        effects.iter().find_map(|effect| match effect {
            Effect::ReceiveMessage {
                id,
                routing,
                contact_id,
            } => Some(ReceivedMessage {
                id: *id,
                body: self.body,
                peer: &self.peer,
                routing,
                contact_id: *contact_id,
            }),
            _ => None,
        })
    }

    /// The message that waits for a person.
    pub(super) fn held<'a>(&'a self, filing: &'a Filing) -> Option<ReceivedMessage<'a>> {
        match &filing.filed {
            Filed::Message {
                message_id,
                routing,
            } => Some(ReceivedMessage {
                id: *message_id,
                body: self.body,
                peer: &self.peer,
                routing,
                contact_id: self.contact_id(),
            }),
            _ => None,
        }
    }
}
