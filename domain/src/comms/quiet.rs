//! When a message must not leave: the tenant's nights and days off, from its time on.
//!
//! Policy judges the moment for which a message is asked. When it really leaves nobody knows by then:
//! an endpoint fails, a switch holds it, no sender runs. So the quiet times to come are worked out
//! when it is queued, and the sender looks at them each time.
//!
//! A moment is quiet when the wall clock shows a quiet minute, or a day off: the sentence by which
//! the starter's rules judge, also on the days on which the clock is changed.

use chrono::{DateTime, TimeDelta, Utc};
use contracts::schedule::{QuietHours, TimeWindow, WorkCalendar};

use crate::calendar::{Calendar, CalendarError};

/// How far from its time on the quiet times of a message are known. After that it leaves at no time.
pub const QUIET_KNOWN: TimeDelta = TimeDelta::days(14);

const MINUTES_PER_DAY: u16 = 24 * 60;

/// When customers are left in peace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peace {
    /// Each day, by the tenant's clock on the wall.
    pub hours: QuietHours,
    /// The days off of the tenant's calendar as well.
    pub on_days_off: bool,
}

/// When one message must not leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quiet {
    /// In order, and apart from each other.
    pub windows: Vec<TimeWindow>,
    /// From here on nothing is known, and it leaves no more.
    pub known_until: DateTime<Utc>,
}

impl Peace {
    /// For a message of that time. Policy let it pass for then: where that is in a quiet time, people
    /// released it, and until that one is over it may leave.
    pub fn quiet(
        self,
        calendar: &WorkCalendar,
        due_at: DateTime<Utc>,
    ) -> Result<Quiet, CalendarError> {
        let known_until = due_at + QUIET_KNOWN;
        let others = Calendar::new(&WorkCalendar {
            time_zone: calendar.time_zone.clone(),
            week: vec![self.other_minutes(); 7],
            days_off: match self.on_days_off {
                true => calendar.days_off.clone(),
                false => Vec::new(),
            },
        })?;
        let others = others.shifts(due_at, known_until);
        let next = others.iter().skip(1).map(|other| other.start);
        let windows = others
            .iter()
            .zip(next.chain([known_until]))
            .map(|(other, next)| TimeWindow {
                start: other.end,
                end: next,
            })
            .filter(|window| window.start < window.end)
            .collect();
        Ok(Quiet {
            windows,
            known_until,
        })
    }

    /// The minutes of a day that are not quiet.
    fn other_minutes(self) -> Vec<(u16, u16)> {
        let QuietHours {
            from_minute: from,
            until_minute: until,
        } = self.hours;
        let minutes = match from <= until {
            true => vec![(0, from), (until, MINUTES_PER_DAY)],
            false => vec![(until, from)],
        };
        minutes.into_iter().filter(|(a, b)| a < b).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use chrono::{NaiveDate, Timelike};
    use chrono_tz::Tz;
    use proptest::prelude::*;

    use super::*;
    use crate::testing::at;

    const NIGHT: QuietHours = QuietHours {
        from_minute: 22 * 60,
        until_minute: 7 * 60,
    };

    fn calendar(zone: &str, days_off: &[&str]) -> WorkCalendar {
        WorkCalendar {
            time_zone: zone.to_owned(),
            week: vec![Vec::new(); 7],
            days_off: days_off.iter().map(|day| day.parse().unwrap()).collect(),
        }
    }

    fn quiet(hours: QuietHours, calendar: &WorkCalendar, due_at: &str) -> Quiet {
        let peace = Peace {
            hours,
            on_days_off: true,
        };
        peace.quiet(calendar, at(due_at)).unwrap()
    }

    fn window(start: &str, end: &str) -> TimeWindow {
        TimeWindow {
            start: at(start),
            end: at(end),
        }
    }

    #[test]
    fn nights_are_those_of_the_tenants_clock() {
        let amsterdam = calendar("Europe/Amsterdam", &[]);
        let due_at = "2026-11-20T16:55:00Z";
        let known = quiet(NIGHT, &amsterdam, due_at);
        assert_eq!(known.known_until, at("2026-12-04T16:55:00Z"));
        assert_eq!(known.windows.len(), 14);
        assert_eq!(
            known.windows[0],
            window("2026-11-20T21:00:00Z", "2026-11-21T06:00:00Z")
        );
        let new_york = quiet(NIGHT, &calendar("America/New_York", &[]), due_at);
        assert_eq!(
            new_york.windows[0],
            window("2026-11-21T03:00:00Z", "2026-11-21T12:00:00Z")
        );
    }

    #[test]
    fn a_night_on_which_the_clock_is_changed_ends_by_the_clock() {
        let amsterdam = calendar("Europe/Amsterdam", &[]);
        let first = |due_at| quiet(NIGHT, &amsterdam, due_at).windows[0];
        // An hour shorter, and an hour longer.
        assert_eq!(
            first("2026-03-28T12:00:00Z"),
            window("2026-03-28T21:00:00Z", "2026-03-29T05:00:00Z")
        );
        assert_eq!(
            first("2026-10-24T12:00:00Z"),
            window("2026-10-24T20:00:00Z", "2026-10-25T06:00:00Z")
        );
        // Until half past two, which comes twice or not at all.
        let early = QuietHours {
            until_minute: 150,
            ..NIGHT
        };
        let windows = |due_at| quiet(early, &amsterdam, due_at).windows;
        assert_eq!(
            windows("2026-03-28T12:00:00Z")[0],
            window("2026-03-28T21:00:00Z", "2026-03-29T01:00:00Z")
        );
        assert_eq!(
            windows("2026-10-24T12:00:00Z")[..2],
            [
                window("2026-10-24T20:00:00Z", "2026-10-25T00:30:00Z"),
                window("2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z"),
            ]
        );
    }

    #[test]
    fn a_day_off_makes_one_long_night() {
        let off = calendar("Europe/Amsterdam", &["2026-12-25", "2026-12-26"]);
        let long = window("2026-12-24T21:00:00Z", "2026-12-27T06:00:00Z");
        assert_eq!(quiet(NIGHT, &off, "2026-12-24T12:00:00Z").windows[0], long);
        let nights_only = Peace {
            hours: NIGHT,
            on_days_off: false,
        };
        let quiet = nights_only.quiet(&off, at("2026-12-24T12:00:00Z")).unwrap();
        assert_eq!(
            quiet.windows[0],
            window("2026-12-24T21:00:00Z", "2026-12-25T06:00:00Z")
        );
    }

    #[test]
    fn what_was_asked_for_a_quiet_time_may_leave_in_it_and_not_in_the_next() {
        let amsterdam = calendar("Europe/Amsterdam", &[]);
        let next = window("2026-11-21T21:00:00Z", "2026-11-22T06:00:00Z");
        for due_at in ["2026-11-20T21:00:00Z", "2026-11-21T05:59:59Z"] {
            assert_eq!(quiet(NIGHT, &amsterdam, due_at).windows[0], next);
        }
        // Up to the last moment that is known.
        let last = quiet(NIGHT, &amsterdam, "2026-11-20T23:00:00Z").windows;
        assert_eq!(last.len(), 14);
        assert_eq!(
            last[13],
            window("2026-12-04T21:00:00Z", "2026-12-04T23:00:00Z")
        );
    }

    #[test]
    fn hours_by_day_are_two_of_a_day_and_none_are_none() {
        let lunch = QuietHours {
            from_minute: 720,
            until_minute: 780,
        };
        let utc = calendar("UTC", &[]);
        assert_eq!(
            quiet(lunch, &utc, "2026-11-20T00:00:00Z").windows[0],
            window("2026-11-20T12:00:00Z", "2026-11-20T13:00:00Z")
        );
        let never = QuietHours {
            from_minute: 0,
            until_minute: 0,
        };
        assert_eq!(quiet(never, &utc, "2026-11-20T00:00:00Z").windows, []);
    }

    #[test]
    fn a_calendar_without_a_zone_lets_nothing_pass() {
        let peace = Peace {
            hours: NIGHT,
            on_days_off: false,
        };
        let nowhere = calendar("Atlantis/Center", &[]);
        assert!(peace.quiet(&nowhere, at("2026-11-20T00:00:00Z")).is_err());
    }

    fn any_zone() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec![
            "UTC",
            "Europe/Amsterdam",
            "America/New_York",
            "Asia/Kathmandu",
            "Australia/Lord_Howe",
            "Pacific/Auckland",
        ])
    }

    proptest! {
        // Each case walks two weeks.
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// The definition, minute by minute: it is quiet when the clock on the wall says so, but for
        /// the quiet time for which it was asked.
        #[test]
        fn it_agrees_with_a_walk_minute_by_minute(
            zone in any_zone(),
            from_minute in 0..1440_u16,
            until_minute in 0..1440_u16,
            on_days_off: bool,
            days_off in prop::collection::btree_set(1..366_u32, 0..40),
            start in 0..366 * 1440_i64,
        ) {
            let days_off: BTreeSet<NaiveDate> = days_off
                .into_iter()
                .filter_map(|day| NaiveDate::from_yo_opt(2026, day))
                .collect();
            let tz: Tz = zone.parse().unwrap();
            let is_quiet = |at: DateTime<Utc>| {
                let local = at.with_timezone(&tz);
                let now = u16::try_from(local.hour() * 60 + local.minute()).unwrap();
                let by_clock = if from_minute <= until_minute {
                    from_minute <= now && now < until_minute
                } else {
                    from_minute <= now || now < until_minute
                };
                by_clock || (on_days_off && days_off.contains(&local.date_naive()))
            };
            let due_at = at("2026-01-01T00:00:00Z") + TimeDelta::minutes(start);
            let peace = Peace { hours: QuietHours { from_minute, until_minute }, on_days_off };
            let calendar = WorkCalendar {
                time_zone: zone.to_owned(),
                week: vec![Vec::new(); 7],
                days_off: days_off.iter().copied().collect(),
            };
            let found = peace.quiet(&calendar, due_at).unwrap();
            let mut asked_for = true;
            for minute in 0..QUIET_KNOWN.num_minutes() {
                let now = due_at + TimeDelta::minutes(minute);
                asked_for &= is_quiet(now);
                let within = found.windows.iter().any(|window| window.contains(now));
                prop_assert_eq!(within, is_quiet(now) && !asked_for, "{}", now);
            }
            prop_assert!(found.windows.iter().all(|window| window.start < window.end));
            prop_assert!(found.windows.windows(2).all(|pair| pair[0].end < pair[1].start));
        }
    }
}
