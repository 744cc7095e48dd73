//! Which moments may be named. Every text form of a moment can also name one that Postgres, our own
//! arithmetic or a policy cannot hold, and nobody means the year 12345: it is refused before it gets
//! anywhere.

use std::ops::RangeInclusive;

use chrono::{DateTime, Datelike, Utc};
use serde_json::Value;

/// The rule for parameters, as a sentence part.
pub const RULE: &str = "must be a moment in the years 1970 to 9998";
const YEARS: RangeInclusive<i32> = 1970..=9998;
/// The rule for bodies: policies see them, and count time in nanoseconds of 64 bits, which end in April 2262.
pub const BODY_RULE: &str = "must be a moment in the years 1970 to 2261";
const BODY_YEARS: RangeInclusive<i32> = 1970..=2261;

/// Members that hold what people write, in which a moment is only a text.
const PROSE: &[&str] = &["description", "name", "note", "raw", "street", "text"];

/// Whether the text of a parameter is a moment that is too far away.
pub fn is_far(text: &str) -> bool {
    is_outside(text, &YEARS)
}

fn is_outside(text: &str, years: &RangeInclusive<i32>) -> bool {
    text.parse::<DateTime<Utc>>()
        .is_ok_and(|at| !years.contains(&at.year()))
}

/// The way to the first moment in a body that is too far away.
pub fn find_far(tree: &Value) -> Option<Vec<String>> {
    let inside = |step: String, value| {
        let mut path = find_far(value)?;
        path.insert(0, step);
        Some(path)
    };
    match tree {
        Value::String(text) if is_outside(text, &BODY_YEARS) => Some(Vec::new()),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .find_map(|(i, item)| inside(i.to_string(), item)),
        Value::Object(members) => members
            .iter()
            .filter(|(name, _)| !PROSE.contains(&name.as_str()))
            .find_map(|(name, value)| inside(name.clone(), value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_moments_that_can_be_kept_are_taken() {
        for far in [
            "+262142-12-31T23:59:59.999999999Z",
            "-262143-01-01T00:00:00Z",
            "+12345-01-01T00:00:00Z",
            "0000-01-01T00:00:00Z",
            "9999-12-31T23:59:59Z",
            "1969-12-31T23:59:59Z",
        ] {
            assert!(is_far(far), "{far}");
        }
        for good in ["1970-01-01T00:00:00Z", "2026-11-21T08:00:00+01:00", "soon"] {
            assert!(!is_far(good), "{good}");
        }
    }

    #[test]
    fn the_place_is_told_and_prose_is_left_alone() {
        let far = "+12345-01-01T00:00:00Z";
        let body = json!({ "text": far, "window": { "end": far } });
        assert_eq!(find_far(&body), Some(vec!["window".into(), "end".into()]));
        assert_eq!(find_far(&json!({ "text": far, "skills": ["x"] })), None);
        let body = |at| json!({ "send_at": at });
        let place = Some(vec!["send_at".to_owned()]);
        assert_eq!(find_far(&body("2262-01-01T00:00:00Z")), place);
        assert_eq!(find_far(&body("2261-12-31T23:59:59+00:00")), None);
    }
}
