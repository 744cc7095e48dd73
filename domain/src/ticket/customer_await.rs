//! The customer has to do something first: all clocks pause.

use contracts::{command::CustomerAwait, event::TicketEvent};

use super::Plan;

pub(super) fn plan(body: &CustomerAwait) -> Plan {
    Plan::from(TicketEvent::CustomerAwaited {
        reason: body.reason.clone(),
    })
}
