//! The customer took the window that is on offer. A window that is over cannot be taken.

use contracts::{command::ConfirmSchedule, event::TicketEvent, ticket::Ticket};

use super::{Plan, check};
use crate::{Facts, Rejection};

pub(super) fn plan(
    ConfirmSchedule {}: &ConfirmSchedule,
    ticket: &Ticket,
    facts: &Facts,
) -> Result<Plan, Rejection> {
    let visit = check::visit(ticket)?;
    let window = visit.window.ok_or(Rejection::Broken {
        what: "the window on offer",
    })?;
    if window.end <= facts.now {
        return Err(Rejection::WindowOver {
            ended_at: window.end,
        });
    }
    Ok(Plan::from(TicketEvent::ScheduleConfirmed {
        visit_id: visit.id,
    }))
}
