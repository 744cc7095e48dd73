//! Slot advice: which window to offer the customer.
//!
//! The windows to choose from are part of the input ([`windows`] makes them). One is excluded when
//! the customer would be told too late, when a running deadline has passed by its start, when the
//! office is closed (an emergency goes at any hour) or when nobody can be sent: then every reason
//! that keeps one of the technicians away is named. The others are ranked by how long the customer
//! waits, how many technicians are free, how far the nearest of them has to go, and the slack to
//! the deadline. The best few are kept; a customer is not read sixty.

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use contracts::{
    Priority, Slug,
    proposal::{Advice, Choice, Considered, Excluded, Ranked, SlotInput, TechnicianInput},
    schedule::TimeWindow,
};

use super::{factor, is_emergency, ranked, slug, technician};
use crate::calendar::Calendar;

/// So many windows are recommended at most.
const BEST: usize = 5;
/// A window is at least so long.
const SHORTEST: TimeDelta = TimeDelta::hours(2);
/// More slack than this is worth no more.
const ENOUGH_MINUTES: i64 = 240;

/// How long before a window begins the customer has to be told.
pub const fn notice_minutes(priority: Priority) -> u32 {
    match priority {
        Priority::P1 => 15,
        Priority::P2 => 60,
        Priority::P3 => 240,
        Priority::P4 => 1440,
    }
}

/// The windows to choose from: each full hour of the next day and a half for an emergency, every
/// second hour of the next five days otherwise.
pub fn windows(at: DateTime<Utc>, priority: Priority, visit_minutes: u32) -> Vec<TimeWindow> {
    let hour = TimeDelta::hours(1);
    let (step, count) = if is_emergency(priority) {
        (1, 36)
    } else {
        (2, 60)
    };
    let visit = TimeDelta::minutes(visit_minutes.into());
    let hours = (visit.num_minutes() + 59) / 60;
    let length = TimeDelta::hours(hours).max(SHORTEST);
    let Ok(this_hour) = at.duration_trunc(hour) else {
        return Vec::new();
    };
    (0..count)
        .filter_map(|n| {
            let start = this_hour.checked_add_signed(hour + TimeDelta::hours(n * step))?;
            let end = start.checked_add_signed(length)?;
            Some(TimeWindow { start, end })
        })
        .collect()
}

pub(super) fn advise(input: &SlotInput) -> Advice {
    let office = Calendar::new(&input.office).ok();
    let (mut good, mut excluded) = (Vec::new(), Vec::new());
    for &window in &input.windows {
        match assess(input, office.as_ref(), window) {
            Ok(ranked) => good.push((window, ranked)),
            Err(failed) => excluded.push((window, failed)),
        }
    }
    good.sort_by_key(|(window, ranked)| (-ranked.score, window.start, window.end));
    excluded.sort_by_key(|(window, _)| (window.start, window.end));
    Advice {
        advisor: slug("slot_v1"),
        ranked: good.into_iter().map(|(_, r)| r).take(BEST).collect(),
        excluded: excluded
            .into_iter()
            .map(|(window, failed)| Excluded {
                what: Considered::Window(window),
                failed,
            })
            .collect(),
    }
}

/// A window's score, or every hard constraint that fails.
fn assess(
    input: &SlotInput,
    office: Option<&Calendar>,
    window: TimeWindow,
) -> Result<Ranked, Vec<Slug>> {
    let mut failed = Vec::new();
    let told = input.at + TimeDelta::minutes(input.notice_minutes.into());
    if window.start < told {
        failed.push(slug("notice_too_short"));
    }
    let ahead = input.due_at.filter(|due_at| *due_at > input.at);
    if ahead.is_some_and(|due_at| window.start >= due_at) {
        failed.push(slug("after_deadline"));
    }
    if !is_emergency(input.priority) && !is_open(office, window) {
        failed.push(slug("office_closed"));
    }
    let (free, nearest) = match technicians(input, window) {
        Ok(free) => free,
        Err(causes) => {
            failed.extend(causes);
            (0, 0)
        }
    };
    if !failed.is_empty() {
        return Err(failed);
    }
    let wait = (window.start - told).num_minutes();
    let mut factors = vec![
        factor("wait_minutes", wait, -wait / 10),
        factor("technicians_free", free, 20 * free.min(3)),
        factor("travel_minutes", nearest, -nearest),
    ];
    if let Some(due_at) = input.due_at {
        let slack = (due_at - window.end).num_minutes();
        let points = if slack >= 0 {
            slack.min(ENOUGH_MINUTES) / 4
        } else {
            slack / 2
        };
        factors.push(factor("sla_slack_minutes", slack, points));
    }
    Ok(ranked(Choice::ProposeWindow { window }, factors))
}

fn is_open(office: Option<&Calendar>, window: TimeWindow) -> bool {
    office.is_some_and(|office| {
        office.open_time(window.start, window.end) == window.end - window.start
    })
}

/// How many could be sent and how far the nearest has to go; or what keeps them away.
fn technicians(input: &SlotInput, window: TimeWindow) -> Result<(i64, i64), Vec<Slug>> {
    let wanted = TechnicianInput {
        version: input.version,
        at: input.at,
        priority: input.priority,
        site: input.site,
        window: Some(window),
        visit_minutes: input.visit_minutes,
        required_skills: input.required_skills.clone(),
        due_at: None,
        candidates: Vec::new(),
    };
    let (mut free, mut nearest) = (0, i64::MAX);
    let mut causes = vec![slug("nobody_free")];
    for candidate in &input.candidates {
        match technician::assess(&wanted, candidate) {
            Ok(_) => {
                free += 1;
                let way = candidate.base;
                let way = way.map_or(i64::MAX, |base| super::travel::minutes(base, input.site));
                nearest = nearest.min(way);
            }
            Err(failed) => causes.extend(failed),
        }
    }
    if free > 0 {
        return Ok((free, nearest));
    }
    causes[1..].sort();
    causes.dedup();
    Err(causes)
}
