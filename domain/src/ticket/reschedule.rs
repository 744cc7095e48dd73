//! Offers another window for a visit that was scheduled; whoever was assigned is released.

use contracts::{command::Reschedule, event::TicketEvent, ticket::Ticket};

use super::{Plan, check};
use crate::{Facts, Rejection};

pub(super) fn plan(body: &Reschedule, ticket: &Ticket, facts: &Facts) -> Result<Plan, Rejection> {
    check::window(&body.window, facts.now)?;
    Ok(Plan::from(TicketEvent::Rescheduled {
        visit_id: check::visit(ticket)?.id,
        window: body.window,
        reason: body.reason.clone(),
    }))
}
