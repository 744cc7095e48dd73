//! SLA clocks: what a command does to the promises.
//!
//! Every clock of the template that has a budget for the ticket's priority starts when the ticket
//! is created.
//! - **Triage** that changes a promise (other budget, other hours) measures the new one from the
//!   original start and raises the revision; a promise that is no longer made is stopped, one that
//!   is made for the first time counts from the ticket's creation.
//! - **The customer is awaited**: running clocks pause and keep what they used; they go on when
//!   the customer has answered. A clock that would start meanwhile starts paused.
//! - **Stopping**: a clock stops when the ticket comes to one of its `stops_at` states, all clocks
//!   stop when the ticket ends. It was met if no more than the budget was used. A setback (nobody
//!   could get in, the check failed, the ticket was reopened) leads to RETURN_PENDING as well but
//!   reaches no aim: it stops nothing.
//! - **A quality check that fails** shows that the work was not done: clocks that its completion
//!   stopped go on with what they had used, at the same revision. The check's own time is not the
//!   technician's.
//! - **Reopening** is a new promise: every clock that a further visit can still stop starts again
//!   with its whole budget and a higher revision. (A clock that only triage stops does not: it
//!   could never be met again.)
//!
//! A warning is due at 80 % of the budget. A clock that goes on with more used than that gets the
//! moment it goes on as `warn_at` (or `due_at`); the record's key says whether it was said before.
//! Without the ticket's template (the bundle lost it) clocks go on until the ticket ends.

mod clock;
mod hours;

use chrono::{DateTime, Utc};
use contracts::{
    TicketState,
    event::TicketEvent,
    sla::{ClockPhase, SlaClock},
    template::{ClockDefinition, IncidentTemplate},
    ticket::Ticket,
};

use crate::{Facts, Rejection, calendar::CalendarError};
use clock::{Promise, pause, run, stop, used};
use hours::Hours;

/// How much of a budget is used up when a warning is due, in counted seconds: 80 %.
pub const fn warning_seconds(budget_seconds: u64) -> u64 {
    budget_seconds / 5 * 4 + budget_seconds % 5 * 4 / 5
}

/// All clocks after an event that led from one ticket to the other.
pub(crate) fn follow(
    before: Option<&Ticket>,
    after: &Ticket,
    event: &TicketEvent,
    facts: &Facts,
) -> Result<Vec<SlaClock>, Rejection> {
    let turn = Turn {
        before,
        after,
        template: facts.template.as_ref(),
        hours: Hours::new(&facts.calendar),
        now: facts.now,
    };
    turn.clocks(event).map_err(Rejection::CalendarUnusable)
}

struct Turn<'a> {
    before: Option<&'a Ticket>,
    after: &'a Ticket,
    template: Option<&'a IncidentTemplate>,
    hours: Hours<'a>,
    now: DateTime<Utc>,
}

type Clocks = Result<Vec<SlaClock>, CalendarError>;

impl Turn<'_> {
    fn clocks(&self, event: &TicketEvent) -> Clocks {
        let clocks = match event {
            TicketEvent::Created { .. } => self.start()?,
            TicketEvent::Triaged { .. } => self.retarget()?,
            TicketEvent::CustomerResumed {} => self.resume()?,
            TicketEvent::QaRejected { .. } => self.go_on()?,
            TicketEvent::Reopened { .. } => self.restart()?,
            // These neither start nor change a promise; the state they lead to may stop one, and
            // an awaited customer pauses all, below.
            TicketEvent::CustomerAwaited { .. }
            | TicketEvent::ScheduleProposed { .. }
            | TicketEvent::ScheduleConfirmed { .. }
            | TicketEvent::Rescheduled { .. }
            | TicketEvent::Dispatched { .. }
            | TicketEvent::Unassigned { .. }
            | TicketEvent::EnRoute { .. }
            | TicketEvent::CheckedIn { .. }
            | TicketEvent::NoAccess { .. }
            | TicketEvent::ChangeRequested { .. }
            | TicketEvent::ChangeDecided { .. }
            | TicketEvent::ReturnNeeded { .. }
            | TicketEvent::Completed { .. }
            | TicketEvent::Verified {}
            | TicketEvent::Invoiced { .. }
            | TicketEvent::Closed { .. }
            | TicketEvent::Cancelled { .. }
            | TicketEvent::Merged { .. } => self.after.sla.clone(),
            TicketEvent::AutonomySet { .. }
            | TicketEvent::ApprovalRequested { .. }
            | TicketEvent::ApprovalVoted { .. }
            | TicketEvent::ApprovalDecided { .. }
            | TicketEvent::ApprovalAmended { .. }
            | TicketEvent::ApprovalWithdrawn { .. }
            | TicketEvent::ApprovalStale { .. }
            | TicketEvent::ApprovalStepTaken { .. }
            | TicketEvent::ApprovalDueChanged { .. }
            | TicketEvent::ApprovalExpired { .. }
            | TicketEvent::ApprovalExecuted { .. }
            | TicketEvent::ApprovalClaimed { .. }
            | TicketEvent::ApprovalReleased { .. }
            | TicketEvent::ApprovalCommented { .. }
            | TicketEvent::NoteAdded { .. }
            | TicketEvent::ProposalRecorded { .. }
            | TicketEvent::ProposalPaired { .. }
            | TicketEvent::SlaRecorded { .. }
            | TicketEvent::EvidenceAdded { .. }
            | TicketEvent::MessageReceived { .. }
            | TicketEvent::MessageAttached { .. }
            | TicketEvent::MessageQueued { .. } => return Ok(self.after.sla.clone()),
        };
        let reaches = reaches_an_aim(event);
        clocks
            .into_iter()
            .map(|clock| self.settle(clock, reaches))
            .collect()
    }

    /// Stops a clock whose aim is reached, and pauses one while the customer is awaited.
    fn settle(&self, clock: SlaClock, reaches: bool) -> Result<SlaClock, CalendarError> {
        let state = self.after.state;
        if state.is_terminal() || reaches && self.stops_at(&clock, state) {
            return stop(clock, self.now, self.hours);
        }
        match &self.after.customer_wait {
            Some(wait) => pause(clock, wait.since, self.hours),
            None => Ok(clock),
        }
    }

    fn start(&self) -> Clocks {
        let promises = self.promises();
        promises
            .map(|(_, promise)| promise.started(1, self.now, self.hours))
            .collect()
    }

    fn retarget(&self) -> Clocks {
        let mut clocks = Vec::with_capacity(self.after.sla.len());
        for clock in &self.after.sla {
            let promise = self.promises().find(|(_, p)| *p.name == clock.name);
            clocks.push(match promise {
                Some((definition, promise)) => self.renewed(clock, definition, promise)?,
                None => stop(clock.clone(), self.now, self.hours)?,
            });
        }
        for (_, promise) in self.promises() {
            if !clocks.iter().any(|clock| clock.name == *promise.name) {
                clocks.push(promise.started(1, self.after.created_at, self.hours)?);
            }
        }
        Ok(clocks)
    }

    fn renewed(
        &self,
        clock: &SlaClock,
        definition: &ClockDefinition,
        promise: Promise<'_>,
    ) -> Result<SlaClock, CalendarError> {
        let same_hours = promise.calendar == clock.calendar;
        let same = same_hours && promise.budget_seconds == clock.budget_seconds;
        let revised = |used_seconds| SlaClock {
            calendar: promise.calendar,
            budget_seconds: promise.budget_seconds,
            used_seconds,
            revision: clock.revision + 1,
            ..clock.clone()
        };
        match clock.phase {
            // It reached its aim; that is not judged again.
            ClockPhase::Stopped { .. } if definition.stops_at.contains(&self.after.state) => {
                Ok(clock.clone())
            }
            // The promise had been dropped by an earlier triage and is made again.
            ClockPhase::Stopped { .. } => {
                promise.started(clock.revision + 1, self.after.created_at, self.hours)
            }
            ClockPhase::Running { .. } | ClockPhase::Paused { .. } if same => Ok(clock.clone()),
            ClockPhase::Paused { .. } => Ok(revised(clock.used_seconds)),
            // Counting the whole stretch again with the new budget is exact to the second.
            ClockPhase::Running { since, .. } if same_hours => {
                run(&revised(clock.used_seconds), since, self.hours)
            }
            ClockPhase::Running { .. } => {
                let used_seconds = used(clock, self.now, self.hours)?;
                run(&revised(used_seconds), self.now, self.hours)
            }
        }
    }

    fn resume(&self) -> Clocks {
        let clocks = self.after.sla.iter();
        clocks
            .map(|clock| match clock.phase {
                ClockPhase::Paused { .. } => run(clock, self.now, self.hours),
                ClockPhase::Running { .. } | ClockPhase::Stopped { .. } => Ok(clock.clone()),
            })
            .collect()
    }

    fn go_on(&self) -> Clocks {
        let completed_at = self
            .before
            .and_then(Ticket::current_visit)
            .and_then(|visit| visit.ended_at);
        let clocks = self.after.sla.iter();
        clocks
            .map(|clock| match clock.phase {
                // Nothing but the completion stops a clock between it and the check.
                ClockPhase::Stopped { at, .. } if completed_at.is_some_and(|done| at >= done) => {
                    run(clock, self.now, self.hours)
                }
                ClockPhase::Running { .. }
                | ClockPhase::Paused { .. }
                | ClockPhase::Stopped { .. } => Ok(clock.clone()),
            })
            .collect()
    }

    fn restart(&self) -> Clocks {
        let mut clocks = self.after.sla.clone();
        for (definition, promise) in self.promises() {
            if !can_still_stop(definition) {
                continue;
            }
            let fresh = |revision| promise.started(revision, self.now, self.hours);
            match clocks.iter_mut().find(|clock| clock.name == *promise.name) {
                None => clocks.push(fresh(1)?),
                Some(clock) => match clock.phase {
                    ClockPhase::Stopped { .. } => *clock = fresh(clock.revision + 1)?,
                    ClockPhase::Running { .. } | ClockPhase::Paused { .. } => {}
                },
            }
        }
        Ok(clocks)
    }

    fn stops_at(&self, clock: &SlaClock, state: TicketState) -> bool {
        let definitions = self.template.map_or(&[][..], |template| &template.clocks);
        definitions
            .iter()
            .any(|d| d.name == clock.name && d.stops_at.contains(&state))
    }

    /// The promises of the template at the ticket's priority, each with its definition.
    fn promises(&self) -> impl Iterator<Item = (&ClockDefinition, Promise<'_>)> {
        let definitions = self.template.map_or(&[][..], |template| &template.clocks);
        definitions.iter().filter_map(|definition| {
            let minutes = definition.minutes.get(&self.after.priority)?;
            let promise = Promise {
                name: &definition.name,
                calendar: definition.calendar,
                budget_seconds: u64::from(*minutes) * 60,
            };
            Some((definition, promise))
        })
    }
}

/// Whether an event brings the ticket to a state by progress; a setback does not.
fn reaches_an_aim(event: &TicketEvent) -> bool {
    !matches!(
        event,
        TicketEvent::NoAccess { .. }
            | TicketEvent::QaRejected { .. }
            | TicketEvent::Reopened { .. }
            | TicketEvent::CustomerAwaited { .. }
            | TicketEvent::CustomerResumed {}
    )
}

/// Whether a ticket whose next visit is open can still come to a state that stops the clock.
fn can_still_stop(definition: &ClockDefinition) -> bool {
    let mut stops_at = definition.stops_at.iter();
    stops_at.any(|state| !matches!(state, TicketState::New | TicketState::Triaged))
}

#[cfg(test)]
mod tests;
