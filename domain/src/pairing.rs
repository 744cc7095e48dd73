//! Compares what a person did with what software had proposed.
//!
//! Shadow mode earns trust by these pairs: each open proposal of a kind is paired with the first
//! act of that kind, once; or with *nothing*, when the ticket leaves the states in which the act
//! was possible. Only people and the systems they configured count; software that agreed with
//! itself would prove nothing. A pair also says whether whoever acted had read the proposal before:
//! agreement with what was read proves less.
//!
//! What is the same, and what comes to the same (*equivalent*), kind by kind. Elsewhere a ranked
//! alternative is equivalent.
//!
//! | kind | the act | same | equivalent |
//! |---|---|---|---|
//! | triage | triage | template and priority | an alternative; another template is another job |
//! | technician | dispatch | who goes; the arrival that is promised does not matter | an alternative |
//! | slot | a window offered, or offered anew | the window | an alternative, or half of the longer of the two shared with the first |
//! | reminder | a message to the customer | sent within half an hour of the moment | an alternative; or the customer answered before the moment, so that waiting was right |
//! | escalation | whatever moves the ticket on before the next deadline | by somebody with the role | by somebody else |
//! | change decision | the decision | the verdict | never: yes and no are not alike |
//! | closeout | verify, reject | the act, for the same reasons | rejected for other reasons |
//! | invoice lines | the invoice | the lines | an alternative; or the same items for a sum within 2 % |

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use contracts::{
    Priority, Slug, TechnicianId, TemplateId, TicketState,
    approval::Verdict,
    comms::Purpose,
    event::TicketEvent,
    proposal::{Choice, PairingOutcome, ProposalKind},
    schedule::TimeWindow,
    ticket::{InvoiceLine, Ticket},
};

use crate::{Effect, Facts, OpenProposal};

/// A reminder is meant for a moment; so far from it is still it.
const ABOUT: TimeDelta = TimeDelta::minutes(30);
/// Two invoices over the same items are alike when their sums differ by at most this.
const ALIKE_PERCENT: i128 = 2;

/// The pairs that an event makes: an event for readers and a row for each open proposal.
pub(crate) fn pair(
    event: &TicketEvent,
    before: Option<&Ticket>,
    after: &Ticket,
    facts: &Facts,
) -> Vec<(TicketEvent, Effect)> {
    if facts.actor_kind.is_autonomous() {
        return Vec::new();
    }
    let step = Step {
        act: Act::of(event, facts),
        before,
        after,
        facts,
    };
    let open = facts.open_proposals.iter();
    open.filter_map(|proposal| {
        let (proposal_id, outcome) = (proposal.id, step.outcome(proposal)?);
        let seen = proposal.seen;
        let event = TicketEvent::ProposalPaired {
            proposal_id,
            outcome,
            seen,
        };
        let effect = Effect::PairProposal {
            id: proposal_id,
            outcome,
            seen,
        };
        Some((event, effect))
    })
    .collect()
}

/// Whether the act that a proposal is about can still come.
fn is_open(kind: ProposalKind, ticket: &Ticket) -> bool {
    use TicketState::*;
    let state = ticket.state;
    match kind {
        ProposalKind::Triage => matches!(state, New | Triaged),
        ProposalKind::Slot => matches!(state, New | Triaged | ReturnPending),
        ProposalKind::Technician => matches!(state, New | Triaged | Scheduled),
        ProposalKind::Reminder => ticket.customer_wait.is_some() || state == ScheduleProposed,
        ProposalKind::Escalation => !state.is_terminal(),
        ProposalKind::ChangeDecision => state == ChangeRequested,
        ProposalKind::Closeout => state == WorkComplete,
        ProposalKind::InvoiceLines => state == Verified,
    }
}

/// What happened, seen from a proposal.
struct Step<'a> {
    act: Option<Act<'a>>,
    before: Option<&'a Ticket>,
    after: &'a Ticket,
    facts: &'a Facts,
}

impl Step<'_> {
    /// How it compares; `None` while the act can still come.
    fn outcome(&self, proposal: &OpenProposal) -> Option<PairingOutcome> {
        if proposal.kind == ProposalKind::Escalation {
            return self.escalation(proposal);
        }
        match &self.act {
            Some(act) if act.kind() == proposal.kind => Some(act.compare(proposal)),
            _ => (!is_open(proposal.kind, self.after)).then_some(PairingOutcome::Nothing),
        }
    }

    /// No act is called escalating: what counts is that the ticket moves on in time.
    fn escalation(&self, proposal: &OpenProposal) -> Option<PairingOutcome> {
        if self.after.state == TicketState::Cancelled {
            return Some(PairingOutcome::Nothing);
        }
        let before = self.before?;
        let best = proposal.advice.best();
        let Some(Choice::Escalate {
            to,
            about,
            before: deadline,
        }) = best
        else {
            return (!is_open(proposal.kind, self.after)).then_some(PairingOutcome::Nothing);
        };
        let runs = self.after.sla.iter().any(|clock| {
            clock.name == about.clock
                && clock.revision == about.revision
                && clock.due_at().is_some()
        });
        let moved =
            before.state != self.after.state || self.after.priority < before.priority || !runs;
        if !moved {
            return None;
        }
        let in_time = deadline.is_none_or(|deadline| self.facts.now < deadline);
        Some(match (in_time, self.facts.actor_roles.contains(to)) {
            (true, true) => PairingOutcome::Same,
            (true, false) => PairingOutcome::Equivalent,
            (false, _) => PairingOutcome::Nothing,
        })
    }
}

/// What a person did, as far as an advisor has an opinion about it.
enum Act<'a> {
    Triage(&'a TemplateId, Priority),
    Dispatch(TechnicianId),
    Offer(TimeWindow),
    Remind(DateTime<Utc>),
    /// The customer did their part, reminded or not.
    Answer(DateTime<Utc>),
    DecideChange(Verdict),
    Verify,
    Reject(&'a [Slug]),
    Charge(&'a [InvoiceLine]),
}

impl<'a> Act<'a> {
    fn of(event: &'a TicketEvent, facts: &Facts) -> Option<Self> {
        match event {
            TicketEvent::Triaged {
                template, priority, ..
            } => Some(Self::Triage(template, *priority)),
            TicketEvent::Dispatched { technician_id, .. } => Some(Self::Dispatch(*technician_id)),
            TicketEvent::ScheduleProposed { window, .. }
            | TicketEvent::Rescheduled { window, .. } => Some(Self::Offer(*window)),
            TicketEvent::MessageQueued {
                purpose: Purpose::Conversation,
                due_at,
                ..
            } => Some(Self::Remind(*due_at)),
            TicketEvent::ScheduleConfirmed { .. } | TicketEvent::CustomerResumed {} => {
                Some(Self::Answer(facts.now))
            }
            TicketEvent::ChangeDecided { verdict, .. } => Some(Self::DecideChange(*verdict)),
            TicketEvent::Verified {} => Some(Self::Verify),
            TicketEvent::QaRejected { reasons, .. } => Some(Self::Reject(reasons)),
            TicketEvent::Invoiced { invoice } => Some(Self::Charge(&invoice.lines)),
            _ => None,
        }
    }

    const fn kind(&self) -> ProposalKind {
        match self {
            Self::Triage(..) => ProposalKind::Triage,
            Self::Dispatch(_) => ProposalKind::Technician,
            Self::Offer(_) => ProposalKind::Slot,
            Self::Remind(_) | Self::Answer(_) => ProposalKind::Reminder,
            Self::DecideChange(_) => ProposalKind::ChangeDecision,
            Self::Verify | Self::Reject(_) => ProposalKind::Closeout,
            Self::Charge(_) => ProposalKind::InvoiceLines,
        }
    }

    fn compare(&self, proposal: &OpenProposal) -> PairingOutcome {
        let ranked = &proposal.advice.ranked;
        let best = proposal.advice.best();
        match (self, best) {
            // Nobody was reminded. That was right as long as the moment had not come.
            (Self::Answer(now), Some(Choice::Remind { at, .. })) if now <= at => {
                PairingOutcome::Equivalent
            }
            (Self::Answer(_), _) => PairingOutcome::Nothing,
            (_, best) => match ranked.iter().position(|r| self.is(&r.choice)) {
                Some(0) => PairingOutcome::Same,
                Some(_) if !matches!(self, Self::DecideChange(_)) => PairingOutcome::Equivalent,
                _ if best.is_some_and(|best| self.is_like(best)) => PairingOutcome::Equivalent,
                _ => PairingOutcome::Different,
            },
        }
    }

    /// Whether it is what was proposed.
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
            (Self::Offer(offered), Choice::ProposeWindow { window }) => offered == window,
            (Self::Remind(due_at), Choice::Remind { at, .. }) => (*due_at - *at).abs() <= ABOUT,
            (Self::DecideChange(decided), Choice::DecideChange { verdict }) => decided == verdict,
            (Self::Verify, Choice::Verify) => true,
            (Self::Reject(named), Choice::Reject { reasons }) => {
                let set = |slugs: &[Slug]| slugs.iter().cloned().collect::<BTreeSet<_>>();
                set(named) == set(reasons)
            }
            (Self::Charge(charged), Choice::Invoice { lines }) => sorted(charged) == sorted(lines),
            _ => false,
        }
    }

    /// Whether it comes to the same as what was recommended.
    fn is_like(&self, best: &Choice) -> bool {
        match (self, best) {
            (Self::Offer(offered), Choice::ProposeWindow { window }) => {
                let shared = offered.end.min(window.end) - offered.start.max(window.start);
                let longer = (offered.end - offered.start).max(window.end - window.start);
                shared > TimeDelta::zero() && shared * 2 >= longer
            }
            (Self::Reject(_), Choice::Reject { .. }) => true,
            (Self::Charge(charged), Choice::Invoice { lines }) => {
                let (ours, theirs) = (sum(lines), sum(charged));
                items(charged) == items(lines)
                    && (ours - theirs).abs() * 100 <= ours * ALIKE_PERCENT
            }
            _ => false,
        }
    }
}

fn sorted(lines: &[InvoiceLine]) -> Vec<(&Slug, u32, i64)> {
    let mut sorted: Vec<_> = lines
        .iter()
        .map(|line| (&line.item, line.quantity, line.unit_cents))
        .collect();
    sorted.sort();
    sorted
}

fn items(lines: &[InvoiceLine]) -> BTreeSet<&Slug> {
    lines.iter().map(|line| &line.item).collect()
}

fn sum(lines: &[InvoiceLine]) -> i128 {
    let amount = |line: &InvoiceLine| i128::from(line.unit_cents) * i128::from(line.quantity);
    lines.iter().map(amount).sum()
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
            (Priority::P1, PairingOutcome::Equivalent),
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
