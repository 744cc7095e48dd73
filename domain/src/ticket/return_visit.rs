//! Made safe for now: the visit ends, and the next one, for which parts are ordered, is opened.

use contracts::{command::ReturnVisit, event::TicketEvent, ticket::Ticket};

use super::{Plan, check};
use crate::{Facts, Rejection};

pub(super) fn plan(body: &ReturnVisit, ticket: &Ticket, facts: &Facts) -> Result<Plan, Rejection> {
    for (i, part) in body.parts.iter().enumerate() {
        check::within(part.quantity, (1, 10_000), || {
            format!("/parts/{i}/quantity")
        })?;
    }
    check::evidence(&body.evidence)?;
    Ok(Plan::from(TicketEvent::ReturnNeeded {
        visit_id: check::visit(ticket)?.id,
        reason: body.reason.clone(),
        parts: body.parts.clone(),
        evidence: body.evidence.clone(),
        next_visit_id: facts.ids.visit,
    }))
}
