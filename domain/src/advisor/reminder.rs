//! Reminder advice: when to remind a customer who owes something.
//!
//! The longer a job can wait, the longer the customer is left in peace: half an hour for a P1, two
//! days for a P4, counted from when they were last told. A moment is excluded when it is past, too
//! soon after that, outside office hours (an emergency excuses that), or when the window that they
//! were offered has begun by then; and all are when nobody is on record who could be told. The
//! others are ranked by their distance from the end of that pause.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use contracts::{
    ContactId, Priority, Slug,
    proposal::{Advice, Choice, Considered, Excluded, Ranked, ReminderInput},
    schedule::{TimeWindow, WorkCalendar},
};

use super::{factor, is_emergency, ranked, slug};
use crate::calendar::Calendar;

/// No office is closed for longer.
const LONGEST_CLOSED: TimeDelta = TimeDelta::days(8);
/// Half a point per minute would drown everything else; the pause is in hours.
const MINUTES_PER_POINT: i64 = 10;

const fn pause(priority: Priority) -> TimeDelta {
    match priority {
        Priority::P1 => TimeDelta::minutes(30),
        Priority::P2 => TimeDelta::hours(2),
        Priority::P3 => TimeDelta::hours(24),
        Priority::P4 => TimeDelta::hours(48),
    }
}

/// The moments to choose from: now, and half, one and two pauses after they were last told, each
/// with the next office opening.
pub fn moments(
    at: DateTime<Utc>,
    told_at: DateTime<Utc>,
    priority: Priority,
    office: &WorkCalendar,
) -> Vec<DateTime<Utc>> {
    let pause = pause(priority);
    let steps = [TimeDelta::zero(), pause / 2, pause, pause * 2];
    let wanted = steps
        .into_iter()
        .filter_map(|step| told_at.checked_add_signed(step))
        .chain([at])
        .map(|moment| moment.max(at));
    let office = Calendar::new(office).ok();
    let mut moments = BTreeSet::new();
    for moment in wanted {
        moments.insert(moment);
        let opening = office
            .as_ref()
            .and_then(|office| office.stretches(moment, moment + LONGEST_CLOSED).next())
            .map(|TimeWindow { start, .. }| start);
        moments.extend(opening);
    }
    moments.into_iter().collect()
}

pub(super) fn advise(input: &ReminderInput) -> Advice {
    let office = Calendar::new(&input.office).ok();
    let (mut good, mut excluded) = (Vec::new(), Vec::new());
    for &moment in &input.moments {
        match assess(input, office.as_ref(), moment) {
            Ok(ranked) => good.push((moment, ranked)),
            Err(failed) => excluded.push((moment, failed)),
        }
    }
    good.sort_by_key(|(moment, ranked)| (-ranked.score, *moment));
    excluded.sort_by_key(|(moment, _)| *moment);
    Advice {
        advisor: slug("reminder_v1"),
        ranked: good.into_iter().map(|(_, ranked)| ranked).collect(),
        excluded: excluded
            .into_iter()
            .map(|(moment, failed)| Excluded {
                what: Considered::Moment(moment),
                failed,
            })
            .collect(),
    }
}

/// A moment's score, or every hard constraint that fails.
fn assess(
    input: &ReminderInput,
    office: Option<&Calendar>,
    moment: DateTime<Utc>,
) -> Result<Ranked, Vec<Slug>> {
    let mut failed = Vec::new();
    let told_at = input.last_told_at.unwrap_or(input.since);
    let pause = pause(input.priority);
    if moment < input.at {
        failed.push(slug("past"));
    }
    if moment - told_at < pause / 2 {
        failed.push(slug("too_soon"));
    }
    let open = || {
        office.is_some_and(|office| {
            let minute = TimeDelta::minutes(1);
            office.open_time(moment, moment + minute) == minute
        })
    };
    if !is_emergency(input.priority) && !open() {
        failed.push(slug("quiet_time"));
    }
    if input.window_starts_at.is_some_and(|start| start <= moment) {
        failed.push(slug("window_begun"));
    }
    let contact_id = contact(input, &mut failed);
    let (Some(contact_id), true) = (contact_id, failed.is_empty()) else {
        return Err(failed);
    };
    let off = (moment - (told_at + pause)).num_minutes().abs();
    let owed = (moment - input.since).num_minutes();
    let factors = vec![
        factor("off_by_minutes", off, -off / MINUTES_PER_POINT),
        // How long it is owed by then is for the reader.
        factor("owed_minutes", owed, 0),
    ];
    let choice = Choice::Remind {
        about: input.waits_for,
        contact_id,
        at: moment,
    };
    Ok(ranked(choice, factors))
}

fn contact(input: &ReminderInput, failed: &mut Vec<Slug>) -> Option<ContactId> {
    if input.contact_id.is_none() {
        failed.push(slug("no_contact"));
    }
    input.contact_id
}
