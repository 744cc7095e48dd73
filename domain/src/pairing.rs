//! Compares what a person did with what software had proposed.
//!
//! Shadow mode earns trust by these pairs: each open proposal of a kind is paired with the first
//! act of that kind, once. Only people and the systems they configured count; software that
//! agreed with itself would prove nothing. The arrival time that a technician promises is not
//! compared: the choice is who goes.

use contracts::{
    event::TicketEvent,
    proposal::{Advice, Choice, PairingOutcome, ProposalKind},
};

use crate::{Effect, Facts};

/// The pairs that an event makes: an event for readers and a row for each open proposal.
pub(crate) fn pair(event: &TicketEvent, facts: &Facts) -> Vec<(TicketEvent, Effect)> {
    let Some(act) = Act::of(event) else {
        return Vec::new();
    };
    if facts.actor_kind.is_autonomous() {
        return Vec::new();
    }
    let open = facts.open_proposals.iter();
    open.filter(|proposal| proposal.kind == act.kind())
        .map(|proposal| {
            let (id, outcome) = (proposal.id, act.compare(&proposal.advice));
            let event = TicketEvent::ProposalPaired {
                proposal_id: id,
                outcome,
            };
            (event, Effect::PairProposal { id, outcome })
        })
        .collect()
}

/// What a person did, as far as an advisor has an opinion about it.
enum Act<'a> {
    Triage(&'a contracts::TemplateId, contracts::Priority),
    Dispatch(contracts::TechnicianId),
}

impl<'a> Act<'a> {
    fn of(event: &'a TicketEvent) -> Option<Self> {
        match event {
            TicketEvent::Triaged {
                template, priority, ..
            } => Some(Self::Triage(template, *priority)),
            TicketEvent::Dispatched { technician_id, .. } => Some(Self::Dispatch(*technician_id)),
            _ => None,
        }
    }

    const fn kind(&self) -> ProposalKind {
        match self {
            Self::Triage(..) => ProposalKind::Triage,
            Self::Dispatch(_) => ProposalKind::Technician,
        }
    }

    fn compare(&self, advice: &Advice) -> PairingOutcome {
        match advice.ranked.iter().position(|r| self.is(&r.choice)) {
            Some(0) => PairingOutcome::Same,
            Some(_) => PairingOutcome::Alternative,
            None => PairingOutcome::Different,
        }
    }

    fn is(&self, choice: &Choice) -> bool {
        match (self, choice) {
            (
                Self::Triage(template, priority),
                Choice::Triage {
                    template: t,
                    priority: p,
                },
            ) => *template == t && priority == p,
            (Self::Dispatch(technician), Choice::Dispatch { technician_id, .. }) => {
                technician == technician_id
            }
            (Self::Triage(..), Choice::Dispatch { .. })
            | (Self::Dispatch(_), Choice::Triage { .. }) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use contracts::{
        ActorKind, Priority,
        command::RecordProposal,
        event::TicketEvent,
        proposal::{AdvisorInput, Choice, PairingOutcome, Ranked},
    };

    use crate::{Effect, testing::*};

    fn proposed(choices: Vec<Choice>) -> RecordProposal {
        let mut advice = no_advice();
        advice.ranked = choices
            .into_iter()
            .map(|choice| Ranked {
                choice,
                score: 0,
                factors: Vec::new(),
            })
            .collect();
        RecordProposal {
            based_on_version: 1,
            applied_seq: 1,
            input: AdvisorInput::Triage(triage_input(1)),
            advice,
        }
    }

    fn triage_as(priority: Priority) -> Choice {
        Choice::Triage {
            template: glass().id,
            priority,
        }
    }

    fn outcomes(decided: &crate::Decided) -> Vec<PairingOutcome> {
        let told = decided.changes.iter().filter_map(|c| match c.event {
            TicketEvent::ProposalPaired { outcome, .. } => Some(outcome),
            _ => None,
        });
        let told: Vec<_> = told.collect();
        let kept = decided.effects.iter().filter_map(|effect| match effect {
            Effect::PairProposal { outcome, .. } => Some(*outcome),
            _ => None,
        });
        assert_eq!(told, kept.collect::<Vec<_>>());
        told
    }

    #[test]
    fn a_persons_act_is_the_recommended_one_an_alternative_or_another() {
        for (done, outcome) in [
            (Priority::P2, PairingOutcome::Same),
            (Priority::P1, PairingOutcome::Alternative),
            (Priority::P4, PairingOutcome::Different),
        ] {
            let mut desk = Desk::after([create()]);
            desk.run(proposed(vec![
                triage_as(Priority::P2),
                triage_as(Priority::P1),
            ]));
            let decided = desk.run(triage(done));
            assert_eq!(outcomes(&decided), [outcome]);
            assert_eq!(desk.ticket().version, 2, "pairing is bookkeeping");
            assert!(outcomes(&desk.run(triage(done))).is_empty(), "paired once");
        }
    }

    #[test]
    fn another_template_is_another_act() {
        let mut desk = Desk::after([create()]);
        desk.run(proposed(vec![Choice::Triage {
            template: door().id,
            priority: Priority::P2,
        }]));
        let decided = desk.run(triage(Priority::P2));
        assert_eq!(outcomes(&decided), [PairingOutcome::Different]);
    }

    #[test]
    fn only_proposals_of_the_acts_kind_are_paired() {
        let mut desk = Desk::after([create()]);
        desk.run(proposed(vec![triage_as(Priority::P1)]));
        desk.run(proposed(vec![triage_as(Priority::P2)]));
        desk.open_proposals[1].kind = contracts::proposal::ProposalKind::Technician;
        desk.open_proposals[1].advice.ranked[0].choice = Choice::Dispatch {
            technician_id: technician(7),
            eta: monday(),
        };
        let decided = desk.run(triage(Priority::P1));
        assert_eq!(outcomes(&decided), [PairingOutcome::Same]);
        let decided = desk.run(dispatch());
        assert_eq!(outcomes(&decided), [PairingOutcome::Same]);
    }

    #[test]
    fn software_that_agrees_with_itself_proves_nothing() {
        for (actor, pairs) in [
            (ActorKind::Person, 1),
            (ActorKind::Integration, 1),
            (ActorKind::Agent, 0),
            (ActorKind::Workflow, 0),
        ] {
            let mut desk = Desk::after([create()]);
            desk.run(proposed(vec![triage_as(Priority::P1)]));
            let mut facts = desk.facts();
            facts.actor_kind = actor;
            let decided = desk.try_with(&triage(Priority::P1), &facts).unwrap();
            assert_eq!(outcomes(&decided).len(), pairs, "{actor}");
        }
    }
}
