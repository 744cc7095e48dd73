//! Keeps software from acting on one ticket, whatever its stage, or lets it again.

use contracts::{command::SetTicketAutonomy, event::TicketEvent, ticket::Ticket};

use super::Plan;
use crate::Rejection;

pub(super) fn plan(body: &SetTicketAutonomy, ticket: &Ticket) -> Result<Plan, Rejection> {
    if body.opt_out == ticket.autonomy_opt_out {
        return Err(Rejection::invalid(
            "/opt_out",
            "is what the ticket has already",
        ));
    }
    Ok(Plan::from(TicketEvent::AutonomySet {
        opt_out: body.opt_out,
        reason: body.reason.clone(),
    }))
}
