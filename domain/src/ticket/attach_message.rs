//! A person says where a message belongs that no rule could place.

use contracts::{command::AttachMessage, event::TicketEvent};

use super::{Plan, check};
use crate::{Effect, Facts, Rejection};

pub(super) fn plan(body: &AttachMessage, facts: &Facts) -> Result<Plan, Rejection> {
    check::known(facts.message_held, "/message_id", "held message")?;
    let event = TicketEvent::MessageAttached {
        message_id: body.message_id,
    };
    Ok(Plan::from(event).with([Effect::AttachMessage(body.message_id)]))
}
