//! Sets priority and template and adds details; triaging again corrects an earlier triage.
//!
//! Another template brings its own not-to-exceed amount, the same one leaves it alone: an amount
//! that a change order raised is not undone. (A change order needs a visit, so before a triage
//! there is none; the rule keeps it so.)

use contracts::{command::Triage, event::TicketEvent, ticket::Ticket};

use super::{Plan, check};
use crate::{Facts, Rejection};

pub(super) fn plan(body: &Triage, ticket: &Ticket, facts: &Facts) -> Result<Plan, Rejection> {
    let template = match (&facts.template, &body.template) {
        (Some(template), _) => template,
        (None, Some(_)) => {
            return Err(Rejection::invalid(
                "/template",
                "names no template of the active policy bundle",
            ));
        }
        (None, None) => return Err(Rejection::TemplateMissing(ticket.template.clone())),
    };
    let mut details = ticket.details.clone();
    details.extend(body.details.clone());
    check::details(&details)?;
    let nte_cents = if template.id == ticket.template {
        ticket.nte_cents
    } else {
        template.nte_cents
    };
    Ok(Plan::from(TicketEvent::Triaged {
        template: template.id.clone(),
        priority: body.priority,
        details,
        nte_cents,
    }))
}
