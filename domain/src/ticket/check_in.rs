//! The technician is there, whether or not they said that they were under way.

use contracts::{command::CheckIn, event::TicketEvent, ticket::Ticket};

use super::{Plan, check};
use crate::Rejection;

pub(super) fn plan(CheckIn {}: &CheckIn, ticket: &Ticket) -> Result<Plan, Rejection> {
    Ok(Plan::from(TicketEvent::CheckedIn {
        visit_id: check::visit(ticket)?.id,
    }))
}
