//! Ends the ticket: after its invoice, or without a charge for a stated reason.

use contracts::{TicketState, command::Close, event::TicketEvent, ticket::Ticket};

use super::Plan;
use crate::Rejection;

pub(super) fn plan(body: &Close, ticket: &Ticket) -> Result<Plan, Rejection> {
    let charged = ticket.state == TicketState::Invoiced;
    match (charged, &body.no_charge_reason) {
        (false, None) => Err(Rejection::invalid(
            "/no_charge_reason",
            "is needed: the work was not invoiced",
        )),
        (true, Some(_)) => Err(Rejection::invalid(
            "/no_charge_reason",
            "must be left out: the work was invoiced",
        )),
        (_, no_charge_reason) => Ok(Plan::from(TicketEvent::Closed {
            no_charge_reason: no_charge_reason.clone(),
        })),
    }
}
