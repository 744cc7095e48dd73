//! Working hours: which time counts, and when an amount of counted time is over.
//!
//! An instant is open when the wall clock at that instant shows an open minute of a day that is not
//! off. That one sentence settles the switch to and from summer time: minutes that the wall clock
//! skips cannot be worked, minutes that it shows twice are worked twice.
//!
//! The walk goes over UTC days, cut where the zone's offset changes. Within a cut the wall clock
//! runs evenly, so the open stretches come out in order of time whatever the zone does. A search
//! ends after [`HORIZON_DAYS`]: a calendar that never opens gives no deadline and no endless loop.

use std::collections::BTreeSet;

use chrono::{
    DateTime, Datelike, Days, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeDelta, TimeZone, Utc,
};
use chrono_tz::Tz;
use contracts::schedule::{TimeWindow, WorkCalendar};

/// How far ahead a deadline is looked for: ten years.
pub const HORIZON_DAYS: u64 = 3660;

const MINUTES_PER_DAY: u16 = 24 * 60;

/// No date before or after is ever open: arithmetic within a day of any other cannot overflow.
const YEARS: std::ops::RangeInclusive<i32> = 1..=9999;

/// Why a calendar cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CalendarError {
    /// Not in the IANA database.
    #[error("`{0}` is not an IANA time zone such as `Europe/Amsterdam`")]
    UnknownTimeZone(String),
    /// Not one entry per day.
    #[error("the week has {0} entries instead of 7, Monday first")]
    NotAWeek(usize),
    /// An interval that is empty or leaves the day.
    #[error(
        "day {day} of the week (0 = Monday) has the interval {open}..{close}; 0 <= open < close <= 1440 is needed"
    )]
    BadInterval {
        /// 0 for Monday.
        day: usize,
        /// Minutes after midnight.
        open: u16,
        /// Minutes after midnight.
        close: u16,
    },
    /// The wanted amount of time never passes.
    #[error("it opens too rarely: the deadline is more than ten years away")]
    NeverOpens,
}

/// Whether the IANA database has this time zone.
pub fn is_time_zone(name: &str) -> bool {
    name.parse::<Tz>().is_ok()
}

/// A checked [`WorkCalendar`].
#[derive(Debug, Clone)]
pub struct Calendar {
    zone: Tz,
    week: [Vec<(u16, u16)>; 7],
    days_off: BTreeSet<NaiveDate>,
}

impl Calendar {
    /// Checks a calendar; overlapping and unsorted intervals of a day are merged.
    pub fn new(calendar: &WorkCalendar) -> Result<Self, CalendarError> {
        let zone = calendar
            .time_zone
            .parse()
            .map_err(|_| CalendarError::UnknownTimeZone(calendar.time_zone.clone()))?;
        for (day, intervals) in calendar.week.iter().enumerate() {
            for &(open, close) in intervals {
                if open >= close || close > MINUTES_PER_DAY {
                    return Err(CalendarError::BadInterval { day, open, close });
                }
            }
        }
        let week: Vec<_> = calendar.week.iter().map(|day| merged(day)).collect();
        let week = week
            .try_into()
            .map_err(|week: Vec<_>| CalendarError::NotAWeek(week.len()))?;
        Ok(Self {
            zone,
            week,
            days_off: calendar.days_off.iter().copied().collect(),
        })
    }

    /// How much open time lies in `[from, to)`; none when `to` is not after `from`.
    pub fn open_time(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> TimeDelta {
        self.stretches(from, to)
            .map(|stretch| stretch.end - stretch.start)
            .sum()
    }

    /// The first instant at which `amount` of open time has passed since `from`.
    pub fn after(
        &self,
        from: DateTime<Utc>,
        amount: TimeDelta,
    ) -> Result<DateTime<Utc>, CalendarError> {
        if amount <= TimeDelta::zero() {
            return Ok(from);
        }
        let horizon = from
            .checked_add_days(Days::new(HORIZON_DAYS))
            .ok_or(CalendarError::NeverOpens)?;
        if self.week.iter().all(Vec::is_empty) {
            return Err(CalendarError::NeverOpens);
        }
        let mut left = amount;
        for stretch in self.stretches(from, horizon) {
            let length = stretch.end - stretch.start;
            if left <= length {
                return Ok(stretch.start + left);
            }
            left -= length;
        }
        Err(CalendarError::NeverOpens)
    }

    /// The open stretches in `[from, to)` in order of time. A stretch that goes on past midnight
    /// (UTC or local) may come in pieces that touch.
    pub fn stretches(
        &self,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> impl Iterator<Item = TimeWindow> + '_ {
        let first = from
            .date_naive()
            .max(NaiveDate::from_yo_opt(*YEARS.start(), 1).unwrap_or(NaiveDate::MIN));
        first
            .iter_days()
            .take_while(|day| YEARS.contains(&day.year()))
            .take_while(move |day| from < to && day.and_time(NaiveTime::MIN) < to.naive_utc())
            .flat_map(|day| self.even_cuts(day))
            .flat_map(|cut| self.open_in(cut))
            .filter_map(move |stretch| {
                let (start, end) = (stretch.start.max(from), stretch.end.min(to));
                (start < end).then_some(TimeWindow { start, end })
            })
    }

    /// The open stretches in `[from, to)` with those that touch joined: whole shifts, as far as
    /// they lie in between.
    pub fn shifts(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Vec<TimeWindow> {
        joined(self.stretches(from, to))
    }

    /// The open stretches of one local date, those that touch joined.
    pub fn hours_of(&self, date: NaiveDate) -> Vec<TimeWindow> {
        // No zone is a whole day away from UTC, so the local day lies in these three.
        let from = date - Days::new(1);
        let to = date + Days::new(2);
        let [from, to] = [from, to].map(|date| date.and_time(NaiveTime::MIN).and_utc());
        // A stretch is cut at local midnight, so it belongs to the date on which it begins.
        joined(
            self.stretches(from, to)
                .filter(|stretch| self.local_date(stretch.start) == date),
        )
    }

    /// The date that the wall clock shows.
    pub fn local_date(&self, at: DateTime<Utc>) -> NaiveDate {
        at.with_timezone(&self.zone).date_naive()
    }

    /// The first instant of a local date: midnight, or when the wall clock skips it what comes next.
    pub fn begin_of(&self, date: NaiveDate) -> DateTime<Utc> {
        let midnight = date.and_time(NaiveTime::MIN).and_utc();
        let (mut before, mut within) =
            (midnight - TimeDelta::days(1), midnight + TimeDelta::days(1));
        while within - before > TimeDelta::seconds(1) {
            let middle = before + TimeDelta::seconds((within - before).num_seconds() / 2);
            if self.local_date(middle) >= date {
                within = middle;
            } else {
                before = middle;
            }
        }
        within
    }

    /// Cuts a UTC day where the offset from UTC changes. No zone changes it twice in six hours.
    fn even_cuts(&self, day: NaiveDate) -> Vec<Cut> {
        let midnight = day.and_time(NaiveTime::MIN);
        let mut cuts = Vec::with_capacity(2);
        let mut cut = Cut {
            start: midnight,
            end: midnight,
            offset: self.offset(midnight),
        };
        for _ in 0..4 {
            let Some(next) = cut.end.checked_add_signed(TimeDelta::hours(6)) else {
                break;
            };
            let offset = self.offset(next);
            if offset == cut.offset {
                cut.end = next;
                continue;
            }
            let change = self.change_between(cut.end, next);
            cuts.push(Cut { end: change, ..cut });
            cut = Cut {
                start: change,
                end: next,
                offset,
            };
        }
        cuts.push(cut);
        cuts
    }

    /// The first second in `(before, after]` with the offset of `after`.
    fn change_between(&self, before: NaiveDateTime, after: NaiveDateTime) -> NaiveDateTime {
        let offset = self.offset(after);
        let (mut low, mut high) = (0, (after - before).num_seconds());
        while high - low > 1 {
            let middle = (low + high) / 2;
            if self.offset(before + TimeDelta::seconds(middle)) == offset {
                high = middle;
            } else {
                low = middle;
            }
        }
        before + TimeDelta::seconds(high)
    }

    fn offset(&self, utc: NaiveDateTime) -> TimeDelta {
        let offset = self.zone.offset_from_utc_datetime(&utc).fix();
        TimeDelta::seconds(offset.local_minus_utc().into())
    }

    fn open_in(&self, cut: Cut) -> Vec<TimeWindow> {
        let (Some(start), Some(end)) = (
            cut.start.checked_add_signed(cut.offset),
            cut.end.checked_add_signed(cut.offset),
        ) else {
            return Vec::new();
        };
        let mut open = Vec::new();
        for date in start
            .date()
            .iter_days()
            .take_while(|date| *date <= end.date())
        {
            if self.days_off.contains(&date) {
                continue;
            }
            for &(opens, closes) in &self.week[date.weekday().num_days_from_monday() as usize] {
                let midnight = date.and_time(NaiveTime::MIN);
                let from = (midnight + TimeDelta::minutes(opens.into())).max(start);
                let to = (midnight + TimeDelta::minutes(closes.into())).min(end);
                if from < to {
                    open.push(TimeWindow {
                        start: (from - cut.offset).and_utc(),
                        end: (to - cut.offset).and_utc(),
                    });
                }
            }
        }
        open
    }
}

/// A piece of a UTC day with one offset: `[start, end)` in UTC.
#[derive(Clone, Copy)]
struct Cut {
    start: NaiveDateTime,
    end: NaiveDateTime,
    offset: TimeDelta,
}

fn joined(stretches: impl Iterator<Item = TimeWindow>) -> Vec<TimeWindow> {
    let mut joined: Vec<TimeWindow> = Vec::new();
    for stretch in stretches {
        match joined.last_mut() {
            Some(last) if last.end == stretch.start => last.end = stretch.end,
            Some(_) | None => joined.push(stretch),
        }
    }
    joined
}

fn merged(intervals: &[(u16, u16)]) -> Vec<(u16, u16)> {
    let mut sorted = intervals.to_vec();
    sorted.sort_unstable();
    let mut merged: Vec<(u16, u16)> = Vec::with_capacity(sorted.len());
    for (open, close) in sorted {
        match merged.last_mut() {
            Some(last) if open <= last.1 => last.1 = last.1.max(close),
            _ => merged.push((open, close)),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{at, office};

    fn calendar(zone: &str, week: [&[(u16, u16)]; 7]) -> Calendar {
        Calendar::new(&WorkCalendar {
            time_zone: zone.to_owned(),
            week: week.map(<[_]>::to_vec).to_vec(),
            days_off: Vec::new(),
        })
        .unwrap()
    }

    fn hours(n: i64) -> TimeDelta {
        TimeDelta::hours(n)
    }

    #[test]
    fn an_evening_counts_on_in_the_morning_and_a_weekend_does_not_count() {
        let office = Calendar::new(&office()).unwrap();
        let friday_16 = at("2026-11-27T15:00:00Z");
        assert_eq!(
            office.after(friday_16, hours(1)),
            Ok(at("2026-11-27T16:00:00Z"))
        );
        assert_eq!(
            office.after(friday_16, hours(2)),
            Ok(at("2026-11-30T09:00:00Z"))
        );
        let saturday = at("2026-11-28T12:00:00Z");
        assert_eq!(office.after(saturday, TimeDelta::zero()), Ok(saturday));
        assert_eq!(
            office.open_time(friday_16, at("2026-11-30T08:30:00Z")),
            TimeDelta::minutes(90)
        );
        assert_eq!(office.open_time(saturday, friday_16), TimeDelta::zero());
    }

    #[test]
    fn a_day_off_is_a_local_day() {
        let mut closed = office();
        closed.time_zone = "Pacific/Auckland".to_owned();
        closed.days_off = vec!["2026-11-24".parse().unwrap()];
        let closed = Calendar::new(&closed).unwrap();
        // Monday 16:00 in Auckland is Monday 03:00 in UTC; Tuesday there begins on Monday here.
        let monday_16 = at("2026-11-23T03:00:00Z");
        assert_eq!(
            closed.after(monday_16, hours(2)),
            Ok(at("2026-11-24T21:00:00Z"))
        );
    }

    #[test]
    fn an_hour_that_the_wall_clock_skips_is_not_worked() {
        // 2026-03-29: 02:00 becomes 03:00 in Amsterdam. 01:00 to 05:00 is three hours.
        let night = calendar("Europe/Amsterdam", [&[(60, 300)]; 7]);
        let day = |text| at(text);
        let spring = night.open_time(day("2026-03-28T23:00:00Z"), day("2026-03-29T22:00:00Z"));
        assert_eq!(spring, hours(3));
        assert_eq!(
            night.after(day("2026-03-28T23:00:00Z"), hours(3)),
            Ok(day("2026-03-29T03:00:00Z"))
        );
        // Only the skipped hour is open: on that day nothing is.
        let skipped = calendar("Europe/Amsterdam", [&[(120, 180)]; 7]);
        let none = skipped.open_time(day("2026-03-28T23:00:00Z"), day("2026-03-29T22:00:00Z"));
        assert_eq!(none, TimeDelta::zero());
    }

    #[test]
    fn an_hour_that_the_wall_clock_repeats_is_worked_twice() {
        // 2026-10-25: 03:00 becomes 02:00 in Amsterdam.
        let day = ("2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z");
        let worked = |open, close| {
            let intervals: &[_] = &[(open, close)];
            let calendar = calendar("Europe/Amsterdam", [intervals; 7]);
            calendar.open_time(at(day.0), at(day.1))
        };
        assert_eq!(worked(60, 300), hours(5));
        // Half past two comes twice, and it is closed in between.
        assert_eq!(worked(150, 240), TimeDelta::minutes(120));
        assert_eq!(worked(0, MINUTES_PER_DAY), hours(25));
    }

    #[test]
    fn a_night_shift_is_one_shift() {
        let nights = calendar("Europe/Amsterdam", [&[(0, 360), (1320, 1440)]; 7]);
        let shifts = nights.shifts(at("2026-11-23T12:00:00Z"), at("2026-11-24T12:00:00Z"));
        assert_eq!(
            shifts,
            [TimeWindow {
                start: at("2026-11-23T21:00:00Z"),
                end: at("2026-11-24T05:00:00Z"),
            }]
        );
    }

    #[test]
    fn a_local_day_has_its_own_hours_only() {
        let nights = calendar("Pacific/Auckland", [&[(0, 360), (1320, 1440)]; 7]);
        let date: NaiveDate = "2026-11-24".parse().unwrap();
        // Thirteen hours ahead of UTC in summer.
        assert_eq!(nights.begin_of(date), at("2026-11-23T11:00:00Z"));
        assert_eq!(nights.local_date(at("2026-11-23T11:00:00Z")), date);
        assert_eq!(
            nights.hours_of(date),
            [
                TimeWindow {
                    start: at("2026-11-23T11:00:00Z"),
                    end: at("2026-11-23T17:00:00Z"),
                },
                TimeWindow {
                    start: at("2026-11-24T09:00:00Z"),
                    end: at("2026-11-24T11:00:00Z"),
                },
            ]
        );
        // 2026-09-06: midnight does not come in Santiago.
        let santiago = calendar("America/Santiago", [&[(0, 120)]; 7]);
        let date: NaiveDate = "2026-09-06".parse().unwrap();
        assert_eq!(santiago.begin_of(date), at("2026-09-06T04:00:00Z"));
        assert_eq!(
            santiago.hours_of(date),
            [TimeWindow {
                start: at("2026-09-06T04:00:00Z"),
                end: at("2026-09-06T05:00:00Z"),
            }]
        );
    }

    #[test]
    fn what_never_opens_has_no_deadline_and_no_loop() {
        let never = calendar("Etc/UTC", [&[]; 7]);
        let from = at("2026-11-23T08:00:00Z");
        assert_eq!(never.after(from, hours(1)), Err(CalendarError::NeverOpens));
        let rarely = calendar("Etc/UTC", [&[(0, 1)], &[], &[], &[], &[], &[], &[]]);
        assert_eq!(
            rarely.after(from, hours(100)),
            Err(CalendarError::NeverOpens)
        );
        assert!(rarely.after(from, hours(1)).is_ok());
        let end = DateTime::<Utc>::MAX_UTC;
        assert_eq!(rarely.after(end, hours(1)), Err(CalendarError::NeverOpens));
        let always = calendar("Asia/Tokyo", [&[(0, 1440)]; 7]);
        let last_day = at("9999-12-31T20:00:00Z");
        assert_eq!(always.open_time(last_day, end), hours(4));
    }

    #[test]
    fn a_wrong_calendar_says_what_is_wrong() {
        let wrong = |change: fn(&mut WorkCalendar)| {
            let mut calendar = office();
            change(&mut calendar);
            Calendar::new(&calendar).unwrap_err().to_string()
        };
        assert!(wrong(|c| c.time_zone = "Mars/Olympus".into()).contains("Mars/Olympus"));
        assert!(wrong(|c| c.week.truncate(5)).contains("5 entries"));
        assert!(wrong(|c| c.week[2] = vec![(600, 600)]).contains("day 2"));
        assert!(wrong(|c| c.week[6] = vec![(600, 1441)]).contains("1441"));
    }

    /// Zones whose switches fall at two o'clock, at midnight, by half an hour; and one without.
    const ZONES: [&str; 6] = [
        "Europe/Amsterdam",
        "America/Santiago",
        "Australia/Lord_Howe",
        "Africa/Casablanca",
        "America/New_York",
        "Asia/Kolkata",
    ];

    fn any_calendar() -> impl Strategy<Value = WorkCalendar> {
        let interval = (0..1440_u16, 1..=1440_u16)
            .prop_filter_map("empty", |(a, b)| (a < b).then_some((a, b)));
        let day = prop::collection::vec(interval, 0..3);
        let days_off = prop::collection::vec(0..366_u32, 0..4);
        (0..ZONES.len(), prop::collection::vec(day, 7), days_off).prop_map(
            |(zone, week, days_off)| WorkCalendar {
                time_zone: ZONES[zone].to_owned(),
                week,
                days_off: days_off
                    .into_iter()
                    .filter_map(|day| NaiveDate::from_yo_opt(2026, day))
                    .collect(),
            },
        )
    }

    /// The definition, minute by minute.
    fn naive_minutes(calendar: &WorkCalendar, from: DateTime<Utc>, minutes: i64) -> i64 {
        use chrono::Timelike;
        let zone: Tz = calendar.time_zone.parse().unwrap();
        (0..minutes)
            .filter(|minute| {
                let local = (from + TimeDelta::minutes(*minute)).with_timezone(&zone);
                let day = local.weekday().num_days_from_monday() as usize;
                let now = (local.hour() * 60 + local.minute()) as u16;
                !calendar.days_off.contains(&local.date_naive())
                    && calendar.week[day].iter().any(|&(o, c)| o <= now && now < c)
            })
            .count() as i64
    }

    proptest! {
        #[test]
        fn counting_agrees_with_a_walk_minute_by_minute(
            calendar in any_calendar(),
            start in 0..366 * 1440_i64,
            length in 0..4 * 1440_i64,
        ) {
            let from = at("2026-01-01T00:00:00Z") + TimeDelta::minutes(start);
            let checked = Calendar::new(&calendar).unwrap();
            let counted = checked.open_time(from, from + TimeDelta::minutes(length));
            prop_assert_eq!(counted, TimeDelta::minutes(naive_minutes(&calendar, from, length)));
        }

        #[test]
        fn counting_agrees_around_every_switch(
            calendar in any_calendar(),
            month in 0..12_i64,
            hour in 0..24 * 31_i64,
        ) {
            // A week around each hour of the months in which these zones switch, among others.
            let from = at("2026-01-01T00:00:00Z") + TimeDelta::hours(month * 730 + hour);
            let checked = Calendar::new(&calendar).unwrap();
            let counted = checked.open_time(from, from + TimeDelta::days(7));
            prop_assert_eq!(
                counted,
                TimeDelta::minutes(naive_minutes(&calendar, from, 7 * 1440))
            );
        }

        #[test]
        fn a_deadline_is_the_first_instant_with_that_much_time_before_it(
            calendar in any_calendar(),
            start in 0..366 * 1440_i64,
            budget in 1..6000_i64,
        ) {
            let from = at("2026-01-01T00:00:00Z") + TimeDelta::minutes(start);
            let calendar = Calendar::new(&calendar).unwrap();
            let amount = TimeDelta::minutes(budget);
            if let Ok(due) = calendar.after(from, amount) {
                prop_assert_eq!(calendar.open_time(from, due), amount);
                let second = TimeDelta::seconds(1);
                prop_assert!(calendar.open_time(from, due - second) < amount);
                let later = calendar.after(from, amount + second);
                prop_assert!(later.is_err() || later.unwrap() > due);
            }
        }

        #[test]
        fn stretches_are_open_and_in_order(
            calendar in any_calendar(),
            start in 0..366 * 1440_i64,
        ) {
            let from = at("2026-01-01T00:00:00Z") + TimeDelta::minutes(start);
            let calendar = Calendar::new(&calendar).unwrap();
            let stretches: Vec<_> = calendar.stretches(from, from + TimeDelta::days(9)).collect();
            prop_assert!(stretches.iter().all(|s| s.start < s.end));
            prop_assert!(stretches.windows(2).all(|pair| pair[0].end <= pair[1].start));
        }
    }
}
