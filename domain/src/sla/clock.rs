//! One clock: run, pause, stop.

use chrono::{DateTime, Utc};
use contracts::{
    Slug,
    sla::{ClockCalendar, ClockPhase, SlaClock},
};

use super::{hours::Hours, warning_seconds};
use crate::calendar::CalendarError;

/// What is promised: a name, which hours count, how many seconds.
#[derive(Clone, Copy)]
pub(super) struct Promise<'a> {
    pub(super) name: &'a Slug,
    pub(super) calendar: ClockCalendar,
    pub(super) budget_seconds: u64,
}

impl Promise<'_> {
    /// A clock for it that runs since then.
    pub(super) fn started(
        &self,
        revision: u32,
        since: DateTime<Utc>,
        hours: Hours<'_>,
    ) -> Result<SlaClock, CalendarError> {
        let clock = SlaClock {
            name: self.name.clone(),
            calendar: self.calendar,
            budget_seconds: self.budget_seconds,
            used_seconds: 0,
            revision,
            phase: ClockPhase::Paused { since },
        };
        run(&clock, since, hours)
    }
}

/// Runs with what is left of its budget.
pub(super) fn run(
    clock: &SlaClock,
    since: DateTime<Utc>,
    hours: Hours<'_>,
) -> Result<SlaClock, CalendarError> {
    let left = |seconds: u64| seconds.saturating_sub(clock.used_seconds);
    let at = |seconds| hours.after(clock.calendar, since, left(seconds));
    Ok(SlaClock {
        phase: ClockPhase::Running {
            since,
            warn_at: at(warning_seconds(clock.budget_seconds))?,
            due_at: at(clock.budget_seconds)?,
        },
        ..clock.clone()
    })
}

/// Counted seconds used up until then.
pub(super) fn used(
    clock: &SlaClock,
    at: DateTime<Utc>,
    hours: Hours<'_>,
) -> Result<u64, CalendarError> {
    let running = match clock.phase {
        ClockPhase::Running { since, .. } => hours.between(clock.calendar, since, at)?,
        ClockPhase::Paused { .. } | ClockPhase::Stopped { .. } => 0,
    };
    Ok(clock.used_seconds.saturating_add(running))
}

/// Pauses if it runs.
pub(super) fn pause(
    clock: SlaClock,
    at: DateTime<Utc>,
    hours: Hours<'_>,
) -> Result<SlaClock, CalendarError> {
    match clock.phase {
        ClockPhase::Running { since, .. } => Ok(SlaClock {
            used_seconds: used(&clock, at, hours)?,
            phase: ClockPhase::Paused {
                since: at.max(since),
            },
            ..clock
        }),
        ClockPhase::Paused { .. } | ClockPhase::Stopped { .. } => Ok(clock),
    }
}

/// Stops unless it has. In time means that no more than the budget was used.
pub(super) fn stop(
    clock: SlaClock,
    at: DateTime<Utc>,
    hours: Hours<'_>,
) -> Result<SlaClock, CalendarError> {
    match clock.phase {
        ClockPhase::Running { .. } | ClockPhase::Paused { .. } => {
            let used_seconds = used(&clock, at, hours)?;
            Ok(SlaClock {
                used_seconds,
                phase: ClockPhase::Stopped {
                    at,
                    met: used_seconds <= clock.budget_seconds,
                },
                ..clock
            })
        }
        ClockPhase::Stopped { .. } => Ok(clock),
    }
}
