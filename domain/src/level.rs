//! The ticket as its workflow sees it.

use contracts::{
    Priority, TicketState,
    event::{AutonomyMode, TicketLevel, WaitingFor},
    proposal::ProposalKind,
    ticket::Ticket,
};

/// The level of a ticket: all that its workflow decides on.
pub fn level(ticket: &Ticket) -> TicketLevel {
    TicketLevel {
        state: ticket.state,
        version: ticket.version,
        template: ticket.template.clone(),
        priority: ticket.priority,
        waiting_for: waiting_for(ticket),
        visit: ticket.current_visit().map_or(0, |visit| visit.number),
        sla: ticket.sla.clone(),
        open_approvals: ticket.open_change.iter().map(|c| c.approval_id).collect(),
        autonomy: AutonomyMode::Shadow,
        kill_generation: 0,
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

/// What software should be asked about at this level: triage for a new ticket, a technician when
/// the next step is to send one. A triaged P1 may be sent without a window, so it is asked then.
pub fn advice_due(level: &TicketLevel) -> Option<ProposalKind> {
    match level.state {
        TicketState::New => Some(ProposalKind::Triage),
        TicketState::Scheduled => Some(ProposalKind::Technician),
        TicketState::Triaged => {
            (level.priority == Priority::P1).then_some(ProposalKind::Technician)
        }
        TicketState::ScheduleProposed
        | TicketState::Dispatched
        | TicketState::OnSite
        | TicketState::ChangeRequested
        | TicketState::ReturnPending
        | TicketState::WorkComplete
        | TicketState::Verified
        | TicketState::Invoiced
        | TicketState::Closed
        | TicketState::Cancelled => None,
    }
}

#[cfg(test)]
mod tests {
    use contracts::command::{CustomerAwait, RequestChange};

    use super::*;
    use crate::testing::*;

    #[test]
    fn a_level_follows_the_ticket() {
        let mut desk = Desk::after([create(), triage(Priority::P1)]);
        let triaged = level(desk.ticket());
        assert_eq!((triaged.version, triaged.visit), (2, 1));
        assert_eq!(triaged.waiting_for, WaitingFor::Schedule);
        assert_eq!(triaged.sla, desk.ticket().sla);
        desk.run(CustomerAwait {
            reason: slug("key"),
        });
        let awaited = level(desk.ticket());
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
        let level = level(desk.ticket());
        let asked = desk.approval.as_ref().unwrap().id;
        assert_eq!(level.open_approvals, [asked]);
        assert_eq!(level.waiting_for, WaitingFor::ChangeApproval);
        assert_eq!(
            super::level(closed().ticket()).waiting_for,
            WaitingFor::Nothing
        );
    }

    #[test]
    fn advice_is_due_before_triage_and_before_somebody_is_sent() {
        let due = |desk: &Desk| advice_due(&level(desk.ticket()));
        assert_eq!(due(&Desk::after([create()])), Some(ProposalKind::Triage));
        let urgent = Desk::after([create(), triage(Priority::P1)]);
        assert_eq!(due(&urgent), Some(ProposalKind::Technician));
        let mut calm = Desk::after([create(), triage(Priority::P2)]);
        assert_eq!(due(&calm), None);
        calm.run(propose());
        assert_eq!(due(&calm), None);
        calm.run(confirm());
        assert_eq!(due(&calm), Some(ProposalKind::Technician));
        assert_eq!(due(&on_site()), None);
    }
}
