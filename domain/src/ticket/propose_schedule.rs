//! Offers the customer a window for the current visit; a further offer replaces the one before.

use contracts::{command::ProposeSchedule, event::TicketEvent, ticket::Ticket};

use super::{Plan, check};
use crate::{Facts, Rejection};

pub(super) fn plan(
    body: &ProposeSchedule,
    ticket: &Ticket,
    facts: &Facts,
) -> Result<Plan, Rejection> {
    check::window(&body.window, facts.now)?;
    Ok(Plan::from(TicketEvent::ScheduleProposed {
        visit_id: check::visit(ticket)?.id,
        window: body.window,
    }))
}
