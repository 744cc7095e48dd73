//! Queues a message to a customer.

use contracts::{
    command::CommsOutbound,
    comms::{OnlyWhile, Purpose, Recipient},
    event::TicketEvent,
};

use super::{Plan, check};
use crate::{Effect, Facts, OutboundMessage, Rejection};

pub(super) fn plan(body: &CommsOutbound, facts: &Facts) -> Result<Plan, Rejection> {
    check::known(facts.contact_known, "/contact_id", "contact")?;
    check::known(
        facts.contact_reachable,
        "/channel",
        "address of that contact on this channel",
    )?;
    let due_at = body.send_at.map_or(facts.now, |at| at.max(facts.now));
    let id = facts.ids.message;
    let event = TicketEvent::MessageQueued {
        message_id: id,
        channel: body.channel,
        purpose: Purpose::Conversation,
        due_at,
    };
    Ok(
        Plan::from(event).with([Effect::QueueMessage(OutboundMessage {
            id,
            channel: body.channel,
            purpose: Purpose::Conversation,
            recipient: Recipient::Contact {
                contact_id: body.contact_id,
            },
            text: Some(body.text.clone()),
            due_at,
            only_while: body.only_while.clone().unwrap_or(OnlyWhile::TicketOpen),
        })]),
    )
}
