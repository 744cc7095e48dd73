//! The work is done. Which evidence that takes is the template's business: policy checks it.

use contracts::{command::Complete, event::TicketEvent, ticket::Ticket};

use super::{Plan, check};
use crate::Rejection;

pub(super) fn plan(body: &Complete, ticket: &Ticket) -> Result<Plan, Rejection> {
    check::evidence(&body.evidence)?;
    Ok(Plan::from(TicketEvent::Completed {
        visit_id: check::visit(ticket)?.id,
        evidence: body.evidence.clone(),
    }))
}
