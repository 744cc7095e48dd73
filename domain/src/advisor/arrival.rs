//! When a technician could be there.
//!
//! A slot is the time on the road and the visit after it. It has to lie within one shift, touch no
//! busy window, and begin the visit before the limit. Where the technician comes from after a busy
//! window is not known; the road is counted from their base.

use chrono::{DateTime, TimeDelta, Utc};
use contracts::schedule::TimeWindow;

/// What is looked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// Nobody leaves before.
    pub(super) now: DateTime<Utc>,
    /// The visit begins at this instant at the earliest …
    pub(super) earliest: DateTime<Utc>,
    /// … and before this one.
    pub(super) limit: DateTime<Utc>,
    /// Time on the road.
    pub(super) travel: TimeDelta,
    /// Time at the site.
    pub(super) visit: TimeDelta,
}

impl Wanted {
    /// When a technician without any other duty would be there.
    pub(super) fn soonest(&self) -> DateTime<Utc> {
        self.earliest.max(plus(self.now, self.travel))
    }

    /// All the time that a slot could lie in, with room behind it.
    pub(super) fn span(&self, room: TimeDelta) -> TimeWindow {
        TimeWindow {
            start: self.soonest() - self.travel,
            end: plus(plus(self.limit, self.visit), room),
        }
    }

    /// The first slot: when the visit begins, and the shift it lies in. Both lists are sorted by
    /// their start; shifts do not touch.
    pub(super) fn first(
        &self,
        shifts: &[TimeWindow],
        busy: &[TimeWindow],
    ) -> Option<(DateTime<Utc>, TimeWindow)> {
        shifts.iter().find_map(|shift| {
            let mut arrival = self.soonest().max(plus(shift.start, self.travel));
            for window in busy {
                let slot = TimeWindow {
                    start: arrival - self.travel,
                    end: plus(arrival, self.visit),
                };
                if slot.overlaps(window) {
                    arrival = plus(window.end, self.travel);
                }
            }
            let fits = arrival < self.limit && plus(arrival, self.visit) <= shift.end;
            fits.then_some((arrival, *shift))
        })
    }
}

/// Sum of an instant and a span; the end of time when there is no such instant.
pub(super) fn plus(at: DateTime<Utc>, span: TimeDelta) -> DateTime<Utc> {
    at.checked_add_signed(span)
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}
