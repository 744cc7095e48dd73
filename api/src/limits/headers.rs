//! What a caller is told of its rate, in each answer.
//!
//! `RateLimit` and `RateLimit-Policy` are those of draft-ietf-httpapi-ratelimit-headers-10. The three
//! older ones, of the same draft up to its sixth version, are what today's clients read; they say the
//! same. What is reset is all of the burst, after `t` seconds; in a refusal `t` is when to ask again, as
//! in `Retry-After`.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Class, bucket::Standing};

/// The headers, by their name in the document.
pub(crate) const NAMES: [&str; 5] = [
    "ratelimit-policy",
    "ratelimit",
    "ratelimit-limit",
    "ratelimit-remaining",
    "ratelimit-reset",
];

/// Writes them.
pub(super) fn write(headers: &mut HeaderMap, class: Class, standing: &Standing) {
    let rate = standing.rate;
    let window = rate.burst.div_ceil(rate.per_second);
    let (left, reset) = (standing.remaining, standing.reset_seconds);
    let values = [
        format!("\"{class}\";q={};w={window}", rate.burst),
        format!("\"{class}\";r={left};t={reset}"),
        rate.burst.to_string(),
        left.to_string(),
        reset.to_string(),
    ];
    for (name, value) in NAMES.into_iter().zip(values) {
        // A class is a word and the rest are numbers.
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use contracts::tenant::Rate;

    use super::*;

    #[test]
    fn both_generations_say_the_same() {
        let mut headers = HeaderMap::new();
        let standing = Standing {
            rate: Rate {
                per_second: 200,
                burst: 1_000,
            },
            remaining: 997,
            reset_seconds: 1,
        };
        write(&mut headers, Class::SoftwareCommands, &standing);
        let told = NAMES.map(|name| headers[name].to_str().unwrap());
        assert_eq!(
            told,
            [
                "\"software_commands\";q=1000;w=5",
                "\"software_commands\";r=997;t=1",
                "1000",
                "997",
                "1",
            ]
        );
    }
}
