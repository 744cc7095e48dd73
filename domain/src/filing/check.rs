//! Checks that several filings share.

use chrono::{DateTime, SubsecRound, Utc};
use contracts::schedule::{GeoPoint, TimeWindow, WorkCalendar};
use uuid::Uuid;

use super::FilingFacts;
use crate::{Rejection, calendar::is_time_zone};

const MINUTES_PER_DAY: u16 = 24 * 60;
/// A calendar travels with every advice: years of days off, and no more.
const MOST_DAYS_OFF: usize = 1_000;

/// The thing's id and version before, when the caller saw that version.
pub(super) fn thing(facts: &FilingFacts) -> Result<(Uuid, u64), Rejection> {
    let before = facts.known.map_or(0, |known| known.version);
    expected_version(facts, before)?;
    Ok((facts.known.map_or(facts.fresh, |known| known.id), before))
}

/// The caller saw this version, or says nothing of it.
pub(super) fn expected_version(facts: &FilingFacts, actual: u64) -> Result<(), Rejection> {
    match facts.expected_version {
        Some(expected) if expected != actual => {
            Err(Rejection::VersionConflict { expected, actual })
        }
        Some(_) | None => Ok(()),
    }
}

/// A moment as Postgres keeps it: in whole microseconds.
pub(super) fn kept_instant(at: DateTime<Utc>) -> DateTime<Utc> {
    at.round_subsecs(6)
}

/// A window as Postgres keeps it.
pub(super) fn kept(window: &TimeWindow) -> TimeWindow {
    TimeWindow {
        start: kept_instant(window.start),
        end: kept_instant(window.end),
    }
}

/// A place on the map.
pub(super) fn place(point: &GeoPoint, pointer: &str) -> Result<(), Rejection> {
    let within = |value: i32, most: i32, member: &str| {
        if (-most..=most).contains(&value) {
            return Ok(());
        }
        Err(Rejection::invalid(
            format!("{pointer}/{member}"),
            format!("must be -{most} to {most}"),
        ))
    };
    within(point.lat_e6, 90_000_000, "lat_e6")?;
    within(point.lon_e6, 180_000_000, "lon_e6")
}

/// Working hours: a known zone, seven days, each in order and without overlaps.
pub(super) fn calendar(calendar: &WorkCalendar) -> Result<(), Rejection> {
    let wrong = |pointer: String, message: &str| Err(Rejection::invalid(pointer, message));
    if calendar.week.len() != 7 {
        return wrong("/calendar/week".into(), "must have 7 entries, Monday first");
    }
    for (day, intervals) in calendar.week.iter().enumerate() {
        let mut free_from = 0;
        for (n, &(open, close)) in intervals.iter().enumerate() {
            let pointer = format!("/calendar/week/{day}/{n}");
            if open >= close || close > MINUTES_PER_DAY {
                return wrong(
                    pointer,
                    "must be `[open, close]` with 0 <= open < close <= 1440",
                );
            }
            if open < free_from {
                return wrong(
                    pointer,
                    "must not begin before the interval ahead of it ends",
                );
            }
            free_from = close;
        }
    }
    if calendar.days_off.len() > MOST_DAYS_OFF {
        return wrong(
            "/calendar/days_off".into(),
            "must have at most 1000 entries",
        );
    }
    // What was sent is not repeated: it may be anything, and refusals are kept.
    if !is_time_zone(&calendar.time_zone) {
        return wrong(
            "/calendar/time_zone".into(),
            "must be an IANA time zone such as `Europe/Amsterdam`",
        );
    }
    Ok(())
}
