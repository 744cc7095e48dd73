//! Opens an ended ticket again, within the template's window since verification. An invoice that
//! stands is taken back by a credit note.

use chrono::TimeDelta;
use contracts::{command::Reopen, event::TicketEvent, ticket::Ticket};

use super::Plan;
use crate::{Facts, Rejection};

pub(super) fn plan(body: &Reopen, ticket: &Ticket, facts: &Facts) -> Result<Plan, Rejection> {
    let template = facts
        .template
        .as_ref()
        .ok_or_else(|| Rejection::TemplateMissing(ticket.template.clone()))?;
    let verified_at = ticket.verified_at.ok_or(Rejection::Broken {
        what: "when the work was verified",
    })?;
    let window = TimeDelta::hours(template.reopen_window_hours.into());
    match verified_at.checked_add_signed(window) {
        Some(ended_at) if facts.now > ended_at => {
            return Err(Rejection::ReopenWindowOver { ended_at });
        }
        Some(_) | None => {}
    }
    let standing = ticket.invoice.as_ref().filter(|i| i.credit_note.is_none());
    let credit_note = match (standing, &facts.credit_note_number) {
        (None, _) => None,
        (Some(_), Some(number)) => Some(number.clone()),
        (Some(_), None) => {
            return Err(Rejection::Broken {
                what: "the next credit note number",
            });
        }
    };
    Ok(Plan::from(TicketEvent::Reopened {
        reason: body.reason.clone(),
        credit_note,
        next_visit_id: facts.ids.visit,
    }))
}
