//! Counted time: every hour, or the office's.

use chrono::{DateTime, TimeDelta, Utc};
use contracts::{schedule::WorkCalendar, sla::ClockCalendar};

use crate::calendar::{Calendar, CalendarError};

/// The hours that clocks count. Office hours that cannot be used are an error only for a clock
/// that needs them: an emergency, whose clocks always run, is taken in all the same.
#[derive(Clone, Copy)]
pub(super) struct Hours<'a> {
    office: &'a WorkCalendar,
}

impl<'a> Hours<'a> {
    pub(super) const fn new(office: &'a WorkCalendar) -> Self {
        Self { office }
    }

    /// Counted seconds from one instant to another; 0 when the second is not later. A begun
    /// second counts: a deadline that has passed by half a second has been missed.
    pub(super) fn between(
        &self,
        counting: ClockCalendar,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> Result<u64, CalendarError> {
        let time = match counting {
            ClockCalendar::Always => (to - from).max(TimeDelta::zero()),
            ClockCalendar::BusinessHours => self.office()?.open_time(from, to),
        };
        let begun = i64::from(time.subsec_nanos() > 0);
        Ok((time.num_seconds() + begun).unsigned_abs())
    }

    /// The instant at which so many counted seconds have passed.
    pub(super) fn after(
        &self,
        counting: ClockCalendar,
        from: DateTime<Utc>,
        seconds: u64,
    ) -> Result<DateTime<Utc>, CalendarError> {
        let amount = i64::try_from(seconds)
            .ok()
            .and_then(TimeDelta::try_seconds)
            .ok_or(CalendarError::NeverOpens)?;
        match counting {
            ClockCalendar::Always => from
                .checked_add_signed(amount)
                .ok_or(CalendarError::NeverOpens),
            ClockCalendar::BusinessHours => self.office()?.after(from, amount),
        }
    }

    fn office(&self) -> Result<Calendar, CalendarError> {
        Calendar::new(self.office)
    }
}
