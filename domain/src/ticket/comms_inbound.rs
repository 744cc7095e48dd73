//! A message that came in: attached to this ticket, or opening it.

use contracts::{
    ContactId,
    command::{CommsInbound, CreateTicket},
    comms::{Channel, Routing},
    event::TicketEvent,
};

use super::{Plan, create};
use crate::{Effect, Facts, Rejection, Route, TicketKey};

/// The message opens a ticket, as a dispatcher would with [`CreateTicket`].
pub(super) fn open(key: TicketKey, body: &CommsInbound, facts: &Facts) -> Result<Plan, Rejection> {
    let Some(Route::Open {
        site_id,
        contact_id,
    }) = facts.route
    else {
        return Err(Rejection::NotFound);
    };
    let template = body
        .template
        .as_ref()
        .unwrap_or(&facts.comms.intake_template);
    let creation = CreateTicket {
        site_id,
        asset_id: None,
        contact_id,
        template: template.clone(),
        priority: None,
        details: Default::default(),
        description: None,
    };
    let routing = Routing::Created {
        ticket_id: key.ticket_id,
    };
    Ok(received(
        create::plan(&creation, facts)?,
        body.channel,
        routing,
        contact_id,
        facts,
    ))
}

/// The message belongs to this ticket.
pub(super) fn attach(
    key: TicketKey,
    body: &CommsInbound,
    facts: &Facts,
) -> Result<Plan, Rejection> {
    let Some(Route::Attach { contact_id, .. }) = facts.route else {
        return Err(Rejection::Broken {
            what: "the route of a message",
        });
    };
    let routing = Routing::Attached {
        ticket_id: key.ticket_id,
    };
    let id = facts.ids.message;
    let event = TicketEvent::MessageReceived {
        message_id: id,
        channel: body.channel,
        routing: routing.clone(),
    };
    Ok(Plan::from(event).with([Effect::ReceiveMessage {
        id,
        routing,
        contact_id,
    }]))
}

fn received(
    plan: Plan,
    channel: Channel,
    routing: Routing,
    contact_id: Option<ContactId>,
    facts: &Facts,
) -> Plan {
    let id = facts.ids.message;
    plan.and(TicketEvent::MessageReceived {
        message_id: id,
        channel,
        routing: routing.clone(),
    })
    .with([Effect::ReceiveMessage {
        id,
        routing,
        contact_id,
    }])
}
