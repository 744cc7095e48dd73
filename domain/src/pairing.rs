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
    ActorKind, Priority, Role, Slug, TechnicianId, TemplateId, TicketState,
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

/// Who acted, and when: all that a pair depends on besides the event and the ticket.
#[derive(Debug, Clone, Copy)]
pub struct Acting<'a> {
    /// When.
    pub at: DateTime<Utc>,
    /// What sort of actor.
    pub kind: ActorKind,
    /// What the actor may do.
    pub roles: &'a [Role],
}

/// How an event compares with one open proposal; `None` while the act that it is about can still
/// come, and for what software did.
pub fn paired(
    event: &TicketEvent,
    before: Option<&Ticket>,
    after: &Ticket,
    acting: Acting<'_>,
    proposal: &OpenProposal,
) -> Option<PairingOutcome> {
    if acting.kind.is_autonomous() {
        return None;
    }
    let step = Step {
        act: Act::of(event, acting.at),
        before,
        after,
        acting,
    };
    step.outcome(proposal)
}

/// The pairs that an event makes: an event for readers and a row for each open proposal.
pub(crate) fn pair(
    event: &TicketEvent,
    before: Option<&Ticket>,
    after: &Ticket,
    facts: &Facts,
) -> Vec<(TicketEvent, Effect)> {
    let acting = Acting {
        at: facts.now,
        kind: facts.actor_kind,
        roles: &facts.actor_roles,
    };
    let open = facts.open_proposals.iter();
    open.filter_map(|proposal| {
        let outcome = paired(event, before, after, acting, proposal)?;
        let (proposal_id, seen) = (proposal.id, proposal.seen);
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
    acting: Acting<'a>,
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
        let in_time = deadline.is_none_or(|deadline| self.acting.at < deadline);
        Some(match (in_time, self.acting.roles.contains(to)) {
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
    fn of(event: &'a TicketEvent, now: DateTime<Utc>) -> Option<Self> {
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
                Some(Self::Answer(now))
            }
            // They said yes, whatever came of it.
            TicketEvent::ChangeDecided { void: true, .. } => {
                Some(Self::DecideChange(Verdict::Approve))
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
    use chrono::TimeDelta;
    use contracts::{
        ActorKind, Command, ContactId, FreeText, Priority, Role,
        approval::Verdict,
        command::{
            Cancel, Close, CommsOutbound, DecideApproval, ProposeSchedule, QaReject, RecordProposal,
        },
        comms::Channel,
        event::{TicketEvent, WaitingFor},
        proposal::{AdvisorInput, Choice, PairingOutcome, Ranked},
        schedule::TimeWindow,
        sla::{SlaRecordKey, SlaRecordKind},
        ticket::InvoiceLine,
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
        desk.run(proposed(vec![triage_as(Priority::P2)]));
        desk.open_proposals[0].kind = contracts::proposal::ProposalKind::Technician;
        desk.open_proposals[0].advice.ranked[0].choice = Choice::Dispatch {
            technician_id: technician(7),
            eta: monday(),
        };
        desk.run(proposed(vec![triage_as(Priority::P1)]));
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

    /// The desk keeps what is proposed; what it is about is put right by the caller.
    fn about(desk: &mut Desk, choices: Vec<Choice>) {
        let kind = choices[0].kind();
        desk.run(proposed(vec![triage_as(Priority::P1)]));
        let kept = desk.open_proposals.last_mut().unwrap();
        kept.kind = kind;
        kept.advice.ranked = choices
            .into_iter()
            .map(|choice| Ranked {
                choice,
                score: 0,
                factors: Vec::new(),
            })
            .collect();
    }

    fn act_on(
        mut desk: Desk,
        choices: Vec<Choice>,
        act: impl Into<Command>,
    ) -> Vec<PairingOutcome> {
        about(&mut desk, choices);
        outcomes(&desk.run(act))
    }

    fn scheduled() -> Desk {
        Desk::after([create(), triage(Priority::P2)])
    }

    fn complete_work() -> Desk {
        let mut desk = on_site();
        desk.run(complete());
        desk
    }

    use PairingOutcome::{Different, Equivalent, Nothing, Same};

    #[test]
    fn a_window_is_alike_when_half_of_the_longer_is_shared() {
        let hours = |from, to| TimeWindow {
            start: monday() + TimeDelta::hours(from),
            end: monday() + TimeDelta::hours(to),
        };
        let choice = |window| Choice::ProposeWindow { window };
        let best = hours(24, 26);
        for (offered, outcome) in [
            (best, Same),
            (hours(48, 50), Equivalent),
            (hours(25, 27), Equivalent),
            (hours(24, 28), Equivalent),
            (hours(24, 29), Different),
            (hours(26, 28), Different),
        ] {
            let act = ProposeSchedule { window: offered };
            let choices = vec![choice(best), choice(hours(48, 50))];
            assert_eq!(act_on(scheduled(), choices, act), [outcome], "{offered:?}");
        }
        // Sent at once: no window was offered.
        let urgent = Desk::after([create(), triage(Priority::P1)]);
        assert_eq!(act_on(urgent, vec![choice(best)], dispatch()), [Nothing]);
    }

    #[test]
    fn a_reminder_is_the_message_or_the_answer_that_made_it_unneeded() {
        let offered = || {
            let mut desk = scheduled();
            desk.run(propose());
            desk
        };
        let now = offered().now;
        let remind = |minutes| Choice::Remind {
            about: WaitingFor::Confirmation,
            contact_id: ContactId::from_uuid(uuid(5)),
            at: now + TimeDelta::minutes(minutes),
        };
        let message = || CommsOutbound {
            ticket_id: key().ticket_id,
            contact_id: ContactId::from_uuid(uuid(5)),
            channel: Channel::Sms,
            text: FreeText::new("Does it suit you?").unwrap(),
            send_at: None,
            only_while: None,
        };
        for (minutes, told, answered) in [
            (20, Same, Equivalent),
            (-20, Same, Nothing),
            (90, Different, Equivalent),
        ] {
            assert_eq!(act_on(offered(), vec![remind(minutes)], message()), [told]);
            assert_eq!(
                act_on(offered(), vec![remind(minutes)], confirm()),
                [answered]
            );
        }
        let ranked = vec![remind(90), remind(0)];
        assert_eq!(act_on(offered(), ranked, message()), [Equivalent]);
    }

    #[test]
    fn yes_and_no_are_not_alike() {
        let asked = || {
            let mut desk = on_site();
            desk.run(request_change(1_000));
            desk
        };
        let choice = |verdict| Choice::DecideChange { verdict };
        let both = || vec![choice(Verdict::Approve), choice(Verdict::Reject)];
        for (verdict, outcome) in [(Verdict::Approve, Same), (Verdict::Reject, Different)] {
            let desk = asked();
            let act = DecideApproval {
                approval_id: desk.approval().id,
                verdict,
                reason: Some(slug("looked_at")),
                version: None,
            };
            assert_eq!(act_on(desk, both(), act), [outcome]);
        }
        let cancel = Cancel {
            reason: slug("called_off"),
        };
        assert_eq!(act_on(asked(), both(), cancel), [Nothing]);
    }

    #[test]
    fn work_is_verified_or_rejected_for_the_same_reasons_or_for_others() {
        let reject = |reasons: &[&str]| QaReject {
            reasons: reasons.iter().map(|r| slug(r)).collect(),
        };
        let advised = |reasons: &[&str]| Choice::Reject {
            reasons: reasons.iter().map(|r| slug(r)).collect(),
        };
        let of = |choice, act: Command| act_on(complete_work(), vec![choice], act);
        assert_eq!(of(Choice::Verify, verify()), [Same]);
        assert_eq!(of(Choice::Verify, reject(&["dirt"]).into()), [Different]);
        let two = ["missing_signature", "dirt"];
        assert_eq!(
            of(advised(&two), reject(&["dirt", "missing_signature"]).into()),
            [Same]
        );
        assert_eq!(of(advised(&two), reject(&["dirt"]).into()), [Equivalent]);
        assert_eq!(of(advised(&two), verify()), [Different]);
    }

    #[test]
    fn an_invoice_is_alike_within_two_percent_over_the_same_items() {
        let verified = || {
            let mut desk = complete_work();
            desk.run(verify());
            desk
        };
        let line = |item: &str, unit_cents| InvoiceLine {
            item: slug(item),
            quantity: 2,
            unit_cents,
        };
        let advised = || Choice::Invoice {
            lines: vec![line("labour", 10_000)],
        };
        for (unit_cents, outcome) in [
            (10_000, Same),
            (10_200, Equivalent),
            (9_800, Equivalent),
            (10_201, Different),
        ] {
            assert_eq!(
                act_on(verified(), vec![advised()], invoice(unit_cents)),
                [outcome]
            );
        }
        let other = Choice::Invoice {
            lines: vec![line("call_out", 10_000)],
        };
        assert_eq!(
            act_on(verified(), vec![other], invoice(10_000)),
            [Different]
        );
        let free = Close {
            no_charge_reason: Some(slug("goodwill")),
        };
        assert_eq!(act_on(verified(), vec![advised()], free), [Nothing]);
    }

    #[test]
    fn an_escalation_is_met_by_whatever_moves_the_ticket_on_in_time() {
        let tell = |desk: &Desk, to, minutes| Choice::Escalate {
            to,
            about: SlaRecordKey {
                clock: slug("make_safe"),
                kind: SlaRecordKind::Warning,
                revision: desk.clock("make_safe").revision,
            },
            before: Some(desk.now + TimeDelta::minutes(minutes)),
        };
        for (to, minutes, outcome) in [
            (Role::Dispatcher, 10, Same),
            (Role::AccountManager, 10, Equivalent),
            (Role::Dispatcher, 0, Nothing),
        ] {
            let desk = scheduled();
            let choice = tell(&desk, to, minutes);
            assert_eq!(
                act_on(desk, vec![choice], propose()),
                [outcome],
                "{to:?} {minutes}"
            );
        }
        // More details move nothing on; more urgency does; ending the ticket keeps no promise.
        let mut desk = scheduled();
        let choice = tell(&desk, Role::Dispatcher, 100);
        about(&mut desk, vec![choice]);
        assert_eq!(outcomes(&desk.run(triage(Priority::P2))), []);
        assert_eq!(outcomes(&desk.run(triage(Priority::P1))), [Same]);
        let desk = scheduled();
        let choice = tell(&desk, Role::Dispatcher, 100);
        let cancel = Cancel {
            reason: slug("called_off"),
        };
        assert_eq!(act_on(desk, vec![choice], cancel), [Nothing]);
    }

    #[test]
    fn a_pair_says_whether_whoever_acted_had_read_it() {
        for seen in [true, false] {
            let mut desk = Desk::after([create()]);
            desk.run(proposed(vec![triage_as(Priority::P1)]));
            desk.open_proposals[0].seen = seen;
            let decided = desk.run(triage(Priority::P1));
            let told = decided.changes.iter().find_map(|c| match c.event {
                TicketEvent::ProposalPaired { seen, .. } => Some(seen),
                _ => None,
            });
            let kept = decided.effects.iter().find_map(|effect| match effect {
                Effect::PairProposal { seen, .. } => Some(*seen),
                _ => None,
            });
            assert_eq!((told, kept), (Some(seen), Some(seen)));
        }
    }

    #[test]
    fn advice_that_came_to_nothing_is_paired_with_whatever_was_done() {
        let mut desk = Desk::after([create()]);
        desk.run(proposed(Vec::new()));
        assert_eq!(outcomes(&desk.run(triage(Priority::P1))), [Different]);
    }
}
