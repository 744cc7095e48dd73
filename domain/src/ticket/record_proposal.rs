//! Keeps what software would have done, with all that it looked at.
//!
//! Advice about an older version is kept too: a person who was faster than the advisor is no
//! reason to lose it.

use contracts::{command::RecordProposal, event::TicketEvent, ticket::Ticket};

use super::{Plan, check};
use crate::{Effect, Facts, Rejection};

pub(super) fn plan(
    body: &RecordProposal,
    ticket: &Ticket,
    facts: &Facts,
) -> Result<Plan, Rejection> {
    check::not_ahead("applied_seq", body.applied_seq, facts.event_seq)?;
    check::not_ahead("based_on_version", body.based_on_version, ticket.version)?;
    if body.based_on_version == 0 || body.based_on_version != body.input.version() {
        return Err(Rejection::invalid(
            "/based_on_version",
            "must be the version that the advisor looked at, 1 or more",
        ));
    }
    let kind = body.input.kind();
    for (i, ranked) in body.advice.ranked.iter().enumerate() {
        if ranked.choice.kind() != kind {
            return Err(Rejection::invalid(
                format!("/advice/ranked/{i}/choice"),
                format!("must be about what the input is about: {kind}"),
            ));
        }
    }
    let event = TicketEvent::ProposalRecorded {
        proposal_id: facts.ids.proposal,
        kind,
        based_on_version: body.based_on_version,
    };
    Ok(Plan::from(event).with([Effect::RecordProposal {
        id: facts.ids.proposal,
        kind,
        based_on_version: body.based_on_version,
        input: Box::new(body.input.clone()),
        advice: body.advice.clone(),
    }]))
}
