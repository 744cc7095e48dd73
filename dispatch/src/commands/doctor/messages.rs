//! Outbound messages: does the queue move, was any given up, and do its endpoints make sense?

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
    const FAILED: &str = "failed messages";
    let unread = |part, error: &dyn std::error::Error| {
        Check::ill(part, chain(error), "run `dispatch migrate`")
    };
    let queue = match backlog(comms).await {
        Ok(backlog) => queue(QUEUE, &backlog),
        Err(error) => unread(QUEUE, &error),
    };
    let failed = match given_up(comms).await {
        Ok((count, commonest)) => failed(FAILED, count, commonest.as_deref()),
        Err(error) => unread(FAILED, &error),
    };
    vec![endpoints(settings), queue, failed]
}

/// How many messages of the last day were given up, and what most of them met last.
async fn given_up(comms: &PgPool) -> Result<(i64, Option<String>), sqlx::Error> {
    sqlx::query_as(
        "select count(*), mode() within group (order by last_result)
           from comms_queue where state = 'failed' and ended_at > now() - interval '1 day'",
    )
    .fetch_one(comms)
    .await
}

fn failed(part: &str, count: i64, commonest: Option<&str>) -> Check {
    if count == 0 {
        return Check::ok(part, "none in the last day");
    }
    Check::ill(
        part,
        format!(
            "{count} in the last day, most often by `{}`",
            commonest.unwrap_or("unknown")
        ),
        "see which: `dispatch messages list --state failed`; mend their address or the receiver, and \
         write again what is still wanted",
    )
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
    fn a_message_that_was_given_up_is_ill() {
        assert!(failed("failed", 0, None).ok);
        let check = failed("failed", 3, Some("http_410"));
        assert!(!check.ok);
        assert!(check.found.starts_with("3 in") && check.found.contains("`http_410`"));
        assert!(
            check
                .to_do
                .contains("dispatch messages list --state failed")
        );
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
