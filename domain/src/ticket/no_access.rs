//! Nobody could get in: the visit ends and the next one is opened.

use contracts::{command::NoAccess, event::TicketEvent, ticket::Ticket};

use super::{Plan, check};
use crate::{Facts, Rejection};

pub(super) fn plan(body: &NoAccess, ticket: &Ticket, facts: &Facts) -> Result<Plan, Rejection> {
    Ok(Plan::from(TicketEvent::NoAccess {
        visit_id: check::visit(ticket)?.id,
        reason: body.reason.clone(),
        next_visit_id: facts.ids.visit,
    }))
}
