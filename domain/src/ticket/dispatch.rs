//! Sends a technician: in the confirmed window, or straight from triage where the template allows
//! it. The window may have begun or be over: being late is no reason to send nobody.

use contracts::{command::Dispatch, event::TicketEvent, ticket::Ticket};

use super::{Plan, check};
use crate::{Facts, Rejection};

pub(super) fn plan(body: &Dispatch, ticket: &Ticket, facts: &Facts) -> Result<Plan, Rejection> {
    check::known(facts.technician_known, "/technician_id", "technician")?;
    check::eta(body.eta, facts.now)?;
    Ok(Plan::from(TicketEvent::Dispatched {
        visit_id: check::visit(ticket)?.id,
        technician_id: body.technician_id,
        eta: body.eta,
    }))
}
