//! Takes the technician off the visit; the window stays.

use contracts::{command::Unassign, event::TicketEvent, ticket::Ticket};

use super::{Plan, check};
use crate::Rejection;

pub(super) fn plan(body: &Unassign, ticket: &Ticket) -> Result<Plan, Rejection> {
    Ok(Plan::from(TicketEvent::Unassigned {
        visit_id: check::visit(ticket)?.id,
        reason: body.reason.clone(),
    }))
}
