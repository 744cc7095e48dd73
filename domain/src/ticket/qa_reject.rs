//! Quality is not good: another visit is opened.

use contracts::{command::QaReject, event::TicketEvent};

use super::Plan;
use crate::{Facts, Rejection};

pub(super) fn plan(body: &QaReject, facts: &Facts) -> Result<Plan, Rejection> {
    if body.reasons.is_empty() {
        return Err(Rejection::invalid(
            "/reasons",
            "must name at least one reason",
        ));
    }
    Ok(Plan::from(TicketEvent::QaRejected {
        reasons: body.reasons.clone(),
        next_visit_id: facts.ids.visit,
    }))
}
