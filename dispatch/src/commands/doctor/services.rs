//! dispatch-api, relay and worker: do they answer?

use std::{net::SocketAddr, time::Duration};

use client::{Client, RetryPolicy};

use super::Check;
use crate::{
    config::Settings,
    exit::{call, root},
};

const PATIENCE: Duration = Duration::from_secs(3);

/// All checks of the services.
pub async fn check(settings: &Settings) -> Vec<Check> {
    let (api, relay, worker) = tokio::join!(
        api(settings),
        metrics("relay", settings.relay.metrics_listen),
        metrics("worker", settings.worker.metrics_listen),
    );
    vec![api, relay, worker]
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
                .filter(|(_, state)| *state != "ok")
                .map(|(part, state)| format!("{part}: {state}"))
                .collect();
            Check::ill(
                PART,
                format!("not ready: {}", ill.join("; ")),
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

async fn metrics(part: &str, address: SocketAddr) -> Check {
    let url = format!("http://{address}/metrics");
    let answer = async {
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(PATIENCE)
            .build()?;
        http.get(&url).send().await?.error_for_status()
    };
    Check::from(
        part,
        answer
            .await
            .map(|_| format!("runs, metrics at {url}"))
            .map_err(|error| format!("nothing answers at {url}: {}", root(&error))),
        format!(
            "start it with `dispatch {part}` (or all with `dispatch dev`); if it runs on another \
             machine, set `{part}.metrics_listen`"
        ),
    )
}
