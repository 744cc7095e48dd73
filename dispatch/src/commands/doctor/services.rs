//! dispatch-api, relay and worker: do they answer?

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use client::{Client, ClientError, RetryPolicy};
use contracts::{
    ErrorCode, Problem, TenantId, service_account::KEY_WARNING_DAYS, signal::TICKET_TASK_QUEUE,
    value::KeyPrefix,
};
use url::Url;

use super::Check;
use crate::{
    config::Settings,
    exit::{call, root},
    parts,
};

const PATIENCE: Duration = Duration::from_secs(3);
/// What the metrics of every relay of ours begin with.
const RELAY_SIGN: &str = "dispatch_relay_";

/// A tenant that is not there.
const NOBODY: TenantId = TenantId::from_uuid(uuid::Uuid::nil());

/// The same of every sender.
const COMMS_SIGN: &str = "dispatch_comms_";

/// All checks of the services.
pub async fn check(settings: &Settings) -> Vec<Check> {
    let (relay, worker, comms) = (&settings.relay, &settings.worker, &settings.comms);
    // The metrics of a worker are the Temporal SDK's; the task queue among their labels is ours.
    let worker_sign = format!("task_queue=\"{TICKET_TASK_QUEUE}\"");
    let (api, key, relay, worker, comms) = tokio::join!(
        api(settings),
        worker_key(settings),
        metrics(
            "relay",
            relay.metrics_listen,
            relay.metrics_url.as_ref(),
            RELAY_SIGN
        ),
        metrics(
            "worker",
            worker.metrics_listen,
            worker.metrics_url.as_ref(),
            &worker_sign
        ),
        metrics(
            "comms",
            comms.metrics_listen,
            comms.metrics_url.as_ref(),
            COMMS_SIGN
        ),
    );
    [Some(api), key, Some(relay), Some(worker), Some(comms)]
        .into_iter()
        .flatten()
        .collect()
}

/// Whether the worker's key opens what it needs; where it is kept elsewhere, nothing is said of it.
async fn worker_key(settings: &Settings) -> Option<Check> {
    const PART: &str = "key of the worker";
    const TO_DO: &str = "`dispatch api-key list` shows the keys; a worker needs one of an account of \
                         kind workflow that acts in any tenant, see docs/api-keys.md";
    let worker = &settings.worker;
    if worker.api_key.is_none() && worker.api_key_file.is_none() {
        return None;
    }
    let key = match parts::worker_key(settings) {
        Ok(key) => key,
        Err(failure) => return Some(Check::ill(PART, failure.message, TO_DO)),
    };
    let asked = async {
        let once = RetryPolicy {
            attempt: PATIENCE,
            ..RetryPolicy::once()
        };
        // Any tenant will do, one that is not there too.
        let client = Client::new(&settings.api.url, key.expose())?.with_retry(once);
        match client.in_tenant(NOBODY).control_due().await {
            Err(error) if !is_of_nobody(&error) => Err(error),
            _ => Ok(client.key_days_left()),
        }
    };
    Some(match asked.await {
        Ok(days) => good_key(PART, &key.prefix(), days),
        Err(error) => Check::ill(PART, call(&error), TO_DO),
    })
}

/// Whether it was refused for nothing but the tenant: the key was looked at before.
fn is_of_nobody(error: &ClientError) -> bool {
    let refused =
        |it: &Problem| it.code == ErrorCode::Forbidden && !it.meta.contains_key("permission");
    error.problem().is_some_and(refused)
}

/// A dispatch-api of before 0.4 does not tell how many days are left.
fn good_key(part: &str, prefix: &KeyPrefix, days: Option<i64>) -> Check {
    match days {
        None => Check::ok(part, format!("rdk_{prefix}_… is good")),
        Some(days @ KEY_WARNING_DAYS..) => {
            Check::ok(part, format!("rdk_{prefix}_… is good for {days} days"))
        }
        Some(days) => Check::warning(
            part,
            format!("rdk_{prefix}_… is good, and ends in {days} days"),
            format!(
                "`dispatch api-key rotate {prefix}` makes another one; give it to the worker and start it \
                 again, see docs/api-keys.md"
            ),
        ),
    }
}

async fn api(settings: &Settings) -> Check {
    const PART: &str = "dispatch-api";
    let health = async {
        let once = RetryPolicy {
            attempt: PATIENCE,
            ..RetryPolicy::once()
        };
        Client::new(&settings.api.url, "")?
            .with_retry(once)
            .ready()
            .await
    };
    match health.await {
        Ok(health) if health.status == "ok" => Check::ok(
            PART,
            format!("{} ready, version {}", settings.api.url, health.version),
        ),
        Ok(health) => {
            let ill: Vec<_> = health
                .parts
                .iter()
                .filter(|(_, state)| !["ok", "not configured"].contains(&state.as_str()))
                .map(|(part, state)| format!("{part}: {state}"))
                .collect();
            Check::ill(
                PART,
                format!("{}: {}", health.status, ill.join("; ")),
                "mend those parts first",
            )
        }
        Err(error) => Check::ill(
            PART,
            call(&error),
            "start it with `dispatch api` (or all with `dispatch dev`), or set `api.url`",
        ),
    }
}

/// Whether this part answers at its metrics; something else that listens there does not count.
async fn metrics(part: &str, listen: SocketAddr, url: Option<&Url>, sign: &str) -> Check {
    let url = url.map_or_else(
        || format!("http://{}/metrics", here(listen)),
        Url::to_string,
    );
    let answer = async {
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(PATIENCE)
            .build()?;
        let response = http.get(&url).send().await?.error_for_status()?;
        response.text().await
    };
    let found = match answer.await {
        Ok(text) if text.contains(sign) => Ok(format!("runs, metrics at {url}")),
        Ok(_) => Err(format!("what answers at {url} is no {part} of ours")),
        Err(error) => Err(format!("nothing answers at {url}: {}", root(&error))),
    };
    Check::from(
        part,
        found,
        format!(
            "start it with `dispatch {part}` (or all with `dispatch dev`); if it runs on another \
             machine, set `{part}.metrics_url`"
        ),
    )
}

/// A listener on all addresses is reached on this machine's own.
fn here(listen: SocketAddr) -> SocketAddr {
    match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => (Ipv4Addr::LOCALHOST, listen.port()).into(),
        IpAddr::V6(ip) if ip.is_unspecified() => (Ipv6Addr::LOCALHOST, listen.port()).into(),
        _ => listen,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    /// Answers one request with this body, whatever is asked.
    fn stranger(body: &'static str) -> SocketAddr {
        // As `main` does; a second time is no matter.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).unwrap();
            let length = body.len();
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            )
            .unwrap();
        });
        address
    }

    #[tokio::test]
    async fn whatever_listens_there_is_no_relay() {
        let ours = stranger("dispatch_relay_errors_total 0\n");
        let check = metrics("relay", ours, None, RELAY_SIGN).await;
        assert!(check.ok, "{}", check.found);
        let other = stranger("<html>hello");
        let check = metrics("relay", other, None, RELAY_SIGN).await;
        assert!(
            !check.ok && check.found.contains("no relay of ours"),
            "{}",
            check.found
        );
    }

    #[tokio::test]
    async fn the_given_url_goes_before_the_listener() {
        let ours = stranger("dispatch_relay_errors_total 0\n");
        let url = Url::parse(&format!("http://{ours}/metrics")).unwrap();
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
        let check = metrics("relay", nowhere, Some(&url), RELAY_SIGN).await;
        assert!(check.ok, "{}", check.found);
    }

    #[test]
    fn a_key_that_ends_soon_is_well_and_warned_of() {
        let prefix = KeyPrefix::new("Ab3dEf7h9J").unwrap();
        for (days, warned) in [
            (None, false),
            (Some(30), false),
            (Some(29), true),
            (Some(0), true),
        ] {
            let check = good_key("key", &prefix, days);
            assert!(check.ok, "{days:?}");
            assert_eq!(!check.to_do.is_empty(), warned, "{days:?}: {}", check.found);
        }
    }

    #[test]
    fn all_addresses_means_this_machine() {
        let of = |text: &str| here(text.parse().unwrap()).to_string();
        assert_eq!(of("0.0.0.0:9465"), "127.0.0.1:9465");
        assert_eq!(of("[::]:9465"), "[::1]:9465");
        assert_eq!(of("10.0.0.1:9465"), "10.0.0.1:9465");
    }
}
