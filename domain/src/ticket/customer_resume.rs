//! The customer did what they were awaited for: all clocks go on.

use contracts::{command::CustomerResume, event::TicketEvent};

use super::Plan;

pub(super) fn plan(CustomerResume {}: &CustomerResume) -> Plan {
    Plan::from(TicketEvent::CustomerResumed {})
}
