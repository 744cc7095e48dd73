//! Where an inbound message belongs.

use chrono::{DateTime, Utc};
use contracts::{Command, command::CommsInbound, comms::HoldReason, filing::Filed};
use domain::{Effect, Filing, Route};
use policy::BundleSource;
use store::{TenantTx, command::ReceivedMessage};

use super::Unrecorded;

/// Looks for the ticket of a message, by the rules of the active bundle. The peer stays locked, so
/// that two messages of one peer do not open two tickets.
pub(super) async fn find(
    _tx: &mut TenantTx,
    _bundles: &dyn BundleSource,
    _body: &CommsInbound,
    _at: DateTime<Utc>,
) -> Result<Route, Unrecorded> {
    Ok(Route::Hold {
        reason: HoldReason::UnknownPeer,
        candidates: Vec::new(),
    })
}

/// The message that an accepted command took in.
pub(super) fn received<'a>(
    command: &'a Command,
    effects: &'a [Effect],
) -> Option<ReceivedMessage<'a>> {
    let Command::CommsInbound(body) = command else {
        return None;
    };
    effects.iter().find_map(|effect| match effect {
        Effect::ReceiveMessage {
            id,
            routing,
            contact_id,
        } => Some(ReceivedMessage {
            id: *id,
            body,
            routing,
            contact_id: *contact_id,
        }),
        _ => None,
    })
}

/// The message that waits for a person.
pub(super) fn held<'a>(command: &'a Command, filing: &'a Filing) -> Option<ReceivedMessage<'a>> {
    match (command, &filing.filed) {
        (
            Command::CommsInbound(body),
            Filed::Message {
                message_id,
                routing,
            },
        ) => Some(ReceivedMessage {
            id: *message_id,
            body,
            routing,
            contact_id: None,
        }),
        _ => None,
    }
}
