//! Outbound messages: does the queue move, and do its endpoints make sense?

use sqlx::PgPool;
use store::sending::{Backlog, backlog};

use super::Check;
use crate::{config::Settings, exit::chain, parts};

/// A message that has been due for longer is stuck: a sender takes seconds, a receiver that is away
/// for longer is worth knowing of.
const STUCK_SECONDS: f64 = 300.0;

/// All checks of outbound messages, as the sender's login.
pub async fn check(settings: &Settings, comms: &PgPool) -> Vec<Check> {
    const QUEUE: &str = "message queue";
    let endpoints = endpoints(settings);
    match backlog(comms).await {
        Ok(backlog) => vec![endpoints, queue(QUEUE, &backlog)],
        Err(error) => vec![
            endpoints,
            Check::ill(QUEUE, chain(&error), "run `dispatch migrate`"),
        ],
    }
}

fn endpoints(settings: &Settings) -> Check {
    const PART: &str = "message endpoints";
    let given = &settings.comms.endpoints;
    if given.is_empty() {
        return Check::ok(PART, "none configured (`comms.endpoints`); messages wait");
    }
    let wrong: Vec<String> = given
        .iter()
        .filter_map(|endpoint| parts::endpoint(endpoint).check().err())
        .map(|error| error.to_string())
        .collect();
    if !wrong.is_empty() {
        return Check::ill(PART, wrong.join("; "), "correct `comms.endpoints`");
    }
    let names: Vec<_> = given
        .iter()
        .map(|endpoint| {
            let host = endpoint.url.host_str().unwrap_or_default();
            format!("{} ({} {host})", endpoint.name, endpoint.url.scheme())
        })
        .collect();
    Check::ok(PART, names.join(", "))
}

fn queue(part: &str, backlog: &Backlog) -> Check {
    if backlog.without_endpoint > 0 {
        return Check::ill(
            part,
            format!("{} messages wait for an endpoint", backlog.without_endpoint),
            "add an endpoint for their channel and tenant to `comms.endpoints`",
        );
    }
    if backlog.unknown > 0 {
        return Check::ill(
            part,
            format!(
                "{} messages of the last day may have arrived or not",
                backlog.unknown
            ),
            "their tickets show them with `unknown_outcome`: ask who should have got them, and write \
             again if need be; a receiver that honours `webhook-id` is set `keyed = true`",
        );
    }
    if backlog.oldest_due_seconds > STUCK_SECONDS {
        return Check::ill(
            part,
            format!(
                "the oldest of {} due messages waits for {:.0} s",
                backlog.due, backlog.oldest_due_seconds
            ),
            "check that `dispatch comms` runs; its log says what the receiver answers",
        );
    }
    Check::ok(
        part,
        format!(
            "{} wait for their time, {} are due",
            backlog.queued, backlog.due
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_must_look_at_is_ill() {
        let well = Backlog {
            queued: 4,
            due: 1,
            oldest_due_seconds: 3.0,
            ..Backlog::default()
        };
        assert!(queue("queue", &well).ok);
        for ill in [
            Backlog {
                without_endpoint: 1,
                ..well
            },
            Backlog { unknown: 2, ..well },
            Backlog {
                oldest_due_seconds: 301.0,
                ..well
            },
        ] {
            let check = queue("queue", &ill);
            assert!(!check.ok && !check.to_do.is_empty(), "{ill:?}");
        }
    }

    #[test]
    fn an_endpoint_in_the_clear_is_ill() {
        let endpoint = |url: &str| {
            let mut settings = Settings::default();
            let json = serde_json::json!({
                "name": "pager", "url": url, "channels": ["operations"], "keyed": true,
                "secret": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
            });
            settings.comms.endpoints = vec![serde_json::from_value(json).unwrap()];
            endpoints(&settings)
        };
        assert!(endpoint("https://hooks.example/x").ok);
        let check = endpoint("http://hooks.example/x");
        assert!(
            !check.ok && check.found.contains("`pager`"),
            "{}",
            check.found
        );
        assert!(endpoints(&Settings::default()).ok);
    }
}
