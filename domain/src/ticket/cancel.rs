//! Calls the job off. Approvals that are open are withdrawn, as with every end of a ticket.

use contracts::{command::Cancel, event::TicketEvent};

use super::Plan;

pub(super) fn plan(body: &Cancel) -> Plan {
    Plan::from(TicketEvent::Cancelled {
        reason: body.reason.clone(),
    })
}
