//! Whole days: many tickets at once, one clock that jumps, one series of numbers, one list of
//! open tickets to merge into. What a single ticket's walk cannot show must hold between them too.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use contracts::{
    Command, ErrorCode, Operation, TicketId, TicketState,
    approval::ApprovalState,
    command::{CommandClass, Merge, RecordSla, Triage},
    event::TicketEvent,
    sla::{ClockPhase, SlaRecordKind},
    ticket::Ticket,
};
use proptest::prelude::*;

use super::properties::{
    Step, accepted, approvals_agree, command, operation, refused, sound, step,
};
use crate::{Decided, Facts, TicketKey, evolve, testing::*};

/// A busy day: more calls than this are notes on those that came before.
const MOST_TICKETS: usize = 12;

/// One thing that somebody does, to one of the tickets or to a new one.
#[derive(Debug, Clone)]
struct Act {
    step: Step,
    /// A call that opens a ticket.
    is_new: bool,
    /// The usual next step rather than what the step picks, or a day would end before lunch.
    is_usual: bool,
    which: prop::sample::Index,
    /// The other ticket of a merge.
    into: prop::sample::Index,
    /// The clock of a server is set back now and then.
    back_seconds: i64,
}

fn act() -> impl Strategy<Value = Act> {
    let back_seconds = prop_oneof![9 => Just(0_i64), 1 => 1..7200_i64];
    let parts = (
        step(),
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.5),
        any::<prop::sample::Index>(),
        any::<prop::sample::Index>(),
        back_seconds,
    );
    parts.prop_map(|(step, is_new, is_usual, which, into, back_seconds)| Act {
        step,
        is_new,
        is_usual,
        which,
        into,
        back_seconds,
    })
}

/// What the tenant has at the moment.
struct Shop {
    desks: Vec<Desk>,
    now: chrono::DateTime<chrono::Utc>,
    /// The next invoice and the next credit note.
    next: [u64; 2],
    /// Numbers that were given out.
    numbers: Vec<String>,
    seen: BTreeMap<&'static str, usize>,
}

impl Shop {
    fn opens() -> Self {
        Self {
            desks: Vec::new(),
            now: monday(),
            next: [1, 1],
            numbers: Vec::new(),
            seen: BTreeMap::new(),
        }
    }

    fn passes(&mut self, act: &Act) {
        // Tickets share the time: what is a pause for one is a moment for all of them.
        self.now += TimeDelta::minutes(act.step.minutes / 8);
        self.now -= TimeDelta::seconds(act.back_seconds);
        for desk in &mut self.desks {
            desk.now = self.now;
        }
    }

    fn happens(&mut self, act: &Act) {
        self.passes(act);
        if self.desks.is_empty() || (act.is_new && self.desks.len() < MOST_TICKETS) {
            let ticket_id = TicketId::from_uuid(uuid(90_000 + self.desks.len() as u128));
            let mut desk = Desk::of(TicketKey { ticket_id, ..key() });
            desk.now = self.now;
            self.desks.push(desk);
            self.does(self.desks.len() - 1, create());
            return;
        }
        let which = act.which.index(self.desks.len());
        let desk = &self.desks[which];
        let picked = match act.is_usual {
            true => usual(desk.ticket().state),
            false => operation(desk, &act.step.pick),
        };
        let other = match act.step.variant {
            unknown if unknown.is_multiple_of(16) => TicketId::from_uuid(uuid(unknown.into())),
            _ => self.desks[act.into.index(self.desks.len())].key.ticket_id,
        };
        let intended = match picked {
            Operation::Merge => Merge { into: other }.into(),
            _ => command(desk, picked, act.step.variant),
        };
        self.does(which, intended);
        self.promises(which);
    }

    /// The facts as one database of all tickets gives them.
    fn facts(&mut self, which: usize, command: &Command) -> Facts {
        let mut facts = self.desks[which].facts_for(command);
        if let Command::Triage(Triage {
            template: Some(template),
            ..
        }) = command
        {
            facts.template = [glass(), door()].into_iter().find(|t| t.id == *template);
        }
        if let Command::Merge(Merge { into }) = command {
            facts.merge_target = self.state_of(*into);
        }
        facts.invoice_number = Some(format!("INV-{:06}", self.next[0]));
        facts.credit_note_number = Some(format!("CRN-{:06}", self.next[1]));
        facts
    }

    fn state_of(&self, ticket: TicketId) -> Option<TicketState> {
        let mut desks = self.desks.iter();
        let desk = desks.find(|desk| desk.key.ticket_id == ticket)?;
        desk.ticket.as_ref().map(|ticket| ticket.state)
    }

    fn does(&mut self, which: usize, command: Command) {
        let facts = self.facts(which, &command);
        let desk = &mut self.desks[which];
        let before = desk.ticket.clone();
        match desk.try_with(&command, &facts) {
            Ok(decided) => {
                accepted(desk.key, before.as_ref(), &command, &decided);
                if let Some(before) = &before {
                    went_on(before, &decided.ticket);
                }
                self.counts(&command, &decided);
            }
            Err(rejection) => {
                refused(before.as_ref().expect("created"), &command, &rejection);
                assert_eq!(desk.ticket, before);
            }
        }
        let desk = &self.desks[which];
        sound(desk.ticket());
        one_visit_is_current(desk.ticket());
        let waits = desk.approvals.iter();
        let waits = waits.filter(|a| a.state == ApprovalState::Pending);
        let waits: Vec<_> = waits.map(|approval| approval.id).collect();
        let open = desk.ticket().open_change.iter();
        let open: Vec<_> = open.map(|change| change.approval_id).collect();
        assert_eq!(waits, open);
    }

    fn counts(&mut self, command: &Command, decided: &Decided) {
        let mut see = |what| *self.seen.entry(what).or_default() += 1;
        match &decided.changes[0].event {
            TicketEvent::Invoiced { invoice } => {
                self.next[0] += 1;
                self.numbers.push(invoice.number.clone());
                see("invoiced");
            }
            TicketEvent::Reopened { credit_note, .. } => {
                if let Some(number) = credit_note {
                    self.next[1] += 1;
                    self.numbers.push(number.clone());
                    see("credited");
                }
                see("reopened");
            }
            TicketEvent::Merged { .. } => see("merged"),
            TicketEvent::CustomerResumed {} => see("resumed"),
            TicketEvent::Unassigned { .. } => see("unassigned"),
            TicketEvent::Rescheduled { .. } => see("rescheduled"),
            TicketEvent::NoAccess { .. } => see("no_access"),
            TicketEvent::QaRejected { .. } => see("qa_rejected"),
            TicketEvent::SlaRecorded { .. } => see("recorded"),
            _ => {}
        }
        let changes = command.operation().class() == CommandClass::Change;
        if changes && decided.ticket.visits.len() > 2 {
            see("third_visit");
        }
    }

    /// What the workflow does when a deadline passes: each one is put on record, once.
    fn promises(&mut self, which: usize) {
        let desk = &self.desks[which];
        let passed: Vec<_> = desk
            .ticket()
            .sla
            .iter()
            .filter_map(|clock| match clock.phase {
                ClockPhase::Running { due_at, .. } if due_at <= self.now => {
                    Some((clock.name.clone(), clock.revision, due_at))
                }
                _ => None,
            })
            .collect();
        for (clock, revision, effective_at) in passed {
            let desk = &mut self.desks[which];
            let breach = RecordSla {
                clock,
                kind: SlaRecordKind::Breach,
                revision,
                effective_at,
                applied_seq: desk.seq,
            };
            let known = desk.sla_recorded.len();
            // The desk itself fails on a second record of one promise.
            match desk.attempt(breach.clone()) {
                Ok(_) => assert_eq!(desk.sla_recorded.len(), known + 1),
                Err(rejection) => assert_eq!(rejection.code(), ErrorCode::AlreadyDecided),
            }
            let again = desk.refuse(breach);
            assert_eq!(again.code(), ErrorCode::AlreadyDecided);
        }
    }

    /// The end of the day.
    fn closes(&self) {
        for desk in &self.desks {
            let rebuilt = desk.changes.iter().fold(None, |ticket, change| {
                Some(evolve(desk.key, ticket, change))
            });
            assert_eq!(rebuilt, desk.ticket);
            assert!(desk.seq >= desk.ticket().version, "each version has a seq");
            approvals_agree(desk);
            self.merges_end(desk.ticket());
        }
        let distinct: BTreeSet<_> = self.numbers.iter().collect();
        assert_eq!(distinct.len(), self.numbers.len(), "a number twice");
        let given = (self.next[0] + self.next[1]) as usize - 2;
        assert_eq!(given, self.numbers.len(), "a number was lost");
    }

    /// Whoever follows merges arrives at a ticket that was not merged.
    fn merges_end(&self, ticket: &Ticket) {
        let mut passed = BTreeSet::from([ticket.id]);
        let mut next = ticket.merged_into;
        while let Some(id) = next {
            assert!(passed.insert(id), "merged in a circle: {passed:?}");
            let desk = self.desks.iter().find(|desk| desk.key.ticket_id == id);
            next = desk
                .expect("merged into a ticket that is there")
                .ticket()
                .merged_into;
        }
    }
}

/// What leads a job to its end, and opens it again.
const fn usual(state: TicketState) -> Operation {
    use TicketState::*;
    match state {
        New => Operation::Triage,
        Triaged | ReturnPending => Operation::ProposeSchedule,
        ScheduleProposed => Operation::ConfirmSchedule,
        Scheduled => Operation::Dispatch,
        Dispatched => Operation::CheckIn,
        OnSite => Operation::Complete,
        ChangeRequested => Operation::DecideApproval,
        WorkComplete => Operation::QaVerify,
        Verified => Operation::GenerateInvoice,
        Invoiced => Operation::Close,
        Closed => Operation::Reopen,
        Cancelled => Operation::AddNote,
    }
}

/// What a promise has used up is not given back, and a promise is not un-revised.
fn went_on(before: &Ticket, after: &Ticket) {
    for clock in &before.sla {
        let now = after.sla.iter().find(|now| now.name == clock.name);
        let now = now.expect("a clock is never forgotten");
        assert!(now.revision >= clock.revision, "{clock:?} {now:?}");
        if now.revision == clock.revision {
            assert!(now.used_seconds >= clock.used_seconds, "{clock:?} {now:?}");
            assert_eq!(now.budget_seconds, clock.budget_seconds);
        }
    }
}

/// The last visit is the current one: under way until the work is done or the ticket ends.
fn one_visit_is_current(ticket: &Ticket) {
    use TicketState::*;
    let over = matches!(
        ticket.state,
        WorkComplete | Verified | Invoiced | Closed | Cancelled
    );
    let open: Vec<_> = ticket
        .visits
        .iter()
        .filter(|visit| visit.ended_at.is_none())
        .collect();
    assert_eq!(open.len(), usize::from(!over), "{}", ticket.state);
    assert!(
        open.iter()
            .all(|visit| Some(*visit) == ticket.current_visit())
    );
    let ids: BTreeSet<_> = ticket.visits.iter().map(|visit| visit.id).collect();
    assert_eq!(ids.len(), ticket.visits.len());
}

fn day(acts: &[Act]) -> BTreeMap<&'static str, usize> {
    let mut shop = Shop::opens();
    for act in acts {
        shop.happens(act);
    }
    shop.closes();
    shop.seen
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn whatever_the_day_brings_the_books_are_right(
        acts in prop::collection::vec(act(), 50..400),
    ) {
        day(&acts);
    }
}

/// The property above would pass on days on which nothing happens.
#[test]
fn a_few_days_bring_everything() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let strategy = prop::collection::vec(act(), 600);
    let mut seen = BTreeMap::new();
    for _ in 0..20 {
        let acts = strategy.new_tree(&mut runner).unwrap().current();
        for (what, times) in day(&acts) {
            *seen.entry(what).or_insert(0) += times;
        }
    }
    for what in [
        "invoiced",
        "reopened",
        "credited",
        "merged",
        "resumed",
        "unassigned",
        "rescheduled",
        "no_access",
        "qa_rejected",
        "recorded",
        "third_visit",
    ] {
        assert!(
            seen.get(what).is_some_and(|times| *times > 10),
            "{what}: {seen:?}"
        );
    }
}
