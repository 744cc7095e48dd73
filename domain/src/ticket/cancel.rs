//! Calls the job off. A change order that waits for its decision is withdrawn.

use contracts::{command::Cancel, event::TicketEvent, ticket::Ticket};

use super::Plan;
use crate::Effect;

pub(super) fn plan(body: &Cancel, ticket: &Ticket) -> Plan {
    let open = ticket.open_change.as_ref();
    Plan::from(TicketEvent::Cancelled {
        reason: body.reason.clone(),
    })
    .with(open.map(|change| Effect::WithdrawApproval(change.approval_id)))
}
