//! Keeps what software would have done, with all that it looked at.
//!
//! Advice about an older version is kept too: a person who was faster than the advisor is no
//! reason to lose it. But an advisor's newer word, about the same version or a newer one, takes the
//! place of its older one, which then met no act: so at most one proposal of an advisor waits for its
//! act, however often it is asked, and a command never has to look through a pile of them.
//! (Escalations stand each for its own broken promise.) Only who recorded a proposal replaces it: what
//! an agent calls its advisor is its own affair, and must not take the workflow's evidence away.

use contracts::{
    command::RecordProposal,
    event::TicketEvent,
    proposal::{PairingOutcome, ProposalKind},
    ticket::Ticket,
};

use super::{Plan, check};
use crate::{Acting, Effect, Facts, Rejection};

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
    let acting = Acting {
        at: facts.now,
        kind: facts.actor_kind,
        roles: &facts.actor_roles,
    };
    let replaced = facts.open_proposals.iter().filter(|open| {
        // What the record itself ends, because its time is over, is not ended twice.
        let ends = crate::paired(&event, Some(ticket), ticket, acting, open).is_some();
        !ends
            && open.kind == kind
            && kind != ProposalKind::Escalation
            && open.advice.advisor == body.advice.advisor
            && open.by.as_ref() == Some(&facts.actor_id)
            && open.based_on_version <= body.based_on_version
    });
    let plan = Plan::from(event.clone());
    let plan = replaced.fold(plan, |plan, open| {
        let (id, outcome, seen) = (open.id, PairingOutcome::Nothing, open.seen);
        plan.and(TicketEvent::ProposalPaired {
            proposal_id: id,
            outcome,
            seen,
        })
        .with([Effect::PairProposal { id, outcome, seen }])
    });
    Ok(plan.with([Effect::RecordProposal {
        id: facts.ids.proposal,
        kind,
        based_on_version: body.based_on_version,
        input: Box::new(body.input.clone()),
        advice: body.advice.clone(),
    }]))
}

#[cfg(test)]
mod tests {
    use contracts::{command::CustomerAwait, proposal::AdvisorInput};

    use super::*;
    use crate::testing::*;

    fn advised(version: u64) -> RecordProposal {
        let input = AdvisorInput::Triage(triage_input(version));
        RecordProposal {
            based_on_version: version,
            applied_seq: version,
            advice: crate::advise(&input),
            input,
        }
    }

    #[test]
    fn a_newer_word_takes_the_place_of_the_older_one() {
        let mut desk = Desk::after([create()]);
        desk.run(advised(1));
        desk.run(CustomerAwait {
            reason: slug("key"),
        });
        let older = desk.open_proposals[0].id;
        let decided = desk.run(advised(2));
        assert!(decided.effects.contains(&Effect::PairProposal {
            id: older,
            outcome: PairingOutcome::Nothing,
            seen: false,
        }));
        assert_eq!(desk.open_proposals.len(), 1);
        assert_eq!(desk.open_proposals[0].based_on_version, 2);
        // Nor does the same word twice count twice.
        let first = desk.open_proposals[0].id;
        let again = desk.run(advised(2));
        assert!(again.effects.contains(&Effect::PairProposal {
            id: first,
            outcome: PairingOutcome::Nothing,
            seen: false,
        }));
        assert_eq!(desk.open_proposals.len(), 1);
        // A late word about an older version takes nobody's place.
        let late = desk.run(advised(1));
        assert_eq!(late.changes.len(), 1);
    }

    #[test]
    fn nobody_takes_the_place_of_what_another_recorded() {
        let mut desk = Desk::after([create()]);
        desk.run(advised(1));
        let command = advised(1).into();
        let mut facts = desk.facts();
        facts.actor_id = "agt_of_the_same_name".to_owned();
        let theirs = desk.try_with(&command, &facts).unwrap();
        assert_eq!(theirs.changes.len(), 1, "{theirs:?}");
        assert_eq!(desk.open_proposals.len(), 2);
        // Their own they replace.
        let ids = desk.facts().ids;
        let again = Facts {
            ids,
            open_proposals: desk.open_proposals.clone(),
            ..facts
        };
        let again = desk.try_with(&command, &again).unwrap();
        assert_eq!(again.changes.len(), 2, "{again:?}");
        assert_eq!(desk.open_proposals.len(), 2);
    }
}
