//! Times and lengths of time as people say them.

use chrono::{DateTime, TimeDelta, Utc};
use contracts::schedule::TimeWindow;

/// The two largest units.
pub fn length(delta: TimeDelta) -> String {
    let (days, hours, minutes) = (
        delta.num_days(),
        delta.num_hours() % 24,
        delta.num_minutes() % 60,
    );
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{} s", delta.num_seconds()),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

/// How long ago that was, in one unit.
pub fn ago(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let delta = now - at;
    match (delta.num_days(), delta.num_hours(), delta.num_minutes()) {
        (0, 0, 0) => format!("{} s ago", delta.num_seconds().max(0)),
        (0, 0, minutes) => format!("{minutes} min ago"),
        (0, hours, _) => format!("{hours} h ago"),
        (days, _, _) => format!("{days} d ago"),
    }
}

/// An instant to the second.
pub fn time(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// An instant to the minute.
pub fn minute(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M").to_string()
}

/// A window, its day said once when it has only one.
pub fn window(window: &TimeWindow) -> String {
    let end = match window.start.date_naive() == window.end.date_naive() {
        true => window.end.format("%H:%M").to_string(),
        false => minute(window.end),
    };
    format!("{} – {end}", minute(window.start))
}

/// Cents as an amount, without a currency: the API names none.
pub fn amount(cents: i64) -> String {
    let sign = if cents < 0 { "-" } else { "" };
    let cents = cents.unsigned_abs();
    format!("{sign}{}.{:02}", cents / 100, cents % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_has_two_units_at_most() {
        for (seconds, shown) in [
            (5, "5 s"),
            (90, "1 min"),
            (5400, "1 h 30 min"),
            (90_000, "1 d 1 h"),
        ] {
            assert_eq!(length(TimeDelta::seconds(seconds)), shown);
        }
    }

    #[test]
    fn the_past_has_one_unit_and_the_future_is_now() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        for (seconds, shown) in [
            (-3, "0 s ago"),
            (59, "59 s ago"),
            (60, "1 min ago"),
            (7300, "2 h ago"),
            (200_000, "2 d ago"),
        ] {
            assert_eq!(ago(now - TimeDelta::seconds(seconds), now), shown);
        }
    }

    #[test]
    fn an_amount_has_two_decimals() {
        for (cents, shown) in [
            (0, "0.00"),
            (5, "0.05"),
            (123_456, "1234.56"),
            (-250, "-2.50"),
        ] {
            assert_eq!(amount(cents), shown);
        }
    }
}
