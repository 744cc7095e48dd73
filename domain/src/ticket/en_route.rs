//! The technician is under way; said again, it corrects the expected arrival.

use contracts::{command::EnRoute, event::TicketEvent, ticket::Ticket};

use super::{Plan, check};
use crate::{Facts, Rejection};

pub(super) fn plan(body: &EnRoute, ticket: &Ticket, facts: &Facts) -> Result<Plan, Rejection> {
    check::eta(body.eta, facts.now)?;
    Ok(Plan::from(TicketEvent::EnRoute {
        visit_id: check::visit(ticket)?.id,
        eta: body.eta,
    }))
}
