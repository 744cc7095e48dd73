//! Two callers, one broken door: this ticket ends in favour of another one that is open.

use contracts::{TicketState, command::Merge, event::TicketEvent};

use super::{Plan, check};
use crate::{Facts, Rejection, TicketKey};

pub(super) fn plan(key: TicketKey, body: &Merge, facts: &Facts) -> Result<Plan, Rejection> {
    if body.into == key.ticket_id {
        return Err(Rejection::invalid("/into", "must be another ticket"));
    }
    check::known(facts.merge_target.is_some(), "/into", "ticket")?;
    if facts.merge_target.is_some_and(TicketState::is_terminal) {
        return Err(Rejection::invalid("/into", "must be a ticket that is open"));
    }
    Ok(Plan::from(TicketEvent::Merged { into: body.into }))
}
