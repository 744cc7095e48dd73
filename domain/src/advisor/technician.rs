//! Technician advice: who should be sent.
//!
//! Hard constraints first. A technician who lacks a skill, has no shift, is away or booked
//! throughout, or cannot arrive before the customer's window ends is excluded, and every constraint that fails by
//! itself is named. The others are ranked by points, each a plain multiple of a fact:
//! the road, the wait until they are there, the slack to the nearest deadline (a broken promise
//! costs a step on top), the visits they have open, the margin to the end of their shift.
//! Equal scores are ordered by id.
//!
//! Without a confirmed window, or when it is over, the visit is wanted as soon as possible and
//! within a day.

use chrono::{DateTime, TimeDelta, Utc};
use contracts::{
    Slug,
    proposal::{Advice, Candidate, Choice, Considered, Excluded, Factor, Ranked, TechnicianInput},
    schedule::TimeWindow,
};

use super::{
    arrival::{Wanted, plus},
    factor, slug, slug_of, travel,
};
use crate::calendar::Calendar;

const SOON: TimeDelta = TimeDelta::hours(24);
/// A window is searched for so long; a longer one is no help to a customer.
const LONGEST_SEARCH: TimeDelta = TimeDelta::days(31);
/// More slack or margin than this is worth no more.
const ENOUGH_MINUTES: i64 = 60;

pub(super) fn advise(input: &TechnicianInput) -> Advice {
    let (mut ranked, mut excluded) = (Vec::new(), Vec::new());
    for candidate in &input.candidates {
        match assess(input, candidate) {
            Ok(choice) => ranked.push((candidate.technician_id, choice)),
            Err(failed) => excluded.push((candidate.technician_id, failed)),
        }
    }
    ranked.sort_by_key(|(id, ranked)| (-ranked.score, *id));
    excluded.sort_by_key(|(id, _)| *id);
    Advice {
        advisor: slug("technician_v1"),
        ranked: ranked.into_iter().map(|(_, ranked)| ranked).collect(),
        excluded: excluded
            .into_iter()
            .map(|(id, failed)| Excluded {
                what: Considered::TechnicianId(id),
                failed,
            })
            .collect(),
    }
}

/// A technician's score, or every hard constraint that fails.
pub(super) fn assess(input: &TechnicianInput, candidate: &Candidate) -> Result<Ranked, Vec<Slug>> {
    let mut failed: Vec<_> = input
        .required_skills
        .iter()
        .filter(|skill| !candidate.skills.contains(skill))
        .map(|skill| slug_of("missing_skill", skill))
        .collect();
    let Some(base) = candidate.base else {
        failed.push(slug("start_unknown"));
        return Err(failed);
    };
    let travel_minutes = travel::minutes(base, input.site);
    let wanted = wanted(input, travel_minutes);
    let span = wanted.span(TimeDelta::minutes(ENOUGH_MINUTES));
    let shifts = match Calendar::new(&candidate.calendar) {
        Ok(calendar) => calendar.shifts(span.start, span.end),
        Err(_) => {
            failed.push(slug("calendar_unusable"));
            return Err(failed);
        }
    };
    let (busy, absent) = (sorted(&candidate.busy), sorted(&candidate.absent));
    let taken = sorted(&[busy.as_slice(), &absent].concat());
    match wanted.first(&shifts, &taken) {
        Some((arrival, shift)) if failed.is_empty() => {
            let factors = factors(input, candidate, &wanted, travel_minutes, arrival, shift);
            Ok(Ranked {
                choice: Choice::Dispatch {
                    technician_id: candidate.technician_id,
                    eta: arrival,
                },
                score: factors.iter().map(|factor| factor.points).sum(),
                factors,
            })
        }
        Some(_) => Err(failed),
        None => {
            failed.extend(obstacles(&wanted, span, &shifts, &absent, &busy));
            Err(failed)
        }
    }
}

fn sorted(windows: &[TimeWindow]) -> Vec<TimeWindow> {
    let mut windows = windows.to_vec();
    windows.sort_by_key(|window| (window.start, window.end));
    windows
}

/// Why there is no slot: each constraint tried by itself, or their combination.
fn obstacles(
    wanted: &Wanted,
    span: TimeWindow,
    shifts: &[TimeWindow],
    absent: &[TimeWindow],
    busy: &[TimeWindow],
) -> Vec<Slug> {
    let mut failed = Vec::new();
    if wanted.soonest() >= wanted.limit {
        failed.push(slug("arrival_impossible"));
    } else {
        if wanted.first(shifts, &[]).is_none() {
            failed.push(slug("off_shift"));
        }
        for (name, windows) in [("absent", absent), ("busy", busy)] {
            if wanted.first(&[span], windows).is_none() {
                failed.push(slug(name));
            }
        }
        if failed.is_empty() {
            failed.push(slug("no_free_slot"));
        }
    }
    failed
}

fn wanted(input: &TechnicianInput, travel_minutes: i64) -> Wanted {
    let window = input.window.filter(|window| window.end > input.at);
    let (earliest, limit) = match window {
        Some(window) => (
            window.start.max(input.at),
            window
                .end
                .min(plus(window.start.max(input.at), LONGEST_SEARCH)),
        ),
        None => (input.at, plus(input.at, SOON)),
    };
    Wanted {
        now: input.at,
        earliest,
        limit,
        travel: TimeDelta::minutes(travel_minutes),
        visit: TimeDelta::minutes(input.visit_minutes.into()),
    }
}

fn factors(
    input: &TechnicianInput,
    candidate: &Candidate,
    wanted: &Wanted,
    travel_minutes: i64,
    arrival: DateTime<Utc>,
    shift: TimeWindow,
) -> Vec<Factor> {
    let wait = (arrival - wanted.earliest).num_minutes();
    let open = i64::from(candidate.open_visits);
    let margin = (shift.end - plus(arrival, wanted.visit)).num_minutes();
    let margin = margin.clamp(0, ENOUGH_MINUTES);
    let mut factors = vec![
        factor("travel_minutes", travel_minutes, -2 * travel_minutes),
        factor("wait_minutes", wait, -wait),
        factor("open_visits", open, -15 * open),
        factor("shift_margin_minutes", margin, margin / 2),
    ];
    if let Some(due_at) = input.due_at {
        let slack = (due_at - arrival).num_seconds().div_euclid(60);
        factors.push(factor("sla_slack_minutes", slack, slack_points(slack)));
    }
    factors
}

/// A minute of slack is worth a point up to an hour; a promise broken costs 100 and three a minute.
fn slack_points(minutes: i64) -> i64 {
    if minutes >= 0 {
        minutes.min(ENOUGH_MINUTES)
    } else {
        3 * minutes - 100
    }
}

#[cfg(test)]
mod tests {
    use contracts::{Priority, TechnicianId, schedule::GeoPoint};
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{at, monday, office, slug as word, technician};

    const SITE: GeoPoint = GeoPoint {
        lat_e6: 52_370_000,
        lon_e6: 4_890_000,
    };

    /// So many thousandths of a degree north of the site: about 111 m each.
    fn north(thousandths: i32) -> GeoPoint {
        GeoPoint {
            lat_e6: SITE.lat_e6 + thousandths * 1000,
            ..SITE
        }
    }

    fn candidate(n: u128, base: GeoPoint) -> Candidate {
        Candidate {
            technician_id: technician(n),
            skills: vec![word("glazing")],
            base: Some(base),
            calendar: office(),
            busy: Vec::new(),
            absent: Vec::new(),
            open_visits: 0,
        }
    }

    /// Monday 09:00, three glaziers: one near, one farther, one far away.
    fn input() -> TechnicianInput {
        TechnicianInput {
            version: 2,
            at: monday(),
            priority: Priority::P1,
            site: SITE,
            window: None,
            visit_minutes: 60,
            required_skills: vec![word("glazing")],
            due_at: None,
            candidates: vec![
                candidate(3, north(300)),
                candidate(1, north(20)),
                candidate(2, north(100)),
            ],
        }
    }

    fn order(input: &TechnicianInput) -> Vec<TechnicianId> {
        let ids = advise(input).ranked.into_iter().map(|r| match r.choice {
            Choice::Dispatch { technician_id, .. } => technician_id,
            other => panic!("{other:?}"),
        });
        ids.collect()
    }

    fn ids(numbers: &[u128]) -> Vec<TechnicianId> {
        numbers.iter().copied().map(technician).collect()
    }

    fn failed(input: &TechnicianInput, n: u128) -> Vec<String> {
        let advice = advise(input);
        let excluded = advice.excluded.iter();
        let of = excluded.filter(|e| e.what == Considered::TechnicianId(technician(n)));
        of.flat_map(|e| &e.failed)
            .map(ToString::to_string)
            .collect()
    }

    fn eta(input: &TechnicianInput) -> DateTime<Utc> {
        match advise(input).best() {
            Some(Choice::Dispatch { eta, .. }) => *eta,
            other => panic!("{other:?}"),
        }
    }

    fn window(from: &str, to: &str) -> TimeWindow {
        TimeWindow {
            start: at(from),
            end: at(to),
        }
    }

    #[test]
    fn the_nearest_goes_first_and_says_when() {
        assert_eq!(order(&input()), ids(&[1, 2, 3]));
        // 2.2 km by air, 2.9 by road: five minutes.
        assert_eq!(eta(&input()), monday() + TimeDelta::minutes(5));
    }

    #[test]
    fn a_score_is_the_sum_of_what_is_listed() {
        for ranked in advise(&input()).ranked {
            let sum: i64 = ranked.factors.iter().map(|f| f.points).sum();
            assert_eq!(ranked.score, sum);
        }
    }

    #[test]
    fn without_the_skill_nobody_goes() {
        let mut input = input();
        input.required_skills.push(word("heights"));
        input.candidates[1].skills.clear();
        assert!(order(&input).is_empty());
        assert_eq!(failed(&input, 2), ["missing_skill_heights"]);
        assert_eq!(
            failed(&input, 1),
            ["missing_skill_glazing", "missing_skill_heights"]
        );
        let long = word(&"x".repeat(64));
        input.required_skills = vec![long];
        assert_eq!(failed(&input, 2)[0].len(), 64);
    }

    #[test]
    fn a_moved_base_changes_the_ranking() {
        let mut input = input();
        input.candidates[1].base = Some(north(200));
        assert_eq!(order(&input), ids(&[2, 1, 3]));
    }

    #[test]
    fn a_higher_load_changes_the_ranking() {
        let mut input = input();
        input.candidates[1].open_visits = 5;
        assert_eq!(order(&input), ids(&[2, 1, 3]));
    }

    #[test]
    fn a_later_shift_changes_the_ranking() {
        let mut input = input();
        input.candidates[1].calendar.week[0] = vec![(13 * 60, 17 * 60)];
        assert_eq!(order(&input), ids(&[2, 3, 1]));
        input.candidates[1].calendar.week = vec![Vec::new(); 7];
        assert_eq!(failed(&input, 1), ["off_shift"]);
    }

    #[test]
    fn a_nearer_deadline_changes_the_ranking() {
        let mut input = input();
        input.candidates[1].open_visits = 5;
        assert_eq!(order(&input), ids(&[2, 1, 3]));
        // The one with much to do is there in five minutes, the other in twenty-two.
        input.due_at = Some(monday() + TimeDelta::minutes(10));
        assert_eq!(order(&input), ids(&[1, 2, 3]));
        input.due_at = Some(monday() + TimeDelta::hours(10));
        assert_eq!(order(&input), ids(&[2, 1, 3]));
    }

    #[test]
    fn the_end_of_a_shift_is_kept_and_margin_counts() {
        let mut input = input();
        input.candidates[1].calendar.week[0] = vec![(9 * 60, 10 * 60 + 6)];
        let advice = advise(&input);
        let near = advice.ranked.iter().find(|ranked| {
            matches!(ranked.choice, Choice::Dispatch { technician_id, .. } if technician_id == technician(1))
        });
        let margin = near.unwrap().factors.iter();
        let margin: Vec<_> = margin
            .filter(|f| f.name.as_str() == "shift_margin_minutes")
            .map(|f| f.value)
            .collect();
        assert_eq!(margin, [1]);
        input.candidates[1].calendar.week[0] = vec![(9 * 60, 10 * 60 + 4)];
        // A minute short today: tomorrow at nine is the next chance, and it is too late.
        assert_eq!(failed(&input, 1), ["off_shift"]);
    }

    #[test]
    fn who_is_busy_comes_later_or_not_at_all() {
        let mut input = input();
        input.candidates[1].busy = vec![window("2026-11-23T08:02:00Z", "2026-11-23T09:00:00Z")];
        assert_eq!(order(&input), ids(&[2, 1, 3]));
        let away = window("2026-11-22T00:00:00Z", "2026-11-30T00:00:00Z");
        input.candidates[1].busy.push(away);
        assert_eq!(failed(&input, 1), ["busy"]);
        input.candidates[1].calendar.week = vec![Vec::new(); 7];
        input.candidates[1].skills.clear();
        assert_eq!(
            failed(&input, 1),
            ["missing_skill_glazing", "off_shift", "busy"]
        );
    }

    #[test]
    fn free_at_night_and_on_duty_by_day_is_no_free_slot() {
        let mut input = input();
        input.candidates[1].busy = vec![window("2026-11-23T08:00:00Z", "2026-11-23T16:00:00Z")];
        assert_eq!(failed(&input, 1), ["no_free_slot"]);
    }

    #[test]
    fn who_is_away_comes_later_or_not_at_all_and_is_not_called_busy() {
        let mut input = input();
        input.candidates[1].absent = vec![window("2026-11-23T08:02:00Z", "2026-11-23T09:00:00Z")];
        assert_eq!(order(&input), ids(&[2, 1, 3]));
        let week = window("2026-11-22T00:00:00Z", "2026-11-30T00:00:00Z");
        input.candidates[1].absent.push(week);
        assert_eq!(failed(&input, 1), ["absent"]);
        input.candidates[1].busy = vec![week];
        assert_eq!(failed(&input, 1), ["absent", "busy"]);
        input.candidates[1].absent.clear();
        assert_eq!(failed(&input, 1), ["busy"]);
    }

    #[test]
    fn away_and_then_booked_is_no_free_slot() {
        let mut input = input();
        let noon = "2026-11-23T12:00:00Z";
        input.candidates[1].absent = vec![window("2026-11-23T00:00:00Z", noon)];
        assert_eq!(failed(&input, 1), Vec::<String>::new());
        input.candidates[1].busy = vec![window(noon, "2026-11-24T12:00:00Z")];
        assert_eq!(failed(&input, 1), ["no_free_slot"]);
    }

    #[test]
    fn a_confirmed_window_is_kept() {
        let mut input = input();
        input.window = Some(window("2026-11-23T08:10:00Z", "2026-11-23T08:30:00Z"));
        assert_eq!(eta(&input), at("2026-11-23T08:10:00Z"), "not before it");
        assert_eq!(order(&input), ids(&[1, 2]));
        assert_eq!(failed(&input, 3), ["arrival_impossible"]);
        input.window = Some(window("2026-11-23T05:00:00Z", "2026-11-23T07:00:00Z"));
        assert_eq!(
            order(&input),
            ids(&[1, 2, 3]),
            "missed: as soon as possible"
        );
    }

    #[test]
    fn equals_are_ordered_by_id() {
        let mut input = input();
        for candidate in &mut input.candidates {
            candidate.base = Some(SITE);
        }
        assert_eq!(order(&input), ids(&[1, 2, 3]));
    }

    #[test]
    fn a_broken_calendar_excludes_its_owner_only() {
        let mut input = input();
        input.candidates[1].calendar.time_zone = "nowhere".to_owned();
        assert_eq!(failed(&input, 1), ["calendar_unusable"]);
        assert_eq!(order(&input), ids(&[2, 3]));
    }

    #[test]
    fn absurd_times_are_survived() {
        let end = DateTime::<Utc>::MAX_UTC;
        let mut input = input();
        input.at = end;
        assert!(order(&input).is_empty());
        input.at = DateTime::<Utc>::MIN_UTC;
        input.window = Some(TimeWindow {
            start: input.at,
            end,
        });
        input.due_at = Some(end);
        input.visit_minutes = u32::MAX;
        assert!(order(&input).is_empty());
    }

    proptest! {
        #[test]
        fn the_order_of_the_candidates_does_not_matter(
            shuffled in Just(input().candidates).prop_shuffle(),
        ) {
            let changed = TechnicianInput { candidates: shuffled, ..input() };
            prop_assert_eq!(advise(&changed), advise(&input()));
        }

        #[test]
        fn an_arrival_fits_shift_busy_and_window(
            bases in prop::collection::vec(-400..400_i32, 3),
            busy in prop::collection::vec((0..1440_i64, 1..300_i64), 0..5),
            absent in prop::collection::vec((0..1440_i64, 1..300_i64), 0..3),
            opens in 0..1440_i64,
            length in 1..600_i64,
        ) {
            let mut input = input();
            let start = monday() + TimeDelta::minutes(opens);
            let wanted = TimeWindow { start, end: start + TimeDelta::minutes(length) };
            input.window = Some(wanted);
            for (candidate, base) in input.candidates.iter_mut().zip(bases) {
                candidate.base = Some(north(base));
                let windows = |of: &[(i64, i64)]| of.iter().map(|(from, minutes)| {
                    let start = monday() + TimeDelta::minutes(*from);
                    TimeWindow { start, end: start + TimeDelta::minutes(*minutes) }
                }).collect();
                candidate.busy = windows(&busy);
                candidate.absent = windows(&absent);
            }
            let office = Calendar::new(&office()).unwrap();
            let advice = advise(&input);
            prop_assert_eq!(advice.ranked.len() + advice.excluded.len(), 3);
            prop_assert!(advice.excluded.iter().all(|e| !e.failed.is_empty()));
            for ranked in advice.ranked {
                let Choice::Dispatch { technician_id, eta } = ranked.choice else {
                    panic!("a technician")
                };
                let who = input.candidates.iter().find(|c| c.technician_id == technician_id);
                let who = who.unwrap();
                let travel = TimeDelta::minutes(travel::minutes(who.base.unwrap(), SITE));
                let slot = TimeWindow { start: eta - travel, end: eta + TimeDelta::hours(1) };
                prop_assert!(wanted.contains(eta));
                prop_assert!(slot.start >= input.at);
                prop_assert!(!who.busy.iter().any(|window| window.overlaps(&slot)));
                prop_assert!(!who.absent.iter().any(|window| window.overlaps(&slot)));
                prop_assert_eq!(office.open_time(slot.start, slot.end), slot.end - slot.start);
            }
        }
    }
}
