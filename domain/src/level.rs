//! The ticket as its workflow sees it.

use std::collections::{BTreeMap, BTreeSet};

use contracts::{
    ApprovalId, Priority, Slug, TicketState,
    event::{AutonomyMode, TicketLevel, WaitingFor},
    proposal::ProposalKind,
    sla::{SlaClock, SlaRecordKey},
    ticket::Ticket,
};

use crate::Autonomy;

/// The level of a ticket: all that its workflow decides on.
pub fn level(ticket: &Ticket, autonomy: &Autonomy) -> TicketLevel {
    TicketLevel {
        autonomy: autonomy.most(ticket),
        kill_generation: autonomy.generation(),
        acts_on: autonomy.acts_on(ticket),
        silent_on: autonomy.silent_on(ticket),
        stopped: autonomy.stopped(ticket.id),
        ..bare_level(ticket)
    }
}

/// The level without what is no part of the ticket: stages and kill switches.
pub fn bare_level(ticket: &Ticket) -> TicketLevel {
    let waiting = ticket
        .approvals
        .iter()
        .filter(|approval| !approval.released);
    let waiting = waiting.map(|approval| approval.id);
    let change = ticket.open_change.iter().map(|change| change.approval_id);
    let open_approvals: BTreeSet<ApprovalId> = waiting.chain(change).collect();
    TicketLevel {
        state: ticket.state,
        version: ticket.version,
        template: ticket.template.clone(),
        priority: ticket.priority,
        waiting_for: waiting_for(ticket),
        visit: ticket.current_visit().map_or(0, |visit| visit.number),
        sla: ticket.sla.clone(),
        open_approvals: open_approvals.into_iter().collect(),
        approvals: ticket.approvals.clone(),
        autonomy: AutonomyMode::Off,
        kill_generation: 0,
        acts_on: Vec::new(),
        silent_on: Vec::new(),
        stopped: None,
    }
}

/// What a ticket waits for. An awaited customer comes before everything else: until they have
/// answered nobody is late.
pub fn waiting_for(ticket: &Ticket) -> WaitingFor {
    if ticket.customer_wait.is_some() {
        return WaitingFor::Customer;
    }
    match ticket.state {
        TicketState::New => WaitingFor::Triage,
        TicketState::Triaged | TicketState::ReturnPending => WaitingFor::Schedule,
        TicketState::ScheduleProposed => WaitingFor::Confirmation,
        TicketState::Scheduled => WaitingFor::Assignment,
        TicketState::Dispatched => WaitingFor::Arrival,
        TicketState::OnSite => WaitingFor::Completion,
        TicketState::ChangeRequested => WaitingFor::ChangeApproval,
        TicketState::WorkComplete => WaitingFor::Qa,
        TicketState::Verified => WaitingFor::Invoice,
        TicketState::Invoiced => WaitingFor::Closing,
        TicketState::Closed | TicketState::Cancelled => WaitingFor::Nothing,
    }
}

/// What software should be asked about at this level: whatever a person has to decide next. A
/// triaged P1 may be sent without a window, so whom to send is asked then, too. While the customer
/// is awaited nothing else can be decided for them than when to remind them.
pub fn advice_due(level: &TicketLevel) -> Vec<ProposalKind> {
    if level.waiting_for == WaitingFor::Customer {
        return vec![ProposalKind::Reminder];
    }
    match level.state {
        TicketState::New => vec![ProposalKind::Triage],
        TicketState::Triaged if level.priority == Priority::P1 => {
            vec![ProposalKind::Slot, ProposalKind::Technician]
        }
        TicketState::Triaged | TicketState::ReturnPending => vec![ProposalKind::Slot],
        TicketState::ScheduleProposed => vec![ProposalKind::Reminder],
        TicketState::Scheduled => vec![ProposalKind::Technician],
        TicketState::ChangeRequested => vec![ProposalKind::ChangeDecision],
        TicketState::WorkComplete => vec![ProposalKind::Closeout],
        TicketState::Verified => vec![ProposalKind::InvoiceLines],
        TicketState::Dispatched
        | TicketState::OnSite
        | TicketState::Invoiced
        | TicketState::Closed
        | TicketState::Cancelled => Vec::new(),
    }
}

/// The warnings and breaches on record that somebody should be told of: the worse one of each
/// clock that still runs. The others are over.
pub fn escalations_due<'a>(
    clocks: &[SlaClock],
    recorded: impl IntoIterator<Item = &'a SlaRecordKey>,
) -> Vec<SlaRecordKey> {
    let mut worst: BTreeMap<&Slug, &SlaRecordKey> = BTreeMap::new();
    for key in recorded {
        let runs = clocks.iter().any(|clock| {
            clock.name == key.clock && clock.revision == key.revision && clock.due_at().is_some()
        });
        if runs {
            let known = worst.entry(&key.clock).or_insert(key);
            *known = (*known).max(key);
        }
    }
    worst.into_values().cloned().collect()
}

#[cfg(test)]
mod tests {
    use contracts::command::{CustomerAwait, RequestChange};

    use super::*;
    use crate::testing::*;

    #[test]
    fn a_level_follows_the_ticket() {
        let mut desk = Desk::after([create(), triage(Priority::P1)]);
        let triaged = bare_level(desk.ticket());
        assert_eq!((triaged.version, triaged.visit), (2, 1));
        assert_eq!(triaged.waiting_for, WaitingFor::Schedule);
        assert_eq!(triaged.sla, desk.ticket().sla);
        desk.run(CustomerAwait {
            reason: slug("key"),
        });
        let awaited = bare_level(desk.ticket());
        assert_eq!(awaited.waiting_for, WaitingFor::Customer);
    }

    #[test]
    fn an_open_change_is_an_open_approval() {
        let mut desk = on_site();
        desk.run(RequestChange {
            scope: slug("second_pane"),
            price_delta_cents: 1,
            note: None,
        });
        let level = bare_level(desk.ticket());
        let asked = desk.approval().id;
        assert_eq!(level.open_approvals, [asked]);
        assert_eq!(level.waiting_for, WaitingFor::ChangeApproval);
        assert_eq!(
            bare_level(closed().ticket()).waiting_for,
            WaitingFor::Nothing
        );
    }

    #[test]
    fn advice_is_due_on_whatever_a_person_decides_next() {
        use ProposalKind::*;
        let due = |desk: &Desk| advice_due(&bare_level(desk.ticket()));
        assert_eq!(due(&Desk::after([create()])), [Triage]);
        let urgent = Desk::after([create(), triage(Priority::P1)]);
        assert_eq!(due(&urgent), [Slot, Technician]);
        let mut calm = Desk::after([create(), triage(Priority::P2)]);
        assert_eq!(due(&calm), [Slot]);
        calm.run(propose());
        assert_eq!(due(&calm), [Reminder]);
        calm.run(confirm());
        assert_eq!(due(&calm), [Technician]);
        calm.run(CustomerAwait {
            reason: slug("key"),
        });
        assert_eq!(due(&calm), [Reminder]);
        let mut work = on_site();
        assert_eq!(due(&work), []);
        work.run(request_change(1));
        assert_eq!(due(&work), [ChangeDecision]);
        let mut back = on_site();
        back.run(return_visit());
        assert_eq!(due(&back), [Slot]);
        let mut done = on_site();
        done.run(complete());
        assert_eq!(due(&done), [Closeout]);
        done.run(verify());
        assert_eq!(due(&done), [InvoiceLines]);
        done.run(invoice(1));
        assert_eq!(due(&done), []);
        assert_eq!(due(&closed()), []);
    }

    #[test]
    fn the_worse_record_of_each_running_clock_is_escalated() {
        let desk = Desk::after([create()]);
        let level = bare_level(desk.ticket());
        let key = |clock: &str, kind, revision| SlaRecordKey {
            clock: slug(clock),
            kind,
            revision,
        };
        use contracts::sla::SlaRecordKind::{Breach, Warning};
        let revision = desk.clock("answer").revision;
        let warned = key("answer", Warning, revision);
        let breached = key("answer", Breach, revision);
        let earlier = key("answer", Breach, revision + 1);
        assert_eq!(
            escalations_due(&level.sla, [&warned, &earlier]),
            std::slice::from_ref(&warned)
        );
        let both = escalations_due(&level.sla, [&breached, &warned]);
        assert_eq!(both, std::slice::from_ref(&breached));
        let done = bare_level(closed().ticket());
        assert_eq!(escalations_due(&done.sla, [&breached]), []);
    }
}
