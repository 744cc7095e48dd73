//! Whether people undid what software had done.
//!
//! | software | undone by people when, afterwards |
//! |---|---|
//! | dispatch | before somebody checks in: the technician is taken off, another one is sent, or another window is set for the visit |
//! | propose_schedule | before the customer takes it: another window is offered for the visit |
//! | triage | it is triaged again with another template or priority |
//! | qa_verify | the ticket is opened again |
//! | generate_invoice | the ticket is opened again and the invoice is taken back |
//!
//! What software changes of its own is no override, and neither is a job that is called off: nobody
//! said that the act was wrong.

use contracts::{
    Operation, Slug,
    event::{TicketChange, TicketEvent},
    rollout::Undone,
};

use super::ledger::{ActFacts, StepFacts};

/// How people undid an act; `later` is what else happened to the ticket after it, in order.
pub fn undone(operation: Operation, act: &ActFacts, later: &[StepFacts]) -> Option<Undone> {
    let done = act
        .changes
        .iter()
        .find_map(|change| Act::of(operation, &change.event))?;
    for step in later
        .iter()
        .filter(|step| step.at >= act.at && step.command_id != act.command_id)
    {
        for change in &step.changes {
            match done.meets(change) {
                Met::Undone(how) if !step.by_software => {
                    return Some(Undone {
                        by: step.command_id,
                        at: step.at,
                        how: Slug::new(how).expect("these words are lowercase letters"),
                    });
                }
                Met::Over => return None,
                Met::Undone(_) | Met::Nothing => {}
            }
        }
    }
    None
}

/// What software did, as far as it can be undone.
enum Act<'a> {
    Dispatch(&'a TicketEvent),
    Offer(&'a TicketEvent),
    Triage(&'a TicketEvent),
    Verify,
    Invoice,
}

/// What a later change means for it.
enum Met {
    /// It was undone so.
    Undone(&'static str),
    /// It was used: from now on it cannot be undone.
    Over,
    Nothing,
}

impl<'a> Act<'a> {
    fn of(operation: Operation, event: &'a TicketEvent) -> Option<Self> {
        match (operation, event) {
            (Operation::Dispatch, TicketEvent::Dispatched { .. }) => Some(Self::Dispatch(event)),
            (Operation::ProposeSchedule, TicketEvent::ScheduleProposed { .. }) => {
                Some(Self::Offer(event))
            }
            (Operation::Triage, TicketEvent::Triaged { .. }) => Some(Self::Triage(event)),
            (Operation::QaVerify, TicketEvent::Verified {}) => Some(Self::Verify),
            (Operation::GenerateInvoice, TicketEvent::Invoiced { .. }) => Some(Self::Invoice),
            _ => None,
        }
    }

    fn meets(&self, change: &TicketChange) -> Met {
        match self {
            Self::Dispatch(TicketEvent::Dispatched {
                visit_id,
                technician_id,
                ..
            }) => match &change.event {
                TicketEvent::CheckedIn { visit_id: visit }
                | TicketEvent::NoAccess {
                    visit_id: visit, ..
                } if visit == visit_id => Met::Over,
                TicketEvent::Dispatched {
                    visit_id: visit,
                    technician_id: other,
                    ..
                } if visit == visit_id && other != technician_id => Met::Undone("other_technician"),
                TicketEvent::Unassigned {
                    visit_id: visit, ..
                } if visit == visit_id => Met::Undone("taken_off"),
                TicketEvent::Rescheduled {
                    visit_id: visit, ..
                } if visit == visit_id => Met::Undone("other_window"),
                _ => Met::Nothing,
            },
            Self::Offer(TicketEvent::ScheduleProposed { visit_id, window }) => {
                match &change.event {
                    TicketEvent::ScheduleConfirmed { visit_id: visit } if visit == visit_id => {
                        Met::Over
                    }
                    TicketEvent::ScheduleProposed {
                        visit_id: visit,
                        window: other,
                    }
                    | TicketEvent::Rescheduled {
                        visit_id: visit,
                        window: other,
                        ..
                    } if visit == visit_id && other != window => Met::Undone("other_window"),
                    _ => Met::Nothing,
                }
            }
            Self::Triage(TicketEvent::Triaged {
                template, priority, ..
            }) => match &change.event {
                TicketEvent::Triaged {
                    template: other,
                    priority: now,
                    ..
                } if (other, now) != (template, priority) => Met::Undone("triaged_again"),
                _ => Met::Nothing,
            },
            Self::Verify => match &change.event {
                TicketEvent::Reopened { .. } => Met::Undone("reopened"),
                _ => Met::Nothing,
            },
            Self::Invoice => match &change.event {
                TicketEvent::Reopened {
                    credit_note: Some(_),
                    ..
                } => Met::Undone("credited"),
                _ => Met::Nothing,
            },
            Self::Dispatch(_) | Self::Offer(_) | Self::Triage(_) => Met::Nothing,
        }
    }
}
