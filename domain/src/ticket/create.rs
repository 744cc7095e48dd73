//! Opens a ticket with its first visit. Its SLA clocks start now.

use contracts::{command::CreateTicket, event::TicketEvent};

use super::{Plan, check};
use crate::{Effect, Facts, Rejection};

pub(super) fn plan(body: &CreateTicket, facts: &Facts) -> Result<Plan, Rejection> {
    check::known(facts.site_known, "/site_id", "site")?;
    check::known(facts.asset_known, "/asset_id", "asset")?;
    check::known(facts.contact_known, "/contact_id", "contact")?;
    let template = facts.template.as_ref().ok_or_else(|| {
        Rejection::invalid("/template", "names no template of the active policy bundle")
    })?;
    check::details(&body.details)?;
    let note_id = body.description.is_some().then_some(facts.ids.note);
    let event = TicketEvent::Created {
        site_id: body.site_id,
        asset_id: body.asset_id,
        contact_id: body.contact_id,
        template: template.id.clone(),
        priority: body.priority.unwrap_or(template.default_priority),
        details: body.details.clone(),
        nte_cents: template.nte_cents,
        visit_id: facts.ids.visit,
        note_id,
    };
    let note = body.description.clone().map(|text| Effect::WriteNote {
        id: facts.ids.note,
        text,
    });
    Ok(Plan::from(event).with(note))
}
