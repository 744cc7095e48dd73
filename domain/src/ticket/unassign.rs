//! Takes the technician off the visit; the window stays, and another technician can be sent.
//!
//! A visit that was sent straight from triage has no window. Its ticket waits for another
//! technician all the same, and the visit is open: nobody confirmed a window. It may be sent again
//! as it is, because its priority, which is what allowed that, cannot change here; or rescheduled
//! to its first window.

use contracts::{command::Unassign, event::TicketEvent, ticket::Ticket};

use super::{Plan, check};
use crate::Rejection;

pub(super) fn plan(body: &Unassign, ticket: &Ticket) -> Result<Plan, Rejection> {
    Ok(Plan::from(TicketEvent::Unassigned {
        visit_id: check::visit(ticket)?.id,
        reason: body.reason.clone(),
    }))
}
